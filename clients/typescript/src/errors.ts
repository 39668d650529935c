// What can go wrong, in two kinds: what coming back may mend, and what it cannot.
//
// `code` is stable and for programs: a code of the broker (docs/protocol.md, section 13) or one of this client
// (`unreachable`, `cut`, `silent`, `out_of_step`, `not_tidewire`, `unsupported_version`, `websocket_missing`, …).
// `message` is for people and says what to do.

/** The base of both kinds. */
export class TidewireError extends Error {
  /** The name of its class, written out: minifiers rename classes. */
  override name = 'TidewireError';

  /** @internal */
  constructor(
    /** Stable, for programs. */
    readonly code: string,
    message: string,
    /** Milliseconds after which the broker wants to be asked again, if it said so. */
    readonly retryAfterMs?: number,
    /** The topic that it is about, if it is about one. */
    readonly topic?: string,
  ) {
    super(`${message} (${code})`);
  }
}

/** The same attempt may succeed later. The client retries by itself; where this is thrown, it stopped waiting. */
export class RetryableError extends TidewireError {
  /** The name of its class. */
  override name = 'RetryableError';
}

/** The same attempt will fail again: something has to be changed first. */
export class TerminalError extends TidewireError {
  /** The name of its class. */
  override name = 'TerminalError';
}

/** Any thrown value as an error of this client. */
export function asError(value: unknown, code = 'failed'): TidewireError {
  if (value instanceof TidewireError) return value;
  return new RetryableError(code, String((value as Error | null)?.message ?? value));
}

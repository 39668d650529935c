// How a connection or a request ended, and whether coming back can help (docs/protocol.md, sections 13 and 14).
import { RetryableError, TerminalError, type TidewireError } from './errors.js';

const CLOSES: Record<number, [code: string, terminal: boolean, message: string]> = {
  4400: ['invalid_request', true, 'the broker did not understand this client; update the client'],
  4401: ['unauthenticated', true, 'the broker does not take this token; bring another one'],
  4403: ['forbidden', true, 'this token may not connect here; get one with wider grants'],
  4408: ['stalled', false, 'the line stood still'],
  4409: ['producer_fenced', true, 'a newer run of the same producer took over; stop this one'],
  4413: ['too_large', true, 'a message was too large for the broker; send smaller ones'],
  4429: ['rate_limited', false, 'the broker has too much to do'],
  4500: ['internal_error', false, 'the broker made a mistake'],
  4503: ['draining', false, 'the broker is draining'],
};

/** A close code of a WebSocket. */
export function closed(code: number, reason = ''): TidewireError {
  const [name, terminal, message] = CLOSES[code] ?? [code === 1006 ? 'cut' : 'closed', false, `the connection ended (${code})`];
  const why = reason ? `${message}: ${reason}` : message;
  return terminal ? new TerminalError(name, why) : new RetryableError(name, why);
}

/** Codes after which the same request may succeed later; with `outcome_unknown` the repetition settles it. */
export const PASSING = /^(rate_limited|storage_unavailable|outcome_unknown|draining|internal_error)$/;

/** An error frame, or the body of a problem over HTTP. */
export function problem(body: { code: string; message?: string; detail?: string; retry_after_ms?: number; topic?: string }): TidewireError {
  const Kind = PASSING.test(body.code) ? RetryableError : TerminalError;
  return new Kind(body.code, body.message ?? body.detail ?? 'the broker refused it', body.retry_after_ms, body.topic);
}

const STATUSES: Record<number, [code: string, message: string]> = {
  401: ['unauthenticated', 'the broker does not take this token; bring another one'],
  403: ['forbidden', 'this token, page or address may not do that; get a token with wider grants, or allow the origin'],
};

/** An answer over HTTP that is not what was asked for. `body` is its beginning. */
export function refused(status: number, body: string): TidewireError {
  let parsed: any;
  try {
    parsed = JSON.parse(body);
  } catch {
    // not a problem of the broker
  }
  // a broker that serves another version knows the address and not the path
  if (status === 404 && parsed?.code) {
    return unsupported();
  }
  if (typeof parsed?.code === 'string') return problem(parsed);
  const known = STATUSES[status];
  if (known) return new TerminalError(...known);
  if (status >= 500 || status === 429 || status === 408) {
    return new RetryableError('unavailable', `the broker, or a proxy before it, answered with status ${status}`);
  }
  return notTidewire(`status ${status}`);
}

/** Something answers, and it is no broker: a wrong address, or a network that wants a log-in first. */
export function notTidewire(what: string): TidewireError {
  const message = `what answers at this address is no Tidewire broker (${what}): check the url, and whether the network wants you to log in first`;
  return new TerminalError('not_tidewire', message);
}

export function unreachable(url: string, why: string): TidewireError {
  return new RetryableError('unreachable', `cannot reach ${url}: ${why}; check the url, the network, and whether the broker runs`);
}

/** A broker answers, and in another version of the protocol. */
export function unsupported(): TidewireError {
  return new TerminalError('unsupported_version', 'this server does not speak version 1 of the protocol; update this client');
}

// How a connection or a request ended, and whether coming back can help (docs/protocol.md, sections 13 and 14).
import { RetryableError, TerminalError, type TidewireError } from './errors.js';

/** Each with what to do; those that begin with `!` are terminal. */
const CLOSES: Record<number, [code: string, message: string]> = {
  4400: ['!invalid_request', 'update this client'],
  4401: ['!unauthenticated', 'bring another token'],
  4403: ['!forbidden', 'get a token with wider grants, or allow the origin'],
  4408: ['stalled', 'the line stood still'],
  4409: ['!producer_fenced', 'a newer run took over; stop this one'],
  4413: ['!too_large', 'send smaller messages'],
  4429: ['rate_limited', 'too much at once'],
  4500: ['internal_error', 'a fault of the broker'],
  4503: ['draining', 'the broker is draining'],
};

/** A close code of a WebSocket. */
export function closed(code: number, reason = ''): TidewireError {
  const [name, message] = CLOSES[code] ?? [code === 1006 ? 'cut' : 'closed', `the connection ended (${code})`];
  const why = reason ? `${reason}: ${message}` : message;
  return name[0] === '!' ? new TerminalError(name.slice(1), why) : new RetryableError(name, why);
}

/** Codes after which the same request may succeed later; with `outcome_unknown` the repetition settles it. */
export const PASSING = /^(rate_limited|storage_unavailable|outcome_unknown|draining|internal_error)$/;

/** An error frame, or the body of a problem over HTTP. */
export function problem(body: { code: string; message?: string; detail?: string; retry_after_ms?: number; topic?: string }): TidewireError {
  const Kind = PASSING.test(body.code) ? RetryableError : TerminalError;
  return new Kind(body.code, body.message ?? body.detail ?? 'the broker refused it', body.retry_after_ms, body.topic);
}

/** Something answers, and it is no broker: a wrong address, or a network that wants a log-in first. */
export function notTidewire(what: string): TidewireError {
  return new TerminalError('not_tidewire', `no Tidewire broker answers (${what}): check the url, and whether the network wants a log-in`);
}

/** A broker answers, and in another version of the protocol. */
export function unsupported(): TidewireError {
  return new TerminalError('unsupported_version', 'the server speaks another version; update this client');
}

// What is answered instead of what was asked for, and whether asking again can help (docs/protocol.md, section 13).
import { RetryableError, TerminalError, type TidewireError } from './errors.js';

/** Codes after which the same request may succeed later; with `outcome_unknown` the repetition settles it. */
export const PASSING = /^(rate_limited|storage_unavailable|outcome_unknown|draining|internal_error)$/;

/** An error frame, or the body of a problem over HTTP. */
export function problem(body: { code: string; message?: string; detail?: string; retry_after_ms?: number; topic?: string }): TidewireError {
  const Kind = PASSING.test(body.code) ? RetryableError : TerminalError;
  const why = body.message ?? body.detail ?? 'the broker refused it';
  // the broker says what is wrong with a token, and not what to do
  const advice = body.code === 'unauthenticated' ? ': bring another token' : '';
  return new Kind(body.code, why + advice, body.retry_after_ms, body.topic);
}

/** Something answers, and it is no broker: a wrong address, or a network that wants a log-in first. */
export function notTidewire(what: string): TidewireError {
  return new TerminalError('not_tidewire', `no Tidewire broker answers (${what}): check the url, and whether the network wants a log-in`);
}

/** A broker answers, and in another version of the protocol. */
export function unsupported(): TidewireError {
  return new TerminalError('unsupported_version', 'the server speaks another version; update this client');
}

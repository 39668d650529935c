// How a request over HTTP ended, and whether asking again can help (docs/protocol.md, section 13).
import { notTidewire, problem, unsupported } from './problems.js';
import { RetryableError, TerminalError, type TidewireError } from './errors.js';

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
  if (parsed?.code) return problem(parsed);
  if (status === 401) return new TerminalError('unauthenticated', 'something before the broker wants a log-in');
  if (status === 403) return new TerminalError('forbidden', 'something before the broker refuses it');
  if (status >= 500 || status === 429 || status === 408) {
    return new RetryableError('unavailable', `status ${status}`);
  }
  return notTidewire(`status ${status}`);
}

/** `answers`: something is there, and this page may not read what it says. */
export function unreachable(url: string, why: string, answers: boolean): TidewireError {
  const what = answers
    ? `${url} answers, but not to this page: check the url, the broker's allowed_origins, and whether the network wants a log-in`
    : `cannot reach ${url}: ${why}; check the url, the network and the broker`;
  return new RetryableError('unreachable', what);
}

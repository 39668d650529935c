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

export function unreachable(url: string, why: string): TidewireError {
  return new RetryableError('unreachable', `cannot reach ${url}: ${why}; check the url, the network and the broker`);
}

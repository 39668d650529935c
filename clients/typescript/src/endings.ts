// How a connection ended, and whether coming back can help (docs/protocol.md, section 14).
import { RetryableError, TerminalError, type TidewireError } from './errors.js';

/** Codes, and what to do where nothing mends itself: those are terminal. */
const CLOSES: Record<number, [code: string, advice?: string]> = {
  4400: ['invalid_request', 'update this client'],
  4401: ['unauthenticated', 'bring another token'],
  4403: ['forbidden', 'get a token with wider grants, or allow the origin'],
  4408: ['stalled'],
  4409: ['producer_fenced', 'a newer run took over; stop this one'],
  4413: ['too_large', 'send smaller messages'],
  4429: ['rate_limited'],
  4500: ['internal_error'],
  4503: ['draining'],
  1006: ['cut'],
};

/** A close code of a WebSocket. */
export function closed(code: number, reason = ''): TidewireError {
  const [name, advice] = CLOSES[code] ?? ['closed'];
  const why = reason || `the connection ended (${code})`;
  return advice ? new TerminalError(name, `${why}: ${advice}`) : new RetryableError(name, why);
}

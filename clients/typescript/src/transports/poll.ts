// Long polling: one request after the other, each answered whole, so nothing on the way can hold it back.
//
// Invariants: the next request is asked when all of the answer before was applied; the first one does not wait,
// so that it shows quickly whether polling works. Bound: `MAX_FRAME` characters an answer.
import { BlockReader } from '../blocks.js';
import { asError, RetryableError, type TidewireError } from '../errors.js';
import { deferred, MAX_FRAME, post, type Asking, type Line, type LineSettings } from './line.js';

/** Between two polls that brought nothing and did not wait (something on the way answers early), in milliseconds. */
const PACE = 1_000;

/** Resolves when the first answer was applied. */
export function openPoll(s: LineSettings, asking: Asking): Promise<Line> {
  const opened = deferred<Line>();
  const ended = deferred<TidewireError>();
  const abort = new AbortController();
  let over = false;
  let due = Infinity;

  function end(why: TidewireError): void {
    if (over) return;
    over = true;
    opened.reject(why);
    ended.resolve(why);
    abort.abort(why);
  }
  async function poll(wait: number): Promise<boolean> {
    const given = wait + (wait > 0 ? s.timeouts.silence : s.timeouts.open);
    due = Date.now() + given;
    const timer = setTimeout(() => end(new RetryableError('timeout', 'a poll was not answered')), given);
    try {
      const answer = await post(s, 'v1/sse', { ...asking.body(), once: true, wait_ms: wait }, abort.signal);
      const text = await answer.text();
      if (text.length > MAX_FRAME) throw new RetryableError('too_large', 'the broker sent an answer beyond all bounds');
      const blocks = new BlockReader().push(text);
      if (blocks.length === 0) throw new RetryableError('cut', 'a poll was answered without its beginning');
      for (const block of blocks) over || asking.block(block, text.length / blocks.length);
      return blocks.length > 1;
    } finally {
      clearTimeout(timer);
    }
  }
  async function polls(): Promise<void> {
    for (let wait = 0; !over; wait = s.timeouts.wait) {
      const begun = Date.now();
      const brought = await poll(wait);
      opened.resolve(line);
      const early = begun + Math.min(wait, PACE) - Date.now();
      if (!brought && early > 0) await new Promise((resolve) => setTimeout(resolve, early));
    }
  }
  const line: Line = {
    ended: ended.promise,
    close: end,
    check() {
      if (Date.now() > due) end(new RetryableError('silent', 'the poll did not survive the pause'));
    },
  };
  polls().catch((error) => end(asError(error, 'cut')));
  return opened.promise;
}

// Long polling: one request after the other, each answered whole, so nothing on the way can hold it back.
//
// Invariants: the next request is asked when all of the answer before was applied; the first one does not wait,
// so that it shows quickly whether polling works. Bound: `MAX_FRAME` characters an answer.
import { BlockReader } from '../blocks.js';
import { asError, RetryableError } from '../errors.js';
import { life, MAX_FRAME, type Asking, type Line, type LineSettings } from './line.js';
import { post } from './post.js';

/** Between two polls that brought nothing and did not wait (something on the way answers early), in milliseconds. */
const PACE = 1_000;

/** Resolves when the first answer was applied. */
export function openPoll(s: LineSettings, asking: Asking): Promise<Line> {
  let due = 0;
  const silent = () => end(new RetryableError('silent', 'a poll was not answered; check the url and the network'));
  const { opened, signal, over, open, end, after } = life<Line>({ check: () => Date.now() > due && silent() });

  async function polls(): Promise<void> {
    for (let wait = 0; !over(); wait = s.timeouts.wait) {
      const begun = Date.now();
      const given = wait ? wait + s.timeouts.silence : s.timeouts.open;
      due = begun + given;
      after(given, silent);
      const answer = await post(s, 'v1/sse', { ...asking.body(), once: true, wait_ms: wait }, signal);
      const text = await answer.text();
      if (text.length > MAX_FRAME) throw new Error('an answer beyond all bounds');
      const blocks = new BlockReader().push(text);
      for (const block of blocks) over() || asking.block(block, text.length / blocks.length);
      if (blocks.length) open();
      const early = begun + Math.min(wait, PACE) - Date.now();
      if (blocks.length < 2 && early > 0) await new Promise((resolve) => setTimeout(resolve, early));
    }
  }
  polls().catch((error) => end(asError(error, 'cut')));
  return opened;
}

// Server-sent events over a streamed fetch: the token goes in a header, and several topics in the body.
//
// Invariant: a stream whose beginning does not come in time is held back on the way (or the broker is gone); it
// ends with `silent`, and whoever chooses transports goes on with long polling.
import { BlockReader } from '../blocks.js';
import { asError, RetryableError } from '../errors.js';
import { life, type Asking, type Line, type LineSettings } from './line.js';
import { post } from './post.js';

/** A broker writes at least every 15 s; beyond this a stream that slept is not waited for, in milliseconds. */
const FRESH = 20_000;

/** Resolves when the first block came. */
export function openSse(s: LineSettings, asking: Asking): Promise<Line> {
  let heard = Date.now();
  let patience = s.timeouts.open;
  const silent = () => end(new RetryableError('silent', 'nothing comes through the stream; check the url, the network and what buffers on the way'));
  const { opened, signal, over, open, end, after } = life<Line>({
    check: () => Date.now() - heard > FRESH && silent(),
  });
  function watch(): void {
    const left = heard + patience - Date.now();
    if (left <= 0) silent();
    else after(left, watch);
  }
  async function read(): Promise<void> {
    const answer = await post(s, 'v1/sse?pad=1', asking.body(), signal);
    const text = new TextDecoder();
    const blocks = new BlockReader();
    const body = answer.body?.getReader();
    // a platform that cannot stream is served by long polling
    if (!body) return silent();
    for (;;) {
      const { done, value } = await body.read();
      if (done) throw new RetryableError('cut', 'the stream ended', blocks.retry);
      for (const block of blocks.push(text.decode(value, { stream: true }))) {
        if (over()) return;
        asking.block(block, value.length);
        patience = s.timeouts.silence;
        open();
      }
      // the padding comes through where the first block may not
      if (patience === s.timeouts.silence) heard = Date.now();
    }
  }
  watch();
  read().catch((error) => end(asError(error, 'cut')));
  return opened;
}

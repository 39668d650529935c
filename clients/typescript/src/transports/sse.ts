// Server-sent events over a streamed fetch: the token goes in a header, and several topics in the body.
//
// Invariant: a stream whose beginning does not come in time is held back on the way (or the broker is gone); it
// ends with `silent`, and whoever chooses transports goes on with long polling.
import { BlockReader } from '../blocks.js';
import { asError, RetryableError, type TidewireError } from '../errors.js';
import { deferred, post, type Asking, type Line, type LineSettings } from './line.js';

/** A broker writes at least every 15 s; beyond this a stream that slept is not waited for, in milliseconds. */
const FRESH = 20_000;

/** Resolves when the first block came. */
export function openSse(s: LineSettings, asking: Asking): Promise<Line> {
  const opened = deferred<Line>();
  const ended = deferred<TidewireError>();
  const abort = new AbortController();
  let over = false;
  let heard = Date.now();
  let begun = false;

  function end(why: TidewireError): void {
    if (over) return;
    over = true;
    clearTimeout(timer);
    opened.reject(why);
    ended.resolve(why);
    abort.abort(why);
  }
  function watch(): void {
    const left = heard + (begun ? s.timeouts.silence : s.timeouts.open) - Date.now();
    if (left <= 0) end(new RetryableError('silent', 'nothing comes through the stream'));
    else timer = setTimeout(watch, left);
  }
  let timer = setTimeout(watch, s.timeouts.open);

  async function read(): Promise<TidewireError> {
    const answer = await post(s, 'v1/sse?pad=1', asking.body(), abort.signal);
    const body = answer.body?.getReader();
    // a platform that cannot stream is served by long polling
    if (!body) throw new RetryableError('silent', 'this platform cannot read a stream');
    const text = new TextDecoder();
    const blocks = new BlockReader();
    for (;;) {
      const { done, value } = await body.read();
      if (done) return new RetryableError('cut', 'the stream ended', blocks.retry);
      if (begun) heard = Date.now();
      const size = value.length;
      for (const block of blocks.push(text.decode(value, { stream: true }))) {
        if (over) break;
        asking.block(block, size);
        begun = true;
        heard = Date.now();
        opened.resolve(line);
      }
    }
  }
  const line: Line = {
    ended: ended.promise,
    close: end,
    check() {
      if (Date.now() - heard > FRESH) end(new RetryableError('silent', 'the stream did not survive the pause'));
    },
  };
  read().then(end, (error) => end(asError(error, 'cut')));
  return opened.promise;
}

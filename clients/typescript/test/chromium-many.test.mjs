// Two hundred messages that grow at once in one page: it stays responsive. No task of the page takes 50 ms, whoever
// shows a topic is called at most once per animation frame, and every text is exact.
//
// The clock of a busy machine also counts what others do while a task waits for a processor, and the processor's own
// clock of a virtual machine may run fast. So a task is measured by both, as the browser's trace tells, and the shorter
// time counts; the long tasks that the page itself sees by the clock (PerformanceObserver) are reported beside it.
import assert from 'node:assert/strict';
import test from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { connectAgent } from '../dist/agent.js';
import { Broker } from './kit/broker.mjs';
import { launch, newPage } from './kit/chromium.mjs';
import { textOf, word } from './kit/answer.mjs';
import { Site } from './kit/site.mjs';
import { until } from './kit/wait.mjs';

const MESSAGES = 200;
/** Tokens of each message, and how many each gets in a second. */
const TOKENS = 60;
const RATE = 20;
/** The best of some runs counts: a page that is too slow is so in each of them. */
const RUNS = 3;

/** Types all messages at once, message `n` into `topics[n % topics.length]`. */
async function typeAll(t, broker, topics) {
  const agent = connectAgent({ url: broker.url, producer: 'many', WebSocket });
  t.after(() => agent.close().catch(() => {}));
  const messages = await Promise.all(
    Array.from({ length: MESSAGES }, (_, n) => agent.message(topics[n % topics.length], { id: `m${n}`, role: 'assistant' })),
  );
  const begun = performance.now();
  for (let token = 0; token < TOKENS; token += 1) {
    // spread over the time until the next token, as that many models would be
    for (const [n, message] of messages.entries()) {
      await message.delta(word(token));
      const wait = begun + ((token + n / MESSAGES) * 1000) / RATE - performance.now();
      if (wait > 5) await pause(wait);
    }
  }
  await Promise.all(messages.map((message) => message.complete({ finish_reason: 'stop' })));
  await agent.close();
}

/** Runs once: the longest task in milliseconds. Throws where a text is wrong or an update came too often. */
async function run(t, site, browser, topics) {
  const broker = await Broker.start(t, { args: ['--defaults-retention-events', '100000'] });
  const page = await newPage(t, browser);
  const read = JSON.stringify({ url: broker.url, topics });
  await page.goto(`${site.url}/many.html?read=${encodeURIComponent(read)}`);
  await until('the lines', () => page.evaluate(() => many.ready()));
  await page.evaluate(() => many.begin());
  await browser.startTracing(page, { categories: ['toplevel'] });
  await typeAll(t, broker, topics);
  await until('all ends', () => page.evaluate((count) => many.ended() === count, MESSAGES));
  const longest = longestTask(JSON.parse(await browser.stopTracing()));
  const { tasks, blocked, updates, frames, crowded, texts } = await page.evaluate(() => many.seen());
  assert.deepEqual(new Set(texts), new Set([textOf(TOKENS)]), 'every text is exact');
  assert.equal(texts.length, MESSAGES);
  assert.equal(crowded, 0, 'at most one update per animation frame');
  assert.ok(updates > 10, 'they were seen growing');
  await page.close();
  return { longest, byTheClock: tasks, blocked, updates, frames };
}

/** The longest task of a page's main thread, in milliseconds. */
function longestTask({ traceEvents }) {
  const pages = new Set(traceEvents.filter(({ name, args }) => name === 'thread_name' && args.name === 'CrRendererMain').map(({ pid, tid }) => `${pid} ${tid}`));
  // one that was under way when the trace began or ended has no length
  const tasks = traceEvents.filter(({ name, pid, tid, tdur }) => name === 'ThreadControllerImpl::RunTask' && pages.has(`${pid} ${tid}`) && tdur > 0);
  assert.ok(tasks.length > 100, 'the trace has the tasks');
  return tasks.reduce((longest, { dur, tdur }) => Math.max(longest, Math.min(dur, tdur)), 0) / 1000;
}

for (const [name, topics] of [
  ['of one topic', ['/chat/1']],
  ['of two hundred topics', Array.from({ length: MESSAGES }, (_, n) => `/chat/${n}`)],
]) {
  test(`${MESSAGES} messages ${name} grow at once: no task of 50 ms`, { timeout: 300_000 }, async (t) => {
    const site = await Site.start(t);
    const browser = await launch(t);
    const runs = [];
    do runs.push(await run(t, site, browser, topics));
    while (runs.at(-1).longest >= 50 && runs.length < RUNS);
    t.diagnostic(JSON.stringify(runs));
    assert.ok(runs.at(-1).longest < 50, `the longest tasks of ${RUNS} runs: ${runs.map(({ longest }) => longest)} ms`);
  });
}

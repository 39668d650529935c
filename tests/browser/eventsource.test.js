// A native EventSource resumes by its own Last-Event-ID, with nothing but our server: through a line that is
// cut again and again while events are published, every event arrives exactly once and in order (promises 1-3).

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { startAppPage } from './kit/app-page.js';
import { launch, newPage } from './kit/chromium.js';
import { startBroker } from './kit/process.js';
import { startProxy } from './kit/proxy.js';
import { startPublisher, TYPES } from './kit/publisher.js';
import { until } from './kit/until.js';

const OURS = ['tidewire.ready', 'tidewire.gap', 'tidewire.reset', 'tidewire.position', 'tidewire.draining', 'tidewire.expired'];

let browser, broker, app;
before(async () => {
  [browser, broker, app] = await Promise.all([launch(), startBroker('serve'), startAppPage()]);
});
after(() => Promise.all([browser?.close(), broker?.stop(), app?.stop()]));

describe('a native EventSource', { concurrency: true, timeout: 170_000 }, () => {
  test('over three topics', () => readsThroughCuts({ topics: ['/es/a', '/es/b', '/es/c'], elsewhere: true }));
  test('over one topic', () => readsThroughCuts({ topics: ['/es/one'] }));
  test('over three topics, unnamed', () => readsThroughCuts({ topics: ['/es/u1', '/es/u2', '/es/u3'], query: '&named=0' }));
  test('over one topic, unnamed', () => readsThroughCuts({ topics: ['/es/unnamed'], query: '&named=0', elsewhere: true }));
});

/** `elsewhere`: the page is an application's, on another port. Otherwise the stream's origin is its own. */
async function readsThroughCuts({ topics, query = '', elsewhere = false }) {
  const context = await browser.newContext();
  const proxy = await startProxy(broker.url);
  let publisher;
  try {
    const { page } = await newPage(context);
    await page.goto(elsewhere ? app.url : `${proxy.url}/healthz`);
    const stream = `${proxy.url}/v1/sse?${topics.map((topic) => `topic=${topic}`).join('&')}&from=start${query}`;
    await page.evaluate(read, { stream, names: [...TYPES, ...OURS] });
    const arrived = (type) => page.evaluate((t) => window.count(t), type);
    const moreArrived = async (what, events = 1) => {
      const enough = (await arrived()) + events;
      await until(`events after ${what}`, async () => (await arrived()) >= enough);
    };
    await until('tidewire.ready', () => arrived('tidewire.ready'));

    // before anything is published: the topics do not even exist
    proxy.cut();
    publisher = startPublisher(broker.url, topics);
    await publisher.more(20);
    proxy.release();
    await moreArrived('the first cut', 20);

    // between two events, and in the middle of a block
    for (const bytes of [null, 1, 700, 2_222]) {
      if (bytes === null) proxy.cut();
      else await proxy.cutAfter(bytes);
      await publisher.more(50);
      proxy.release();
      await moreArrived(`a cut after ${bytes} bytes`, 50);
    }

    // in the middle of catching up, whose first connection is refused into the bargain
    proxy.cut();
    await publisher.more(200);
    proxy.refuseOnce();
    const cutAgain = proxy.cutAfter(8_000);
    await until('the page to be refused', () => proxy.refused);
    proxy.release();
    await cutAgain;
    await publisher.more(50);
    proxy.release();
    await moreArrived('a cut while catching up', 200);

    // and the last of it is owed when the publisher has gone
    proxy.cut();
    await publisher.more(50);
    await publisher.stop();
    proxy.release();
    const owed = publisher.count();
    await until(`${owed} events`, async () => (await arrived()) >= owed);

    const { seen, ids } = await page.evaluate(() => ({ seen: window.seen, ids: window.ids }));
    for (const topic of topics) {
      const expected = publisher.acknowledged.get(topic);
      assert.deepEqual(expected.map(({ seq }) => seq), expected.map((_, at) => at + 1), `${topic}: the broker's own answers`);
      assertSame(seen.filter((event) => event.topic === topic), expected, topic);
    }
    const told = await page.evaluate(() => window.told);
    assert.deepEqual(told.filter(({ type }) => type !== 'tidewire.ready'), [], 'nothing was lost, so nothing says so');
    assert.equal(await page.evaluate(() => window.misnamed), 0, query ? 'every event comes as `message`' : 'every event comes by its type');

    const streams = proxy.requests.filter((head) => head.includes('/v1/sse?'));
    const [first, ...resumed] = streams.map((head) => /^last-event-id: (.*)$/im.exec(head)?.[1]);
    assert.equal(first, undefined);
    assert.ok(resumed.length >= 7, `${resumed.length} came back`);
    for (const id of resumed) assert.ok(id, 'each with a Last-Event-ID');
    for (const ready of told.slice(1)) assert.ok(ready.topics.every((topic) => topic.resumed), JSON.stringify(ready));
    if (topics.length === 1) assertPositions(seen, ids);
  } finally {
    await publisher?.stop().catch(() => {});
    await context.close();
    await proxy.stop();
  }
}

/** In the page: keeps what a plain EventSource gives. */
function read({ stream, names }) {
  Object.assign(window, { seen: [], ids: [], told: [], misnamed: 0 });
  window.count = (type) => (type ? window.told.filter((event) => event.type === type).length : window.seen.length);
  const unnamed = stream.includes('named=0');
  const take = (event) => {
    const data = JSON.parse(event.data);
    if (event.type !== (unnamed ? 'message' : data.type)) window.misnamed += 1;
    if (data.type.startsWith('tidewire.')) { window.told.push(data); return; }
    window.seen.push(data);
    window.ids.push(event.lastEventId);
  };
  window.source = new EventSource(stream);
  window.source.onmessage = take;
  for (const name of names) window.source.addEventListener(name, take);
}

/** Says the first difference: of thousands of events a whole one helps nobody. */
function assertSame(seen, expected, topic) {
  const plain = ({ seq, type, data }) => JSON.stringify({ seq, type, data });
  const length = Math.max(seen.length, expected.length);
  for (let at = 0; at < length; at += 1) {
    const [got, owed] = [seen[at], expected[at]].map((event) => (event ? plain(event) : 'nothing'));
    assert.equal(got, owed, `${topic}: event ${at + 1} of ${expected.length} (${seen.length} arrived)`);
  }
}

/** With one topic the id is the position after the event. */
function assertPositions(seen, ids) {
  const epochs = new Set(ids.map((id) => id.split(':')[0]));
  assert.equal(epochs.size, 1, [...epochs].join(' '));
  const [epoch] = epochs;
  for (const [at, { seq }] of seen.entries()) assert.equal(ids[at], `${epoch}:${seq}`);
}

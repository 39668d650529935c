// The demo's page shows exactly the text: while it streams, through cuts, switches and reloads, in a second
// reader, and beside other programs' output. In the middle of an answer, and at every moment a beginning of it.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { launch } from './kit/chromium.js';
import { assertNothingLost, assertShows, lookingAt, openTab, startDemo, TOPIC } from './kit/demo.js';
import { startPipe } from './kit/process.js';
import { startProxy } from './kit/proxy.js';
import { TEXT } from './kit/text.js';
import { until } from './kit/until.js';

const part = (share) => Math.floor(TEXT.length * share);

let browser;
before(async () => { browser = await launch(); });
after(() => browser?.close());

describe('the demo', { concurrency: 4, timeout: 170_000 }, () => {
  for (const [transport, name] of [['ws', 'WebSocket'], ['sse', 'SSE']]) {
    test(`streams in over ${name}, through a cut`, () => withDemo(async ({ demo, tab }) => {
      const { page, faults, ...here } = await tab(`?transport=${transport}`);
      const { id } = await here.inTheMiddle(part(1 / 3), 'cut');
      assert.equal(await page.locator('#answer').count(), 1);
      const notice = await until('the page to come back', async () => {
        const said = await here.notice();
        return said.startsWith('Came back') && said;
      });
      const [, replayed] = /replayed ([\d,]+) events?/.exec(notice) ?? assert.fail(notice);
      assert.ok(parseInt(replayed, 10) > 0, notice);
      await here.live(name);
      await assertShows(here, demo.url, id, TEXT);
      const { changes } = await here.shown(id);
      assert.ok(changes >= 2, `${changes} steps from the first to the last character`);
      const kinds = new Set((await page.evaluate(() => window.tidewire.events)).map(({ type }) => type.split('.')[0]));
      for (const kind of ['agent', 'tool', 'memory', 'navigation']) assert.ok(kinds.has(kind), `${kind} among ${[...kinds]}`);
      await assertNothingLost(here);
      assert.equal((await here.stats()).connects, 2);
      assert.deepEqual(faults, []);
    }));

    test(`comes back over ${name} when the line breaks`, () => withDemo(async ({ demo, proxy, tab }) => {
      const { faults, ...here } = await tab(`?transport=${transport}`, proxy.url);
      const { id } = await here.inTheMiddle(part(1 / 4));
      for (const bytes of [1_000, 3_333]) {
        await proxy.cutAfter(bytes);
        const head = await demo.head();
        await until('the agent to go on alone', async () => (await demo.head()) >= head + 50);
        const connected = proxy.requests.length;
        proxy.release();
        await until('the page to come back', () => proxy.requests.length > connected);
        await here.live(name);
      }
      await assertShows(here, demo.url, id, TEXT);
      await assertNothingLost(here);
      assert.deepEqual(faults.filter(notTheLine), []);
    }));
  }

  test('begins anew when the broker has lost its log', () => withDemo(async ({ demo, proxy, tab }) => {
    const { page, faults, ...here } = await tab('', proxy.url);
    const successor = await startDemo(TEXT);
    try {
      const { id: lost } = await here.inTheMiddle(part(1 / 4));
      await demo.stop();
      proxy.lead(successor.url);
      await page.waitForFunction(() => window.tidewire.stats.resets === 1, null, { polling: 20 });
      // the messages are a frame's: the reset is counted before it
      await page.waitForFunction((id) => window.tidewire.messages().every((one) => one.id !== id), lost, { polling: 20 });
      const { id } = await here.inTheMiddle(1);
      assert.notEqual(id, lost);
      assert.equal(await here.textOf(lost), undefined, 'what the broker does not have is forgotten');
      await assertShows(here, successor.url, id, TEXT);
      assert.deepEqual(faults.filter(notTheLine), []);
    } finally {
      await successor.stop();
    }
  }));

  test('goes on through WebSocket, SSE and WebSocket', () => withDemo(async ({ demo, tab }) => {
    const { faults, ...here } = await tab();
    await here.live('WebSocket');
    const first = await here.inTheMiddle(part(1 / 4), 'switch');
    await here.live('SSE');
    const second = await here.inTheMiddle(part(1 / 2), 'switch');
    await here.live('WebSocket');
    // on a slow computer the answer was over before the second switch, and that was in the next one
    for (const id of new Set([first.id, second.id])) await assertShows(here, demo.url, id, TEXT);
    await assertNothingLost(here);
    assert.equal((await here.stats()).connects, 3);
    assert.deepEqual(faults, []);
  }));

  test('has the whole answer again after a reload', () => withDemo(async ({ demo, tab }) => {
    const { page, faults, ...here } = await tab();
    const reloads = [(length) => here.inTheMiddle(length, 'reload'), async (length) => {
      const seen = await here.inTheMiddle(length);
      await page.reload();
      return seen;
    }];
    let id;
    for (const [at, reload] of reloads.entries()) {
      const seen = await reload(part((at + 1) / 4));
      id ??= seen.id;
      const shown = await until('the answer after the reload', () => here.shown(seen.id));
      assert.ok(shown.first >= seen.length, `${shown.first} characters at once, ${seen.length} were there`);
    }
    await assertShows(here, demo.url, id, TEXT);
    await page.reload();
    await assertShows(here, demo.url, id, TEXT); // when it has ended, too
    assert.equal((await here.stats()).connects, 1);
    await assertNothingLost(here);
    assert.deepEqual(faults, []);
  }));

  test('gives a second reader the answer so far at once', () => withDemo(async ({ demo, tab }) => {
    const { page, faults, ...here } = await tab();
    const { id, second } = await inSomeAnswer(async () => {
      const seen = await here.inTheMiddle(part(1 / 4), 'second');
      const iframe = await page.waitForSelector('#second-reader');
      const frame = await iframe.contentFrame();
      await frame.waitForFunction(() => window.tidewire);
      const reader = lookingAt(frame);
      await reader.live();
      const shown = await reader.shownSoon(seen.id);
      if (!shown) { await here.click('second'); return null; }
      assert.ok(shown.first >= seen.length, `${shown.first} characters at once, the first reader had ${seen.length}`);
      return { id: seen.id, second: reader };
    });
    for (const reader of [here, second]) {
      await assertShows(reader, demo.url, id, TEXT);
      await assertNothingLost(reader);
    }
    assert.equal((await second.stats()).snapshots, 1);
    assert.deepEqual(faults, []);
  }));

  test('shows the output of another program in every tab', () => withDemo(async ({ demo, tab }) => {
    const tabs = [await tab(), await tab('?transport=sse&coalesce_ms=100')];
    const { id } = await tabs[0].inTheMiddle(part(1 / 8));
    const pipe = startPipe(TOPIC, demo.url, '--message-id', 'pipe-1');
    try {
      // in pieces that end within characters, and the second half only when the first is seen everywhere
      const bytes = Buffer.from(PIPED);
      const half = Math.floor(bytes.length / 2);
      const firstHalf = new TextDecoder().decode(bytes.subarray(0, half), { stream: true });
      for (let at = 0; at < half; at += 7) pipe.stdin.write(bytes.subarray(at, Math.min(at + 7, half)));
      for (const here of tabs) {
        await until('the first half in every tab', async () => (await here.textOf('pipe-1')) === firstHalf);
      }
      pipe.stdin.end(bytes.subarray(half));
      assert.equal(await pipe.ended, 0, pipe.log.join('\n'));
      for (const here of tabs) {
        await assertShows(here, demo.url, 'pipe-1', PIPED);
        await assertShows(here, demo.url, id, TEXT);
        await assertNothingLost(here);
        assert.deepEqual(here.faults, []);
      }
      assert.ok((await tabs[1].stats()).merges > 0, 'one tab had its deltas merged');
    } finally {
      await pipe.stop();
    }
  }));
});

const PIPED = `$ make tide\n${TEXT.slice(0, 600)}\n✔ done in 1.2 s 🌊\n`;

/** Once more where an answer was over before the page could do what is asked, on a slow computer; three times at most. */
async function inSomeAnswer(attempt) {
  for (let left = 2; left >= 0; left -= 1) {
    const done = await attempt();
    if (done) return done;
  }
  return assert.fail('three times the answer was not there');
}

/** What Chromium itself says of a broken connection. */
const notTheLine = (fault) => !/net::ERR_|WebSocket connection to .* failed/.test(fault);

/** Runs a test with a demo, a line to it that can be cut, and a context of its own, and ends all three. */
async function withDemo(run) {
  const context = await browser.newContext({ reducedMotion: 'reduce' });
  const demo = await startDemo(TEXT);
  const proxy = await startProxy(demo.url);
  const tabs = [];
  const tab = async (query = '', url = demo.url) => {
    tabs.push(await openTab(context, `${url}/${query}`, { 'demo-': TEXT, 'pipe-': PIPED }));
    return tabs.at(-1);
  };
  try {
    await run({ demo, proxy, tab });
  } catch (error) {
    for (const { describe } of tabs) error.message += `\n${await describe()}`;
    throw error;
  } finally {
    await context.close();
    await proxy.stop();
    await demo.stop();
  }
}

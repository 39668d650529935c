// What happens to pages while an answer is read: they are loaded again, come late, their broker restarts, their token
// ends, their network goes and comes back. Each ends with the exact text, and each event comes once; or in one typed
// error.
import assert from 'node:assert/strict';
import test from 'node:test';
import { Broker, folder, SECRET, token } from './kit/broker.mjs';
import { launch, newPage, watched } from './kit/chromium.mjs';
import { Proxy } from './kit/proxy.mjs';
import { signed } from './kit/sign.mjs';
import { Site } from './kit/site.mjs';
import { DOWN_FROM, QUICK, Tab } from './kit/tab.mjs';
import { typed } from './kit/typist.mjs';
import { until } from './kit/wait.mjs';

const TOPIC = '/chat/1';
// the leeway for clocks would let an ended token live on for half a minute
const GUARDED = { args: ['--auth-leeway', '0s'], env: { TIDEWIRE_AUTH_SECRET: SECRET } };

test('pages', { concurrency: 6, timeout: 400_000 }, async (t) => {
  const site = await Site.start(t);
  const browser = await launch(t);
  const cases = [];
  const each = (what, run) => {
    for (const [name, transports] of Object.entries(DOWN_FROM)) cases.push([`${name}: ${what}`, (t) => run(t, transports)]);
  };

  each('loaded again in the middle, twice', async (t, transports) => {
    const broker = await Broker.start(t, { args: QUICK });
    const page = await newPage(t, browser);
    const tab = await Tab.open(page, site, { url: broker.url, topic: TOPIC, transports, storage: true });
    await tab.connected(transports[0]);
    const reload = () => page.reload();
    // a life that begins after the end of the answer has nothing to read
    await tab.hasExactly(broker, await typed(t, broker, TOPIC, { at: { 300: reload, 650: reload }, last: 100 }));
    const lives = await tab.ask(() => reader.lives.length);
    assert.equal(lives, 2);
  });

  cases.push(['a second page that comes late', async (t) => {
    const broker = await Broker.start(t, { args: QUICK });
    const page = await newPage(t, browser);
    const read = { url: broker.url, topic: TOPIC, storage: true };
    const first = await Tab.open(page, site, read);
    await first.connected('websocket');
    let late;
    const comes = async () => {
      late = await Tab.open(watched(t, await page.context().newPage()), site, read);
    };
    const text = await typed(t, broker, TOPIC, { at: { 500: comes } });
    await first.hasExactly(broker, text);
    await late.hasExactly(broker, text);
    // and one that comes when all is over
    await (await Tab.open(await newPage(t, browser), site, read)).hasExactly(broker, text);
  }]);

  for (const signal of ['SIGKILL', 'SIGTERM']) {
    each(`the broker restarts on the disk engine (${signal}), twice`, async (t, transports) => {
      const broker = await Broker.start(t, { args: ['--engine', 'disk', '--data-dir', folder(t), ...QUICK] });
      const tab = await Tab.open(await newPage(t, browser), site, { url: broker.url, topic: TOPIC, transports });
      await tab.connected(transports[0]);
      const restart = () => broker.restart(signal);
      await tab.hasExactly(broker, await typed(t, broker, TOPIC, { at: { 200: restart, 700: restart } }));
    });
  }

  each('a token that ends in the middle, and another one', async (t, transports) => {
    const broker = await Broker.start(t, GUARDED);
    broker.token = await token('--publish', '/**', '--subscribe', '/**');
    const page = await newPage(t, browser);
    let brought = 0;
    await page.exposeFunction('bringToken', () => {
      brought += 1;
      return signed(2);
    });
    const tab = await Tab.open(page, site, { url: broker.url, topic: TOPIC, transports, bringsTokens: true });
    await tab.connected(transports[0]);
    await tab.hasExactly(broker, await typed(t, broker, TOPIC));
    assert.ok(brought >= 2 && brought < 30, `${brought} tokens`);
  });

  each('a token that ends in the middle, and no other', async (t, transports) => {
    const broker = await Broker.start(t, GUARDED);
    broker.token = await token('--publish', '/**', '--subscribe', '/**');
    // the page is loaded before, so that the token ends while the answer is written, however busy the machine is
    const tab = await Tab.open(await newPage(t, browser), site, { url: broker.url, topic: TOPIC, transports, waits: true });
    await tab.ask((brought) => reader.begin({ token: brought }), signed(3));
    const typing = typed(t, broker, TOPIC);
    await tab.until('the answer', () => reader.shown.length > 0 && reader.events.length > 0);
    await tab.closed();
    await typing;
    const [errors, length] = await tab.ask(() => [reader.errors, reader.shown[0].text.length]);
    for (const { length: count, 0: error } of Object.values(errors)) {
      assert.equal(count, 1, 'told once');
      assert.deepEqual([error.kind, error.code], ['TerminalError', 'unauthenticated']);
      assert.match(error.message, /bring another token/);
    }
    assert.ok(length > 0, 'what came before is still shown');
  });

  each('the network goes and comes back: noticed at once', async (t, transports) => {
    const broker = await Broker.start(t, { args: QUICK });
    const proxy = await Proxy.start(t, broker.port);
    const page = await newPage(t, browser);
    // so that the waits between attempts soon are long
    await page.addInitScript(() => (Math.random = () => 0.999));
    await page.addInitScript(() => {
      globalThis.waiting = () => [...new Map(reader.statuses.map((status) => [status.line, status])).values()].filter(({ state }) => state === 'waiting');
      addEventListener('online', () => (globalThis.interrupted = waiting()));
    });
    const tab = await Tab.open(page, site, { url: proxy.url, topic: TOPIC, transports });
    await tab.connected(transports[0]);
    const goes = async () => {
      await page.context().setOffline(true);
      proxy.cut();
    };
    const typing = typed(t, broker, TOPIC, { at: { 300: goes } });
    await tab.until('long waits', () => waiting().filter(({ at, retryInMs }) => at + retryInMs > performance.now() + 2_000).length === 2);
    await page.context().setOffline(false);
    await tab.hasExactly(broker, await typing);
    const early = await tab.ask(() => interrupted.map(({ line, at, retryInMs }) => {
      const next = reader.statuses.find((status) => status.line === line && status.at >= at && status.state === 'connecting');
      return at + retryInMs - next.at;
    }));
    assert.equal(early.length, 2);
    assert.ok(early.every((ms) => ms > 0), `both lines tried again ${early} ms before their time`);
  });

  cases.push(['a worker reads, and its lines are cut', async (t) => {
    const broker = await Broker.start(t, { args: QUICK });
    const proxy = await Proxy.start(t, broker.port);
    const page = await newPage(t, browser);
    site.put('/worker.js', `
      import { connect } from '/node_modules/tidewire/dist/index.js';
      onmessage = ({ data: url }) => {
        connect({ url, timeouts: { open: 1500, silence: 1200, wait: 1000 } }).messages('${TOPIC}', {
          onChange: (messages) => postMessage(messages.at(-1)),
          onError: (error) => postMessage({ text: String(error) }),
        });
      };`);
    await page.goto(site.put('/empty.html', '<!doctype html><title>empty</title><link rel="icon" href="data:,">'));
    await page.evaluate((url) => {
      const worker = new Worker('/worker.js', { type: 'module' });
      worker.onmessage = ({ data }) => (globalThis.told = data);
      worker.postMessage(url);
    }, proxy.url);
    await until('the line', () => proxy.lines > 0);
    const cut = () => proxy.cut();
    const text = await typed(t, broker, TOPIC, { at: { 300: cut, 650: cut } });
    await until('the end in the worker', () => page.evaluate(() => globalThis.told?.state === 'completed'));
    assert.equal(await page.evaluate(() => told.text), text);
  }]);

  await Promise.all(cases.map(([name, run]) => t.test(name, run)));
});

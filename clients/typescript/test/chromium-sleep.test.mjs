// Pages that are hidden, frozen, or asleep for longer than silence may last: on a desktop, where a window can be
// minimised and what is hidden is throttled. Each ends with the exact text, each event once, and notices at once that
// it is awake.
import assert from 'node:assert/strict';
import test from 'node:test';
import { Broker } from './kit/broker.mjs';
import { Desktop } from './kit/chromium.mjs';
import { Proxy } from './kit/proxy.mjs';
import { Site } from './kit/site.mjs';
import { DOWN_FROM, QUICK, Tab } from './kit/tab.mjs';
import { typed } from './kit/typist.mjs';

const TOPIC = '/chat/1';

test('sleep', { concurrency: 4, timeout: 400_000 }, async (t) => {
  const site = await Site.start(t);
  const desktop = await Desktop.start(t);
  const cases = [];
  const each = (what, run) => {
    for (const [name, transports] of Object.entries(DOWN_FROM)) cases.push([`${name}: ${what}`, (t) => run(t, transports)]);
  };
  /** What the page saw of its own life. */
  const watch = (page) =>
    page.addInitScript(() => {
      globalThis.life = [];
      for (const name of ['freeze', 'resume']) document.addEventListener(name, () => life.push([name, performance.now()]));
      document.addEventListener('visibilitychange', () => life.push([document.visibilityState, performance.now()]));
    });

  each('hidden and frozen in the middle, twice', async (t, transports) => {
    const broker = await Broker.start(t, { args: QUICK });
    const window = await desktop.open(t);
    await watch(window.page);
    const tab = await Tab.open(window.page, site, { url: broker.url, topic: TOPIC, transports });
    await tab.connected(transports[0]);
    const sleeps = () => window.sleep();
    const wakes = () => window.wake();
    const text = await typed(t, broker, TOPIC, { at: { 100: sleeps, 400: wakes, 600: sleeps, 900: wakes } });
    await tab.hasExactly(broker, text);
    const life = await tab.ask(() => globalThis.life.map(([name]) => name));
    assert.deepEqual(life, [...['hidden', 'freeze', 'resume', 'visible'], ...['hidden', 'freeze', 'resume', 'visible']]);
  });

  each('hidden all the while', async (t, transports) => {
    const broker = await Broker.start(t, { args: QUICK });
    const window = await desktop.open(t);
    const tab = await Tab.open(window.page, site, { url: broker.url, topic: TOPIC, transports });
    await tab.connected(transports[0]);
    await window.hide();
    await tab.hasExactly(broker, await typed(t, broker, TOPIC));
    assert.equal(await tab.ask(() => document.visibilityState), 'hidden');
  });

  each('asleep for longer than silence may last, and its line is gone', async (t, transports) => {
    const broker = await Broker.start(t, { args: QUICK });
    const proxy = await Proxy.start(t, broker.port);
    const window = await desktop.open(t);
    await watch(window.page);
    const tab = await Tab.open(window.page, site, { url: proxy.url, topic: TOPIC, transports });
    await tab.connected(transports[0]);
    const sleeps = async () => {
      await window.sleep();
      proxy.stall();
    };
    const wakes = () => window.wake();
    // four seconds: the silence of a WebSocket ends after one, that of a poll after two
    const text = await typed(t, broker, TOPIC, { at: { 100: sleeps, 900: wakes } });
    await tab.hasExactly(broker, text);
    const wait = await tab.ask(() => {
      const awake = life.findLast(([name]) => name === 'resume')[1];
      return reader.statuses.find(({ at, state }) => state === 'connecting' && at >= Math.floor(awake)).at - awake;
    });
    // (an attempt may meet a connection of the browser's pool that is dead too, and takes longer then)
    assert.ok(wait < 2_000, `tried again ${wait} ms after it woke`);
  });

  cases.push(['a line that died while the page was hidden is found when it is shown, long before it would be missed', async (t) => {
    // pings are 25 s apart by default, so that silence alone would tell after a minute; an answer to a ping is missed after five seconds
    const broker = await Broker.start(t);
    const proxy = await Proxy.start(t, broker.port);
    const window = await desktop.open(t);
    await watch(window.page);
    const tab = await Tab.open(window.page, site, { url: proxy.url, topic: TOPIC });
    await tab.connected('websocket');
    const hides = async () => {
      await window.hide();
      proxy.stall();
    };
    const text = await typed(t, broker, TOPIC, { at: { 500: hides } });
    await window.show();
    await tab.hasExactly(broker, text);
    const wait = await tab.ask(() => reader.statuses.findLast(({ state }) => state === 'connected').at - life.findLast(([name]) => name === 'visible')[1]);
    assert.ok(wait > 0 && wait < 20_000, `connected ${wait} ms after it was shown`);
  }]);

  await Promise.all(cases.map(([name, run]) => t.test(name, run)));
});

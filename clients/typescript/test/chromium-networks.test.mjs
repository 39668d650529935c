// Real pages on bad networks: an answer of 1,000 tokens at 200 a second, typed by a real agent, is shown with its exact
// text, and each of its events comes once, in order, whatever the way does in its middle.
//
// Not every harm means something to every transport:
// - blocked upgrades harm only WebSockets, the only ones that upgrade; that a page which began over server-sent events
//   or polling never needs one is seen in each of their cases (`requests`);
// - buffering (answers come when they are over) lets polls through, as each of them is over soon, so there nothing
//   may change; a stream stands still, and the page has to leave it for polls; a WebSocket has no end to wait for, so
//   its bytes come in bursts.
import assert from 'node:assert/strict';
import test from 'node:test';
import { Broker } from './kit/broker.mjs';
import { launch, newPage } from './kit/chromium.mjs';
import { Proxy } from './kit/proxy.mjs';
import { Site } from './kit/site.mjs';
import { DOWN_FROM, PATIENT, QUICK, Tab, TIMEOUTS } from './kit/tab.mjs';
import { typed } from './kit/typist.mjs';
import { until } from './kit/wait.mjs';

/** By name: what happens after how many tokens, and what the page must have noticed of it. */
const HARMS = {
  cut: { at: thrice((proxy) => proxy.cut()), told: ({ name, endings }) => name === 'poll' || endings.length >= 3 },
  reset: { at: thrice((proxy) => proxy.reset()), told: ({ name, endings }) => name === 'poll' || endings.length >= 3 },
  // the second line of a page follows to another transport without a wait
  stall: { at: thrice((proxy) => proxy.stall()), told: ({ endings, transports }) => endings.length + transports.length - 1 >= 2 },
  delay: {
    at: { 200: (proxy) => proxy.delay(200), 450: (proxy) => proxy.delay(0), 700: (proxy) => proxy.delay(400) },
    // late is not lost
    told: ({ name, endings, transports }) => endings.length === 0 && transports.join() === name,
    patient: true,
  },
  buffer: {
    at: {
      150: (proxy) => (proxy.buffering = true),
      800: (proxy) => (proxy.buffering = false),
      900: (proxy) => (proxy.buffering = true),
    },
    told: ({ name, transports }) => (name === 'sse' ? /^sse,poll/ : /^(websocket|poll)$/).test(transports.join()),
  },
};

/** The next harm comes when the one before was overcome, or it would harm nothing. */
function thrice(harm) {
  const once = async (proxy, tab) => {
    await tab.readsOn();
    // on a busy machine a line may just have ended by itself
    await until('something to harm', () => proxy.lines > 0, 20_000);
    harm(proxy);
  };
  return { 200: once, 450: once, 700: once };
}

test('bad networks', { concurrency: 6, timeout: 400_000 }, async (t) => {
  const site = await Site.start(t);
  const browser = await launch(t);
  const cases = [];

  for (const name of Object.keys(DOWN_FROM)) {
    for (const [harm, { at, told, patient }] of Object.entries(HARMS)) {
      cases.push([`${name}, ${harm}`, async (t) => {
        const lineDies = /cut|reset|stall/.test(harm);
        const broker = await Broker.start(t, { args: lineDies ? QUICK : PATIENT });
        const proxy = await Proxy.start(t, broker.port);
        const topic = '/chat/1';
        const timeouts = patient ? { ...TIMEOUTS, silence: 10_000 } : TIMEOUTS;
        const tab = await Tab.open(await newPage(t, browser), site, { url: proxy.url, topic, transports: DOWN_FROM[name], timeouts });
        await tab.connected(name);
        const harms = Object.entries(at).map(([n, act]) => [n, () => act(proxy, tab)]);
        const text = await typed(t, broker, topic, { at: Object.fromEntries(harms) });
        await tab.hasExactly(broker, text);
        const seen = { name, endings: await tab.endings(), transports: await tab.transports() };
        assert.ok(told(seen), JSON.stringify(seen));
        const upgraded = proxy.requests.some((request) => request.startsWith('GET /v1/ws'));
        assert.equal(upgraded, name === 'websocket', 'only a WebSocket upgrades');
      }]);
    }
  }

  for (const blocked of ['swallow', 'refuse', 'strip', 'mute']) {
    cases.push([`websocket, upgrades blocked (${blocked}), twice`, async (t) => {
      const broker = await Broker.start(t, { args: QUICK });
      const proxy = await Proxy.start(t, broker.port);
      const topic = '/chat/1';
      // a handshake that hangs is given up earlier than by default, for the sake of the test
      const timeouts = { ...TIMEOUTS, open: 2000 };
      const tab = await Tab.open(await newPage(t, browser), site, { url: proxy.url, topic, timeouts });
      const block = () => {
        proxy.upgrades = blocked;
        proxy.cut();
      };
      for (const id of ['first', 'second']) {
        // noticed by itself, also after it was blocked
        await tab.connected('websocket');
        await tab.hasExactly(broker, await typed(t, broker, topic, { id, at: { 200: block } }));
        assert.notEqual((await tab.transports()).at(-1), 'websocket');
        proxy.upgrades = 'pass';
      }
      await tab.connected('websocket');
    }]);
  }

  await Promise.all(cases.map(([name, run]) => t.test(name, run)));
});

// Amplify comes back five seconds after a drop, with the same subscription ids and no word of where it was. Everything
// that was published meanwhile is there, in order, before what comes live.

import assert from 'node:assert/strict';

import { startProxy } from '../../browser/kit/proxy.js';
import { until } from '../../browser/kit/until.js';
import { configuredBroker, endpointOf } from '../kit/broker.js';
import { assertNothingMissed, startNumbers } from '../kit/numbers.js';
import { follow, framesSent } from '../kit/world.js';

const BEFORE_MS = 2_500;   // of publishing before a cut: more than may repeat
const DISK = ['--engine', 'disk', '--data-dir', 'FOLDER', '--drain-timeout', '5s'];

export const reconnect = {
  'after a cut line, twice': cutLine({ topics: ['/default/one'], channels: ['/default/one'], cuts: 2 }),
  'over three channels by a wildcard': cutLine({ topics: ['/default/w/a', '/default/w/b', '/default/w/c/deep'], channels: ['/default/w/*'] }),
  'with two subscriptions of one channel': cutLine({ topics: ['/default/both'], channels: ['/default/both', '/default/both'] }),
  'with channels born while it was away': cutLine({ topics: ['/default/b/old'], channels: ['/default/b/*'], born: ['/default/b/new'] }),
  'after the broker was killed': restarted('SIGKILL'),
  'after the broker was stopped and started': restarted('SIGTERM'),
  'and is replayed nothing where that is switched off': notReplayed,
  'or subscribes again though the line is whole, and reads on': subscribedAgain,
};

function cutLine({ topics, channels, cuts = 1, born = [] }) {
  return async (agents) => {
    const broker = await configuredBroker('');
    const proxy = await startProxy(broker.url);
    const amplify = await agents.start();
    const publishers = [];
    try {
      const names = await followAll(amplify, endpointOf(proxy.url), channels);
      const numbers = startNumbers(broker.url, topics);
      publishers.push(numbers);
      const times = [];
      for (let cut = 1; cut <= cuts; cut += 1) {
        await arrived(amplify, names, () => numbers.count());
        await numbers.since(BEFORE_MS * cut);
        times.push(performance.now());
        proxy.cut();
        await numbers.more(100);
        if (cut === 1 && born.length > 0) {
          publishers.push(startNumbers(broker.url, born));
          await publishers.at(-1).more(50);
        }
        proxy.release();
        await until('Amplify to come back', async () => (await amplify.call('sockets')).filter(({ got }) => got.length > 2).length > cut);
        await numbers.more(50);
      }
      for (const publisher of publishers) await publisher.stop();
      const published = new Map(publishers.flatMap((publisher) => [...publisher.published]));
      for (const name of names) await allThere(amplify, name, published, times);
      await assertSameIds(amplify, channels.length, cuts + 1);
    } finally {
      for (const publisher of publishers) await publisher.stop().catch(() => {});
      await Promise.all([amplify.stop(), proxy.stop(), broker.stop()]);
    }
  };
}

function restarted(signal) {
  return async (agents) => {
    const broker = await configuredBroker('', ...DISK);
    const amplify = await agents.start();
    const [one, two] = ['/default/one', '/default/two'];
    let numbers;
    try {
      const names = await followAll(amplify, broker.endpoint, ['/default/*', one]);
      numbers = startNumbers(broker.url, [one, two]);
      await numbers.since(BEFORE_MS);
      await until('the first events', () => amplify.call('count', names[1]));
      const cut = performance.now();
      assert.equal(await broker.end(signal), signal === 'SIGTERM' ? 0 : null, broker.log);
      await broker.again();
      await numbers.more(100);
      await until('Amplify to come back', async () => (await framesSent(amplify, 'subscribe')).length >= 2 * names.length);
      await numbers.more(50);
      await numbers.stop();
      await allThere(amplify, names[0], numbers.published, [cut]);
      await allThere(amplify, names[1], new Map([[one, numbers.published.get(one)]]), [cut]);
      await assertSameIds(amplify, names.length, 2);
    } finally {
      await numbers?.stop().catch(() => {});
      await Promise.all([amplify.stop(), broker.stop()]);
    }
  };
}

async function notReplayed(agents) {
  const broker = await configuredBroker('[appsync]\nreplay = false\n');
  const proxy = await startProxy(broker.url);
  const amplify = await agents.start();
  const room = '/default/off';
  const numbers = startNumbers(broker.url, [room]);
  try {
    const [name] = await followAll(amplify, endpointOf(proxy.url), [room]);
    await numbers.since(BEFORE_MS);
    await until('the first events', () => amplify.call('count', name));
    proxy.cut();
    await numbers.more(2);   // one may have been on its way
    const first = numbers.last(room) + 1;
    await numbers.more(100);
    const last = numbers.last(room);
    const before = (await amplify.call('count', name));
    proxy.release();
    await until('live events again', async () => (await amplify.call('count', name)) > before);
    await numbers.stop();
    await until('the last event', async () => (await amplify.call('received', name)).at(-1).n === numbers.last(room));
    const seen = (await amplify.call('received', name)).map(({ n }) => n);
    assert.deepEqual(seen.filter((n) => n >= first && n <= last), [], 'what it missed');
    const jumps = seen.filter((n, at) => at > 0 && n !== seen[at - 1] + 1);
    assert.equal(jumps.length, 1, `one gap, and no repeat: ${seen}`);
  } finally {
    await numbers.stop().catch(() => {});
    await Promise.all([amplify.stop(), proxy.stop(), broker.stop()]);
  }
}

/**
 * A subscription that fails before Amplify has sent it makes it take the connection for broken: it subscribes all others
 * again, with the ids they have, on the same socket. They were read all the while, and must not be ended by that.
 */
async function subscribedAgain(agents) {
  const broker = await configuredBroker('');
  const amplify = await agents.start();
  const room = '/default/again';
  let numbers;
  try {
    const names = await followAll(amplify, broker.endpoint, [room, '/default/*']);
    numbers = startNumbers(broker.url, [room]);
    await amplify.call('subscribe', room, 'without a token', { authMode: 'lambda' });
    await until('Amplify to subscribe again', async () => (await framesSent(amplify, 'subscribe')).length >= 2 * names.length);
    await numbers.more(50);
    await numbers.stop();
    for (const name of names) await allThere(amplify, name, numbers.published, []);
    await assertSameIds(amplify, names.length, 2);
    assert.deepEqual((await amplify.call('sockets')).map(({ close }) => close), [null], 'one socket, and it lives');
  } finally {
    await numbers?.stop().catch(() => {});
    await Promise.all([amplify.stop(), broker.stop()]);
  }
}

/** A subscription for each channel, ready; gives their names. */
async function followAll(amplify, endpoint, channels) {
  await amplify.call('configure', { endpoint, defaultAuthMode: 'apiKey', apiKey: 'anybody-is-welcome-here' });
  const names = [];
  for (const [at, channel] of channels.entries()) {
    const name = `${channel} (${at + 1})`;
    if (!channels.slice(0, at).includes(channel)) await amplify.call('connect', channel);
    await amplify.call('subscribe', channel, name);
    await amplify.call('ready', name);
    names.push(name);
  }
  return names;
}

/** Until each subscription has about everything: as many events as there are now. */
async function arrived(amplify, names, count) {
  const enough = count();
  for (const name of names) await until(`${enough} events at ${name}`, async () => (await amplify.call('count', name)) >= enough);
}

/** A subscription has all that was published, once the publishers have stopped. */
async function allThere(amplify, name, published, cuts) {
  const newest = (events, topic) => events.findLast((event) => event.topic === topic)?.n;
  let end = [];
  await until(
    () => `the last events at ${name}: ${[...published].map(([topic, times]) => `${topic} ${newest(end, topic)} of ${times.length}`)}`,
    async () => {
      assert.deepEqual(await amplify.call('errors', name), [], `what ended ${name}`);
      end = await amplify.call('received', name, -200);
      return [...published].every(([topic, times]) => newest(end, topic) === times.length);
    },
  );
  assertNothingMissed(await amplify.call('received', name), published, cuts);
}

/** What all of this is about: Amplify has subscribed again with the ids it had. */
async function assertSameIds(amplify, subscriptions, times) {
  const ids = (await framesSent(amplify, 'subscribe')).map(({ id }) => id);
  assert.equal(new Set(ids).size, subscriptions, 'the same ids');
  assert.equal(ids.length, subscriptions * times, 'each once a connection');
}

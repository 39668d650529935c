// Subscription ids are their client's own choice, so what one of them is owed must not be had by naming it.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { until } from '../browser/kit/until.js';
import { configuredBroker, makeKey, native } from './kit/broker.js';
import { rawClient } from './kit/raw.js';

let broker, ada, eve, backend;
before(async () => {
  const [first, second, third] = await Promise.all([
    makeKey('ada', '--subscribe', '/default/**'),
    makeKey('eve', '--subscribe', '/default/**'),
    makeKey('backend', '--publish', '/default/**'),
  ]);
  broker = await configuredBroker([first, second, third].map(({ table }) => table).join('\n'));
  [ada, eve, backend] = [first.key, second.key, native(broker.url, third.key)];
});
after(() => broker?.stop());

const say = (room, ...texts) => backend.publish(room, ...texts.map((text) => ({ type: 'event', data: text })));

/** Until the last event of a subscription is this one; all that it has. */
async function upTo(client, id, last) {
  await until(() => `${last} at ${id}, which has ${JSON.stringify(client.events(id))}`, () => client.events(id).at(-1) === last);
  return client.events(id);
}

test('another principal with the same subscription id is replayed nothing, and takes nothing away', async () => {
  const room = '/default/owed';
  const before = await rawClient(broker.url, ada);
  await before.subscribe('same-id', room);
  await say(room, 'seen');
  await upTo(before, 'same-id', 'seen');
  before.cut();
  await say(room, 'missed 1', 'missed 2');

  const other = await rawClient(broker.url, eve);
  await other.subscribe('same-id', room);
  await say(room, 'to all');
  assert.deepEqual(await upTo(other, 'same-id', 'to all'), ['to all']);
  await other.unsubscribe('same-id');
  other.cut();

  const again = await rawClient(broker.url, ada);
  await again.subscribe('same-id', room);
  await say(room, 'the end');
  const events = await upTo(again, 'same-id', 'the end');
  assert.deepEqual(events.filter((text) => text !== 'seen'), ['missed 1', 'missed 2', 'to all', 'the end']);
  assert.ok(!events.slice(1).includes('seen'), 'what may repeat comes first, once');
  again.cut();
});

test('another id, another channel, or an id that was unsubscribed is owed nothing', async () => {
  const room = '/default/own';
  const before = await rawClient(broker.url, ada);
  await before.subscribe('left', room);
  await before.subscribe('ended', room);
  await say(room, 'seen');
  await upTo(before, 'left', 'seen');
  await upTo(before, 'ended', 'seen');
  await before.unsubscribe('ended');
  before.cut();
  await say(room, 'missed');

  const again = await rawClient(broker.url, ada);
  await again.subscribe('new', room);
  await again.subscribe('ended', room);
  await again.subscribe('left', `${room}/*`);
  await say(room, 'the end');
  await say(`${room}/below`, 'the end below');
  assert.deepEqual(await upTo(again, 'new', 'the end'), ['the end']);
  assert.deepEqual(await upTo(again, 'ended', 'the end'), ['the end']);
  assert.deepEqual(await upTo(again, 'left', 'the end below'), ['the end below']);
  again.cut();
});

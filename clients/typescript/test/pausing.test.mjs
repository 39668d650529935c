// What a page decides about its reading: to pause and go on, to use other transports, and to know when the past is there.
import assert from 'node:assert/strict';
import test from 'node:test';
import { WebSocket } from 'ws';
import { connect } from '../dist/index.js';
import { Broker } from './kit/broker.mjs';
import { Proxy } from './kit/proxy.mjs';
import { until } from './kit/wait.mjs';

const TOPIC = '/chat/1';
const timeouts = { open: 1000, silence: 1500, wait: 1000 };
const started = { type: 'message.started', data: { message_id: 'm' } };
const delta = (text) => ({ type: 'token.delta', data: { message_id: 'm', text } });

/** A client over a proxy, with all that it says: `shown` is the text, `seqs` the events, `last()` the status. */
async function reading(t, transports, prepare = () => {}, more = {}) {
  const broker = await Broker.start(t);
  const proxy = await Proxy.start(t, broker.port);
  await prepare(broker, proxy);
  const statuses = [];
  const events = [];
  const tide = connect({ url: proxy.url, WebSocket, timeouts: { ...timeouts, ...more }, transports, onStatus: (status) => statuses.push(status) });
  t.after(() => tide.close());
  const messages = tide.messages(TOPIC, { coalesceMs: 0, onEvent: (event) => events.push(event) });
  return {
    broker, proxy, tide, messages, statuses, events,
    last: () => statuses.at(-1),
    /** As the broker counts them. */
    readers: async () => (await (await fetch(`${broker.url}/v1/topic?topic=${TOPIC}`)).json()).readers,
    text: () => messages.current[0]?.text,
    over: (transport) => until(`${transport} to be in use`, () => statuses.at(-1)?.state === 'connected' && statuses.at(-1).transport === transport),
  };
}

for (const transport of ['websocket', 'sse', 'poll']) {
  test(`a pause over ${transport}: no line, nothing comes, and then everything once`, async (t) => {
    const { broker, proxy, tide, messages, last, readers, text, events } = await reading(t, [transport]);
    await until('the beginning', () => messages.live);
    await broker.publish(TOPIC, started);
    await broker.publish(TOPIC, delta('one '));
    await until('some text', () => text() === 'one ');
    tide.pause();
    tide.pause();
    await until('the pause', () => last().state === 'paused');
    // who polls counts as a reader for a while
    if (transport !== 'poll') await until('the line to be gone', async () => (await readers()) === 0);
    const { position } = messages;
    const requests = proxy.requests.length;
    await broker.publish(TOPIC, delta('two '));
    await broker.publish(TOPIC, { type: 'tool.started', data: { call_id: 'c' } });
    tide.wake();
    // publishing goes on, and is over when the events before it have long been in the log
    await tide.steer(TOPIC, { text: 'three' });
    assert.deepEqual([text(), messages.position, messages.live, last().state], ['one ', position, false, 'paused']);
    assert.deepEqual(proxy.requests.slice(requests), ['POST /v1/publish']);
    tide.resume();
    await until('the rest', () => text() === 'one two ' && messages.live && events.length === 5);
    assert.deepEqual(events.map(({ seq, type }) => [seq, type]), [[1, 'message.started'], [2, 'token.delta'], [3, 'token.delta'], [4, 'tool.started'], [5, 'run.steer']]);
    assert.equal(messages.position, position.replace(/:2$/, ':5'));
  });
}

test('a line that is being opened when the pause begins brings nothing, and a client that is paused can be closed', async (t) => {
  for (const transport of ['websocket', 'sse']) {
    const { broker, proxy, tide, statuses, readers, events } = await reading(t, [transport], (_, proxy) => proxy.delay(100));
    await broker.publish(TOPIC, started);
    await until('a line', () => proxy.lines > 0);
    tide.pause();
    await until('the pause', () => statuses.at(-1).state === 'paused');
    await until('the line to be gone', async () => (await readers()) === 0);
    assert.deepEqual(statuses.map(({ state }) => state), ['connecting', 'paused']);
    assert.deepEqual(events, []);
    tide.close();
    await until('the end', () => statuses.at(-1).state === 'closed');
  }
});

test('a pause does not count as time in which nothing could be reached', async (t) => {
  const { proxy, tide, statuses, last, over } = await reading(t, ['websocket'], (_, proxy) => (proxy.down = true), { firstConnect: 2_000 });
  tide.pause();
  await until('the pause', () => last()?.state === 'paused');
  const begun = Date.now();
  await until('more than the patience of the first connection', () => Date.now() - begun > 2_100);
  tide.resume();
  await until('the first refusal', () => proxy.refused > 0 && last().state === 'waiting');
  proxy.down = false;
  await over('websocket');
  assert.ok(!statuses.some(({ state }) => state === 'closed'));
});

test('other transports are used at once, and the text goes on', async (t) => {
  const { broker, tide, text, over, events } = await reading(t, ['websocket', 'sse', 'poll']);
  await over('websocket');
  await broker.publish(TOPIC, started);
  let whole = '';
  for (const transports of [['sse', 'poll'], ['poll'], ['websocket'], ['sse'], ['websocket', 'sse']]) {
    await broker.publish(TOPIC, delta(`${transports} `));
    whole += `${transports} `;
    tide.use(transports);
    await over(transports[0]);
    await until('the text', () => text() === whole);
  }
  assert.deepEqual(events.map(({ seq }) => seq), [1, 2, 3, 4, 5, 6]);
  assert.throws(() => tide.use([]), { code: 'websocket_missing' });
});

test('where no WebSocket is wanted, polling goes back to streams when they come through', async (t) => {
  const { proxy, over } = await reading(t, ['sse', 'poll'], (_, proxy) => {
    proxy.upgrades = 'refuse';
    proxy.buffering = true;
  });
  await over('poll');
  proxy.buffering = false;
  await over('sse');
});

test('the past is there when `live` says so; loss and ends are told', async (t) => {
  const { broker, messages, events, last } = await reading(t, ['websocket'], async (broker) => {
    for (const event of [started, delta('all of it')]) await broker.publish(TOPIC, event);
    await broker.publish(TOPIC, { type: 'message.completed', data: { message_id: 'm', usage: { tokens: 3 } } });
  });
  assert.deepEqual([messages.live, messages.position], [false, undefined]);
  for await (const current of messages) {
    if (!messages.live) continue;
    assert.deepEqual([current[0].text, current[0].state, current[0].ended.usage], ['all of it', 'completed', { tokens: 3 }]);
    break;
  }
  await broker.kill();
  await until('the cut', () => last().state === 'waiting');
  assert.equal(messages.live, false);
  await broker.restart();
  await until('the new log', () => messages.live && events.at(-1).type === 'tidewire.reset');
  await until('what is gone to be gone', () => messages.current.length === 0);
});

test('`live` of a topic that is empty is told, too', async (t) => {
  const { messages } = await reading(t, ['sse']);
  for await (const current of messages) {
    assert.deepEqual([current.length, messages.live], [0, true]);
    break;
  }
});

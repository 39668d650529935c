// What a client does about tokens, wrong addresses, blocked transports, restarts, reloads and its own application.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { once } from 'node:events';
import test from 'node:test';
import { WebSocket } from 'ws';
import { connect, RetryableError, TerminalError } from '../dist/index.js';
import { answer, textOf } from './kit/answer.mjs';
import { Broker, folder, SECRET, token } from './kit/broker.mjs';
import { Proxy } from './kit/proxy.mjs';
import { until } from './kit/wait.mjs';

const TOPIC = '/chat/1';
const timeouts = { open: 1000, silence: 1500, wait: 1000 };
const delta = (text, id = 'm') => ({ type: 'token.delta', data: { message_id: id, text } });

function client(t, options) {
  const made = connect({ WebSocket, timeouts, ...options });
  t.after(() => made.close());
  return made;
}

/** A server that is no broker, or a very different one. */
async function serve(t, handle) {
  const server = createServer(handle).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => (server.close(), server.closeAllConnections()));
  return `http://127.0.0.1:${server.address().port}`;
}

/** The error that ends a subscription. */
async function ending(subscription) {
  try {
    for await (const _ of subscription);
  } catch (error) {
    return error;
  }
  throw new Error('it ended without an error');
}

test('without a WebSocket, reading goes over server-sent events', async (t) => {
  const broker = await Broker.start(t);
  const statuses = [];
  const tide = client(t, { url: broker.url, WebSocket: undefined, onStatus: (s) => statuses.push(s) });
  const own = globalThis.WebSocket === undefined ? 'sse' : 'websocket';
  await broker.publish(TOPIC, delta('hello'));
  for await (const event of tide.subscribe(TOPIC, { from: 'start' })) {
    assert.equal(event.data.text, 'hello');
    break;
  }
  assert.equal(statuses.find((s) => s.state === 'connected').transport, own);
});

for (const upgrades of ['swallow', 'refuse']) {
  test(`WebSockets that are blocked (${upgrades}): server-sent events, and upward again`, async (t) => {
    const broker = await Broker.start(t);
    const proxy = await Proxy.start(t, broker.port);
    proxy.upgrades = upgrades;
    const statuses = [];
    const tide = client(t, { url: proxy.url, onStatus: (s) => statuses.push(s) });
    const messages = tide.messages(TOPIC);
    const connected = () => statuses.filter((s) => s.state === 'connected').map((s) => s.transport);
    await until('a connection', () => connected().length > 0);
    assert.deepEqual(connected(), ['sse']);
    await broker.publish(TOPIC, delta('one '));
    await until('the first word', () => messages.current[0]?.text === 'one ');
    proxy.upgrades = 'pass';
    await until('the WebSocket', () => connected().at(-1) === 'websocket', 30_000);
    await broker.publish(TOPIC, delta('two'));
    await until('the second word', () => messages.current[0]?.text === 'one two');
  });
}

test('streams that are held back: long polling', async (t) => {
  const broker = await Broker.start(t);
  const proxy = await Proxy.start(t, broker.port);
  proxy.upgrades = 'refuse';
  proxy.buffering = true;
  const statuses = [];
  const tide = client(t, { url: proxy.url, onStatus: (s) => statuses.push(s) });
  const messages = tide.messages(TOPIC);
  await until('a connection', () => statuses.some((s) => s.state === 'connected'));
  assert.equal(statuses.find((s) => s.state === 'connected').transport, 'poll');
  await answer(broker, TOPIC, 'm', { count: 200, rate: 400 });
  await until('the end', () => messages.current[0]?.state === 'completed');
  assert.equal(messages.current[0].text, textOf(200));
});

test('several topics on one stream: born later, each with its own position', async (t) => {
  const broker = await Broker.start(t);
  const proxy = await Proxy.start(t, broker.port);
  for (const transport of ['websocket', 'sse', 'poll']) {
    const topics = [1, 2, 3].map((n) => `/${transport}/${n}`);
    const statuses = [];
    const tide = client(t, { url: proxy.url, transports: [transport], onStatus: (s) => statuses.push(s) });
    await broker.publish(topics[0], delta('before'));
    const events = [];
    const subscription = tide.subscribe(topics, { from: 'start', coalesceMs: 0, onEvent: (e) => events.push(e) });
    await until(`the first topic over ${transport}`, () => events.length === 1).catch((error) => assert.fail(`${error.message}: ${JSON.stringify([events, statuses, proxy.requests.slice(-5)])}`));
    for (let n = 0; n < 30; n += 1) {
      for (const topic of topics) await broker.publish(topic, delta(`${n} `), { type: 'a.b', data: n });
      if (n % 10 === 5) proxy.cut();
    }
    await until('all', () => events.length >= 181);
    for (const [at, topic] of topics.entries()) {
      const seqs = events.filter((e) => e.topic === topic).map((e) => e.seq);
      assert.deepEqual(seqs, Array.from({ length: at === 0 ? 61 : 60 }, (_, n) => n + 1), `${topic}`);
      assert.match(subscription.positions[topic], /^(?!00000000:).*:6[01]$/);
    }
    assert.equal(events.filter((e) => e.type.startsWith('tidewire.')).length, 0, 'nothing was lost or reset');
    tide.close();
  }
});

test('the broker restarts on the disk engine: the same answer goes on', async (t) => {
  const broker = await Broker.start(t, { args: ['--engine', 'disk', '--data-dir', folder(t)] });
  const tide = client(t, { url: broker.url });
  const messages = tide.messages(TOPIC);
  const events = [];
  tide.subscribe(TOPIC, { from: 'start', coalesceMs: 0, onEvent: (event) => events.push(event) });
  await broker.publish(TOPIC, delta('one '));
  await until('the first word', () => messages.current[0]?.text === 'one ' && events.length === 1);
  await broker.restart();
  await broker.publish(TOPIC, delta('two'), { type: 'message.completed', data: { message_id: 'm' } });
  await until('the end', () => messages.current[0]?.state === 'completed' && events.length >= 3);
  assert.equal(messages.current[0].text, 'one two');
  assert.deepEqual(events.map((event) => event.seq), [1, 2, 3]);
});

test('the broker restarts and forgets: a reset that the application can see', async (t) => {
  const broker = await Broker.start(t);
  const tide = client(t, { url: broker.url });
  const events = [];
  tide.subscribe(TOPIC, { from: 'start', onEvent: (event) => events.push(event) });
  await broker.publish(TOPIC, delta('one'));
  await until('the first word', () => events.length === 1);
  await broker.restart();
  await broker.publish(TOPIC, delta('two', 'n'));
  await until('the second', () => events.length >= 3);
  assert.deepEqual(events[1].type, 'tidewire.reset');
  assert.equal(events[1].reason, 'epoch');
});

test('a page that is loaded again goes on: no event twice, open messages whole', async (t) => {
  const broker = await Broker.start(t);
  const held = new Map();
  const storage = { getItem: (key) => held.get(key) ?? null, setItem: (key, value) => held.set(key, value) };
  const types = [];
  const first = client(t, { url: broker.url, storage });
  first.subscribe(TOPIC, { from: 'start', onEvent: (event) => types.push(event.type) });
  await broker.publish(TOPIC, { type: 'a.b', data: 1 }, delta('one '));
  await until('both', () => types.length === 2);
  first.close();
  await broker.publish(TOPIC, { type: 'a.c', data: 2 }, delta('two '));
  const events = [];
  const second = client(t, { url: broker.url, storage });
  second.subscribe(TOPIC, { from: 'start', onEvent: (event) => events.push(event) });
  await until('the rest', () => events.length >= 2);
  assert.deepEqual(events.map((event) => event.type), ['a.c', 'message.snapshot']);
  assert.equal(events[1].data.parts[0].text, 'one two ');
});

test('a token that ends: another one is fetched, and nothing is lost', async (t) => {
  for (const transport of ['websocket', 'sse', 'poll']) {
    // the leeway for clocks would let an ended token live on for half a minute
    const broker = await Broker.start(t, { args: ['--auth-leeway', '0s'], env: { TIDEWIRE_AUTH_SECRET: SECRET } });
    broker.token = await token('--publish', '/**');
    let fetched = 0;
    const getToken = () => {
      fetched += 1;
      return token('--subscribe', '/**', '--expires-in', '2s');
    };
    const tide = client(t, { url: broker.url, transports: [transport], getToken });
    const messages = tide.messages(TOPIC);
    const text = await answer(broker, TOPIC, 'm', { count: 500, rate: 100 });
    await until('the end', () => messages.current[0]?.state === 'completed');
    assert.equal(messages.current[0].text, text);
    assert.ok(fetched >= 3 && fetched < 30, `fetched ${fetched} tokens`);
    tide.close();
  }
});

test('a wrong token ends in one typed error, on every transport', async (t) => {
  const broker = await Broker.start(t, { env: { TIDEWIRE_AUTH_SECRET: SECRET } });
  for (const transport of ['websocket', 'sse', 'poll']) {
    const tide = client(t, { url: broker.url, transports: [transport], token: 'no.token.atall' });
    const error = await ending(tide.subscribe(TOPIC));
    assert.ok(error instanceof TerminalError, String(error));
    assert.equal(error.code, 'unauthenticated');
    await assert.rejects(tide.publish(TOPIC, delta('x')), { code: 'unauthenticated' });
    const stubborn = client(t, { url: broker.url, transports: [transport], getToken: () => 'no.token.atall' });
    assert.equal((await ending(stubborn.subscribe(TOPIC))).code, 'token_refused');
  }
});

test('a topic that the token does not cover ends alone', async (t) => {
  const broker = await Broker.start(t, { env: { TIDEWIRE_AUTH_SECRET: SECRET } });
  broker.token = await token('--publish', '/**');
  for (const transport of ['websocket', 'sse', 'poll']) {
    const tide = client(t, { url: broker.url, transports: [transport], token: await token('--subscribe', '/chat/*') });
    const events = [];
    tide.subscribe([`/chat/${transport}`, '/secret/1'], { from: 'start', onEvent: (event) => events.push(event) });
    await until('the refusal', () => events.some((e) => e.type === 'tidewire.ended' && e.topic === '/secret/1'));
    await broker.publish(`/chat/${transport}`, delta('x'));
    await until('the other topic', () => events.some((e) => e.type === 'token.delta'));
    assert.equal((await ending(tide.subscribe('/secret/1'))).code, 'forbidden');
  }
});

test('the HTML of a captive portal, and other servers: one typed error that says what to do', async (t) => {
  const portal = await serve(t, (_, response) => {
    response.writeHead(200, { 'content-type': 'text/html' }).end('<html><title>Log in</title></html>');
  });
  const elsewhere = await serve(t, (_, response) => response.writeHead(404).end('not here'));
  const newer = await serve(t, (_, response) => {
    const body = JSON.stringify({ title: 'No such resource', status: 404, code: 'not_found', detail: 'the calls stand under /v2' });
    response.writeHead(404, { 'content-type': 'application/problem+json' }).end(body);
  });
  for (const [url, code] of [[portal, 'not_tidewire'], [elsewhere, 'not_tidewire'], [newer, 'unsupported_version']]) {
    for (const transports of [undefined, ['sse'], ['poll']]) {
      const tide = client(t, { url, transports });
      const error = await ending(tide.subscribe(TOPIC));
      assert.ok(error instanceof TerminalError, String(error));
      assert.equal(error.code, code);
      await assert.rejects(tide.publish(TOPIC, delta('x')), { code });
    }
  }
});

test('nobody at the address: retried for a while, then one error that says so', async (t) => {
  const statuses = [];
  const tide = client(t, { url: 'http://127.0.0.1:9', timeouts: { ...timeouts, firstConnect: 700 }, onStatus: (s) => statuses.push(s) });
  const error = await ending(tide.subscribe(TOPIC));
  assert.ok(error instanceof RetryableError);
  assert.equal(error.code, 'unreachable');
  assert.ok(statuses.filter((s) => s.state === 'waiting').length >= 1, 'it was not silent');
  for (const url of ['', 'chat.example.com', 'ftp://x', 'http://a:b@x', 'http://x?y']) {
    assert.throws(() => connect({ url }), { code: 'invalid_url' }, url);
  }
  assert.throws(() => tide.subscribe('chat'), { code: 'invalid_topic' });
});

test('a callback that throws does not kill the connection', async (t) => {
  const broker = await Broker.start(t);
  const tide = client(t, { url: broker.url });
  const reported = t.mock.method(console, 'error', () => {});
  let calls = 0;
  tide.subscribe(TOPIC, {
    from: 'start',
    onEvent() {
      calls += 1;
      throw new Error('mine');
    },
  });
  const messages = tide.messages(TOPIC, { onChange: () => { throw new Error('mine too'); } });
  await broker.publish(TOPIC, delta('a'));
  await until('the first', () => calls === 1 && messages.current.length === 1);
  await broker.publish(TOPIC, delta('b'));
  await until('the second', () => calls === 2 && messages.current[0].text === 'ab');
  assert.ok(reported.mock.callCount() >= 4);
});

test('an iterator that is not asked costs bounded memory, and loses nothing', async (t) => {
  const broker = await Broker.start(t, { args: ['--defaults-retention-events', '100000'] });
  const tide = client(t, { url: broker.url });
  const subscription = tide.subscribe(TOPIC, { from: 'start', coalesceMs: 0 });
  const iterator = subscription[Symbol.asyncIterator]();
  const total = 30_000;
  for (let n = 0; n < total; n += 1000) {
    await broker.publish(TOPIC, ...Array.from({ length: 1000 }, (_, i) => ({ type: 'a.b', data: n + i })));
  }
  for (let n = 0; n < total; n += 1) {
    const { value } = await iterator.next();
    assert.equal(value.data, n);
    if (n === 0) {
      // while nothing is taken the topic is left, and nobody reads it
      await until('the topic is left', async () => (await (await fetch(`${broker.url}/v1/topic?topic=${TOPIC}`)).json()).readers === 0);
    }
  }
  await iterator.return();
});

test('what a page says to an agent is published once, and reaches it', async (t) => {
  const broker = await Broker.start(t);
  const proxy = await Proxy.start(t, broker.port);
  const tide = client(t, { url: proxy.url });
  proxy.down = true;
  const cancelled = tide.cancel(TOPIC, 'm');
  await until('the first attempt', () => proxy.refused > 0);
  proxy.down = false;
  assert.deepEqual(await cancelled.then(({ first_seq, duplicate }) => [first_seq, duplicate]), [1, false]);
  await tide.steer(TOPIC, { text: 'shorter' });
  await tide.approve(TOPIC, { call_id: 'c' });
  const page = await (await fetch(`${broker.url}/v1/events?topic=${TOPIC}`)).json();
  assert.deepEqual(page.events.map((event) => event.type), ['run.cancel', 'run.steer', 'run.approve']);
  assert.equal(page.events[0].data.message_id, 'm');
});

test('a line that slept is found dead at once when the page wakes', async (t) => {
  const broker = await Broker.start(t);
  const proxy = await Proxy.start(t, broker.port);
  const statuses = [];
  const tide = client(t, { url: proxy.url, onStatus: (s) => statuses.push(s) });
  const messages = tide.messages(TOPIC);
  await until('a connection', () => statuses.some((s) => s.state === 'connected'));
  proxy.stall();
  await broker.publish(TOPIC, delta('late'));
  tide.wake();
  await until('the word', () => messages.current[0]?.text === 'late', 9_000);
});

// An agent: what it published is there once, whole, in order, whatever the network and the broker did meanwhile.
import assert from 'node:assert/strict';
import test from 'node:test';
import { WebSocket } from 'ws';
import { connectAgent, TerminalError } from '../dist/agent.js';
import { connect } from '../dist/index.js';
import { textOf, word } from './kit/answer.mjs';
import { Broker, folder, SECRET, token } from './kit/broker.mjs';
import { Proxy } from './kit/proxy.mjs';
import { until } from './kit/wait.mjs';

const TOPIC = '/chat/1';
const timeouts = { open: 1500 };

function agent(t, options) {
  const made = connectAgent({ WebSocket, timeouts, producer: 'finance', ...options });
  t.after(() => made.close().catch(() => {}));
  return made;
}

async function history(broker, topic = TOPIC, replay = 'raw') {
  const events = [];
  for (let from = 'start'; ; ) {
    const page = await (await fetch(`${broker.url}/v1/events?topic=${topic}&limit=1000&from=${from}&replay=${replay}`)).json();
    events.push(...page.events);
    if (!page.more) return events;
    from = page.position;
  }
}

const texts = (events, id) =>
  events.filter((e) => e.type === 'token.delta' && e.data.message_id === id).map((e) => e.data.text).join('');

for (const [name, harm] of Object.entries({ cut: (p) => p.cut(), reset: (p) => p.reset(), stall: (p) => p.stall() })) {
  test(`${name}: 1,000 tokens at 200 a second are in the log once, in order`, async (t) => {
    const broker = await Broker.start(t, { args: ['--limits-ping-interval', '400ms'] });
    const proxy = await Proxy.start(t, broker.port);
    const finance = agent(t, { url: proxy.url });
    const message = await finance.message(TOPIC, { id: 'm', role: 'assistant' });
    const begun = performance.now();
    for (let n = 0; n < 1000; n += 1) {
      await message.delta(word(n));
      if ([200, 450, 700].includes(n)) harm(proxy);
      const wait = begun + n * 5 - performance.now();
      if (wait > 1) await new Promise((resolve) => setTimeout(resolve, wait));
    }
    await message.complete({ finish_reason: 'stop' });
    await finance.flush();
    const events = await history(broker);
    assert.equal(texts(events, 'm'), textOf(1000));
    assert.equal(events.at(0).type, 'message.started');
    assert.equal(events.at(-1).type, 'message.completed');
    assert.equal(events.at(-1).source, 'finance');
  });
}

test('the broker restarts on the disk engine: several topics go on, each whole', async (t) => {
  const broker = await Broker.start(t, { args: ['--engine', 'disk', '--data-dir', folder(t)] });
  const finance = agent(t, { url: broker.url });
  const topics = ['/chat/1', '/chat/2'];
  const messages = await Promise.all(topics.map((topic) => finance.message(topic, { id: 'm' })));
  for (let n = 0; n < 300; n += 1) {
    for (const message of messages) await message.delta(word(n));
    if (n === 100) await broker.restart();
    if (n % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  }
  for (const message of messages) await message.complete();
  await finance.flush();
  for (const topic of topics) assert.equal(texts(await history(broker, topic), 'm'), textOf(300));
});

test('the broker forgets (memory engine): what it had of open messages is told again', async (t) => {
  const broker = await Broker.start(t);
  const losses = [];
  const finance = agent(t, { url: broker.url, onLoss: (topic, loss) => losses.push([topic, loss.kind]) });
  const message = await finance.message(TOPIC, { id: 'm' });
  await message.delta('one ');
  await finance.flush();
  await broker.restart();
  await message.delta('two');
  await message.complete();
  await finance.flush();
  const events = await history(broker, TOPIC, 'compact');
  assert.equal(events.at(-1).parts[0].text, 'one two');
  assert.deepEqual(losses, [[TOPIC, 'forgotten']]);
});

test('a newer run replaces this one, and it stops', async (t) => {
  const broker = await Broker.start(t);
  const old = agent(t, { url: broker.url });
  const message = await old.message(TOPIC, { id: 'm' });
  await old.flush();
  const next = agent(t, { url: broker.url });
  await next.ready();
  assert.ok(next.epoch > old.epoch);
  await until('the old one is told', () => message.error);
  await assert.rejects(message.delta('x'), (error) => error instanceof TerminalError && error.code === 'producer_fenced');
  assert.ok(message.signal.aborted);
  assert.equal((await history(broker)).at(-1).data.reason, 'replaced');
});

test('a cancel reaches the message that is meant, once, through a cut', async (t) => {
  const broker = await Broker.start(t);
  const proxy = await Proxy.start(t, broker.port);
  const commands = [];
  const finance = agent(t, { url: proxy.url, onCommand: (command) => void commands.push(command.type) });
  let cancelled = 0;
  const one = await finance.message(TOPIC, { id: 'one', onCancel: () => (cancelled += 1) });
  const two = await finance.message(TOPIC, { id: 'two' });
  await finance.flush();
  const page = connect({ url: broker.url, WebSocket });
  t.after(() => page.close());
  await page.cancel(TOPIC, 'one');
  await page.steer(TOPIC, { text: 'shorter' });
  await until('both', () => commands.length === 2);
  proxy.cut();
  await page.approve(TOPIC, { call_id: 'c' });
  await until('the third', () => commands.length === 3);
  assert.deepEqual(commands, ['run.cancel', 'run.steer', 'run.approve']);
  assert.deepEqual([cancelled, one.signal.aborted, two.signal.aborted], [1, true, false]);
  await one.interrupt('cancelled');
  await two.complete();
  await finance.close();
  const events = await history(broker);
  assert.equal(events.find((e) => e.type === 'message.interrupted').data.reason, 'cancelled');
});

test('readers of a topic are told', async (t) => {
  const broker = await Broker.start(t);
  const finance = agent(t, { url: broker.url });
  finance.listen(TOPIC);
  await finance.ready();
  const page = connect({ url: broker.url, WebSocket });
  t.after(() => page.close());
  page.messages(TOPIC);
  await until('the reader', () => finance.readers(TOPIC) === 1);
});

test('a full buffer: who awaits waits, who asks is told, and nothing is dropped', async (t) => {
  const broker = await Broker.start(t);
  const proxy = await Proxy.start(t, broker.port);
  const finance = agent(t, { url: proxy.url, bounds: { events: 10, bytes: 1 << 20 } });
  await finance.ready();
  proxy.down = true;
  proxy.cut();
  await until('the line is down', () => proxy.lines === 0);
  const events = Array.from({ length: 40 }, (_, n) => ({ type: 'a.b', data: n }));
  const taken = events.slice(0, 15).filter((event) => finance.tryPublish(TOPIC, event));
  assert.equal(taken.length, 10);
  let through = 0;
  const waiting = events.slice(10).map((event) => finance.publish(TOPIC, event).then(() => (through += 1)));
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(through, 0, 'they wait');
  proxy.down = false;
  await Promise.all(waiting);
  await finance.flush();
  assert.deepEqual((await history(broker)).map((event) => event.data), events.map((event) => event.data));
});

test('what can never be published is told, and the rest goes on', async (t) => {
  const broker = await Broker.start(t);
  const refused = [];
  const finance = agent(t, { url: broker.url, onRefused: (error, topic, events) => refused.push([error.code, events.length]) });
  await finance.publish(TOPIC, { type: 'a.b', data: 1 });
  await finance.publish(TOPIC, { type: 'tidewire.mine', data: 2 });
  await finance.publish(TOPIC, { type: 'a.b', data: 3 });
  await finance.flush();
  assert.deepEqual((await history(broker)).map((event) => event.data), [1, 3]);
  assert.deepEqual(refused, [['reserved_type', 1]]);
  const message = await finance.message(TOPIC, { id: 'm' });
  const other = await finance.message(TOPIC, { id: 'n' });
  await message.complete();
  await finance.flush();
  const again = message.delta('too late').then(() => finance.flush());
  await other.delta('in time');
  await again;
  assert.deepEqual(refused.at(-1), ['message_ended', 1]);
  assert.equal(texts(await history(broker), 'n'), 'in time');
  // without a handler nobody was told, so `flush` says it
  const quiet = agent(t, { url: broker.url, producer: 'quiet' });
  await quiet.publish(TOPIC, { type: 'tidewire.mine', data: 2 });
  await assert.rejects(quiet.flush(), { code: 'reserved_type' });
});

test('a token that ends is renewed on the connection', async (t) => {
  const broker = await Broker.start(t, { args: ['--auth-leeway', '0s'], env: { TIDEWIRE_AUTH_SECRET: SECRET } });
  const finance = agent(t, { url: broker.url, getToken: () => token('--publish', '/**', '--expires-in', '2s') });
  const message = await finance.message(TOPIC, { id: 'm' });
  for (let n = 0; n < 350; n += 1) {
    await message.delta(word(n));
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  await message.complete();
  await finance.flush();
  broker.token = await token('--subscribe', '/**');
  const page = await (await fetch(`${broker.url}/v1/events?topic=${TOPIC}&from=start&limit=1000`, { headers: { authorization: `Bearer ${broker.token}` } })).json();
  assert.equal(texts(page.events, 'm'), textOf(350));
  const wrong = agent(t, { url: broker.url, token: 'no.token.atall' });
  await assert.rejects(wrong.ready(), { code: 'unauthenticated' });
});

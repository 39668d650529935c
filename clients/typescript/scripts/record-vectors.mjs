// Records conversations with a real broker into schema/vectors/reading/: the frames are the broker's, what is expected
// of a client stands in the scenarios below. Run it again when the wire changes:
//
//   BROKER_BIN=… node scripts/record-vectors.mjs
import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { once } from 'node:events';
import path from 'node:path';
import { WebSocket } from 'ws';
import { Broker } from '../test/kit/broker.mjs';

const target = fileURLToPath(new URL('../../../schema/vectors/reading/', import.meta.url));
mkdirSync(target, { recursive: true });
const cleanups = [];
const keeper = { after: (work) => cleanups.push(work) };

const delta = (text, more = {}) => ({ type: 'token.delta', data: { message_id: 'm', text, ...more } });
const done = (id = 'm', more = {}) => ({ type: 'message.completed', data: { message_id: id, finish_reason: 'stop', ...more } });

class Recording {
  steps = [];
  positions = {};

  constructor(broker, options = {}) {
    this.broker = broker;
    this.options = options;
  }

  /** Connects and subscribes; `from` is the one that a client must ask for. */
  async subscribe(from) {
    this.steps.push({ subscribe: from });
    this.positions = {};
    this.socket = new WebSocket(`${this.broker.url.replace('http', 'ws')}/v1/ws`, ['tidewire.v1.json']);
    this.frames = [];
    this.socket.on('message', (data) => this.#take(JSON.parse(data)));
    await once(this.socket, 'open');
    const topics = Object.entries(from).map(([topic, at]) => ({ topic, from: at }));
    this.socket.send(JSON.stringify({ op: 'subscribe', id: 1, topics, ...this.options }));
  }

  #take(frame) {
    if (frame.op === 'welcome') return;
    delete frame.id;
    this.frames.push(frame);
    this.steps.push({ in: frame });
    if (frame.op === 'events') this.positions[frame.topic] = `${frame.epoch}:${frame.upto}${frame.partial ? '~' : ''}`;
    if (frame.op === 'reset') this.positions[frame.topic] = `${frame.epoch}:0~`;
    if (frame.op === 'subscribed') this.positions[frame.topic] = frame.position;
  }

  /** Until the topic stands at this seq, whole. */
  async at(seq, topic = '/chat/1') {
    const end = Date.now() + 5000;
    while (!this.positions[topic]?.endsWith(`:${seq}`)) {
      if (Date.now() > end) throw new Error(`never at ${seq}: ${JSON.stringify(this.positions)}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  async cut() {
    this.socket.terminate();
    await once(this.socket, 'close');
    this.steps.push({ cut: true });
  }

  expect(messages, told = [], topic = '/chat/1') {
    this.steps.push({ expect: { positions: { [topic]: this.positions[topic] }, messages: { [topic]: messages }, told } });
  }
}

const open = (text) => ({ id: 'm', state: 'open', text });
const completed = (text) => ({ id: 'm', state: 'completed', text, finish_reason: 'stop' });

async function record(name, about, begin, scenario, { args = [], options } = {}) {
  const broker = await Broker.start(keeper, { args });
  const recording = new Recording(broker, options);
  await scenario(recording, broker);
  recording.socket.terminate();
  await broker.kill();
  const topics = { '/chat/1': begin };
  const steps = recording.steps.map((step) => `    ${JSON.stringify(step)}`).join(',\n');
  const text = `{\n  "about": ${JSON.stringify(about)},\n  "topics": ${JSON.stringify(topics)},\n  "steps": [\n${steps}\n  ]\n}\n`;
  writeFileSync(path.join(target, `${name.replaceAll('-', '_')}.json`), text);
  console.log(name, recording.steps.length);
}
const T = '/chat/1';

await record('recorded_snapshot', 'Who comes in the middle of a message gets it as one snapshot, then what follows.', 'snapshot', async (r, b) => {
  await b.publish(T, { type: 'message.started', data: { message_id: 'm', role: 'assistant' } }, delta('Hel'), delta('lo'));
  await r.subscribe({ [T]: 'snapshot' });
  await r.at(3);
  r.expect([open('Hello')]);
  await b.publish(T, delta(', wörld'));
  await r.at(4);
  r.expect([open('Hello, wörld')]);
  await b.publish(T, done());
  await r.at(5);
  r.expect([completed('Hello, wörld')]);
});

await record('recorded_merge', 'Deltas that gathered come as one: its position is that of the last.', 'live', async (r, b) => {
  await r.subscribe({ [T]: 'live' });
  await new Promise((resolve) => setTimeout(resolve, 50));
  for (const text of ['a', 'b', 'c', 'd', 'e']) await b.publish(T, delta(text));
  await r.at(5);
  r.expect([open('abcde')]);
  await b.publish(T, delta('f'), done());
  await r.at(7);
  r.expect([completed('abcdef')]);
}, { options: { coalesce_ms: 100 } });

await record('recorded_parts', 'Several texts of one message stand apart, in order of first appearance; the whole answer replaces kind text.', 'start', async (r, b) => {
  await b.publish(T, delta('hm', { kind: 'reasoning' }), delta('dra'), delta('{"q":', { kind: 'tool_input', part: 1 }), delta('ft'), delta('1}', { kind: 'tool_input', part: 1 }));
  await r.subscribe({ [T]: 'start' });
  await r.at(5);
  const parts = [{ part: 0, kind: 'reasoning', text: 'hm' }, { part: 0, kind: 'text', text: 'draft' }, { part: 1, kind: 'tool_input', text: '{"q":1}' }];
  r.expect([{ ...open('draft'), parts }]);
  await b.publish(T, done('m', { text: 'final' }));
  await r.at(6);
  r.expect([{ ...completed('final'), parts: parts.map((p) => (p.kind === 'text' ? { ...p, text: 'final' } : p)) }]);
});

await record('recorded_compact-end', 'A message that ended comes as its end event alone, with its text; an interrupted one with its reason.', 'last:4', async (r, b) => {
  await b.publish(T, { type: 'message.started', data: { message_id: 'm', role: 'assistant' } }, delta('whole '), delta('answer'), done());
  await b.publish(T, { type: 'token.delta', data: { message_id: 'n', text: 'half' } }, { type: 'message.interrupted', data: { message_id: 'n', reason: 'cancelled' } });
  await b.publish(T, { type: 'token.delta', data: { message_id: 'o', text: 'open' } });
  await r.subscribe({ [T]: 'last:4' });
  await r.at(7);
  r.expect([completed('whole answer'), { id: 'n', state: 'interrupted', text: 'half', reason: 'cancelled' }, { id: 'o', state: 'open', text: 'open' }]);
});

await record('recorded_resume', 'A cut line goes on where it was: nothing twice, nothing missing.', 'start', async (r, b) => {
  await b.publish(T, delta('one '));
  await r.subscribe({ [T]: 'start' });
  await r.at(1);
  await r.cut();
  await b.publish(T, delta('two '), { type: 'a.b', data: { n: 1 } });
  await r.subscribe({ [T]: r.positions[T] });
  await r.at(3);
  r.expect([open('one two ')]);
  await r.cut();
  await b.publish(T, delta('three'), done());
  await r.subscribe({ [T]: r.positions[T] });
  await r.at(5);
  r.expect([completed('one two three')]);
});

await record('recorded_reload', 'A page that kept its position and not the text asks for it as partial, and gets open messages whole.', 'snapshot', async (r, b) => {
  await r.subscribe({ [T]: 'snapshot' });
  await b.publish(T, delta('one '));
  await r.at(1);
  await r.cut();
  r.steps.push({ reload: true });
  await b.publish(T, delta('two'));
  await r.subscribe({ [T]: `${r.positions[T]}~` });
  await r.at(2);
  r.expect([open('one two')]);
});

await record('recorded_birth', 'A topic that does not exist is read; its first events bring its epoch without a reset.', 'snapshot', async (r, b) => {
  await r.subscribe({ [T]: 'snapshot' });
  await b.publish(T, delta('born'));
  await r.at(1);
  r.expect([open('born')]);
  await r.cut();
  await r.subscribe({ [T]: r.positions[T] });
  await b.publish(T, done());
  await r.at(2);
  r.expect([completed('born')]);
});

await record('recorded_gap', 'Events that retention took while the line was cut are told; what ended among them is lost, what is open comes whole.', 'start', async (r, b) => {
  await b.publish(T, delta('ends unseen'), { type: 'token.delta', data: { message_id: 'n', text: 'stays ' } });
  await r.subscribe({ [T]: 'start' });
  await r.at(2);
  const at = r.positions[T];
  await r.cut();
  await b.publish(T, done());
  for (let n = 0; n < 8; n += 1) await b.publish(T, { type: 'token.delta', data: { message_id: 'n', text: `${n}` } });
  await r.subscribe({ [T]: at });
  await r.at(11);
  const gap = r.frames.find((frame) => frame.op === 'gap');
  r.expect([{ id: 'm', state: 'lost', text: 'ends unseen' }, { id: 'n', state: 'open', text: 'stays 01234567' }], [{ gap: { topic: T, from: gap.from, to: gap.to, reason: gap.reason } }]);
}, { args: ['--limits-max-batch-events', '2', '--defaults-retention-events', '4'] });

await record('recorded_reset', 'The topic is erased while it is read: all of it is forgotten, and its next life is read from the start.', 'start', async (r, b) => {
  await b.publish(T, delta('old'));
  await r.subscribe({ [T]: 'start' });
  await r.at(1);
  r.expect([open('old')]);
  await fetch(`${b.url}/v1/topic?topic=${T}`, { method: 'DELETE' });
  await b.publish(T, { type: 'token.delta', data: { message_id: 'n', text: 'new' } });
  const end = Date.now() + 5000;
  while (!r.frames.some((frame) => frame.op === 'reset') || !r.positions[T].endsWith(':1')) {
    if (Date.now() > end) throw new Error('no reset');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  r.expect([{ id: 'n', state: 'open', text: 'new' }], [{ reset: { topic: T, reason: 'deleted' } }]);
});

await record('recorded_epoch', 'The broker restarted and forgot: the old position is of another life, so a reset comes first.', 'start', async (r, b) => {
  await b.publish(T, delta('old'));
  await r.subscribe({ [T]: 'start' });
  await r.at(1);
  const at = r.positions[T];
  await r.cut();
  await b.restart();
  await b.publish(T, delta('new', { message_id: 'n' }));
  await r.subscribe({ [T]: at });
  await r.at(1);
  r.expect([{ id: 'n', state: 'open', text: 'new' }], [{ reset: { topic: T, reason: 'epoch' } }]);
});

await record('recorded_ended-while-away', 'A message that ended while the line was cut comes as what was missed, and ends once.', 'start', async (r, b) => {
  await b.publish(T, delta('a'));
  await r.subscribe({ [T]: 'start' });
  await r.at(1);
  await r.cut();
  await b.publish(T, delta('b'), { type: 'message.interrupted', data: { message_id: 'm', reason: 'error' } }, { type: 'token.delta', data: { message_id: 'n', text: 'next' } });
  await r.subscribe({ [T]: r.positions[T] });
  await r.at(4);
  r.expect([{ id: 'm', state: 'interrupted', text: 'ab', reason: 'error' }, { id: 'n', state: 'open', text: 'next' }]);
});
for (const work of cleanups) await work();

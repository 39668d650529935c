// The recorded conversations of schema/vectors/, which the Rust and Python clients run too. Reading runs through the
// whole client (only the socket is scripted), publishing through the window, endings through their table.
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import path from 'node:path';
import test from 'node:test';
import { closed } from '../dist/endings.js';
import { RetryableError } from '../dist/errors.js';
import { connect } from '../dist/index.js';
import { refused } from '../dist/refusals.js';
import { Window } from '../dist/window.js';
import { Scripted } from './kit/scripted.mjs';

const root = process.env.VECTORS ?? fileURLToPath(new URL('../../../schema/vectors', import.meta.url));

function vectors(kind) {
  const folder = path.join(root, kind);
  const files = existsSync(folder) ? readdirSync(folder).filter((file) => file.endsWith('.json')).sort() : [];
  return files.map((file) => [file, JSON.parse(readFileSync(path.join(folder, file), 'utf8'))]);
}

/** Lets promises settle without the clock. */
const settle = async () => {
  for (let n = 0; n < 20; n += 1) await Promise.resolve();
};

/** Time passes until `reached`; at most two minutes of it. */
async function pass(t, what, reached) {
  for (let ms = 0; ms < 120_000; ms += 50) {
    await settle();
    if (reached()) return;
    t.mock.timers.tick(50);
  }
  assert.fail(`never: ${what}`);
}

/** `expected` with what it names only. */
function picked(actual, expected) {
  return Object.fromEntries(Object.keys(expected).map((key) => [key, actual?.[key]]));
}

class Reader {
  told = [];

  constructor(vector, storage) {
    const { topics } = vector;
    this.names = Object.keys(topics);
    Scripted.sockets = [];
    const options = { url: 'http://broker.test', WebSocket: Scripted, transports: ['websocket'] };
    // one client for the events, one for the text: each has a line of its own, and both hear the same
    this.reading = connect({ ...options, storage });
    this.showing = connect({ ...options, storage });
    this.subscription = this.reading.subscribe(this.names, {
      from: topics,
      onEvent: (event) => this.told.push(event),
      onError: (error) => this.told.push({ type: 'tidewire.ended', code: error.code }),
    });
    this.messages = new Map(this.names.map((name) => [name, this.showing.messages(name, { from: topics[name] })]));
  }

  close() {
    this.reading.close();
    this.showing.close();
  }
}

/** What the events client asked for on its present line. */
function asked() {
  const [first] = Scripted.alive();
  const frame = first?.sent.findLast((sent) => sent.op === 'subscribe');
  return frame && Object.fromEntries(frame.topics.map(({ topic, from }) => [topic, from]));
}

const lines = (count) => () => Scripted.alive().filter((s) => s.sent.some((sent) => sent.op === 'subscribe')).length === count;

const toldAs = {
  'tidewire.gap': (event) => ({ gap: event }),
  'tidewire.reset': (event) => ({ reset: event }),
  'tidewire.ended': (event) => ({ ended: event }),
};

function compareTold(actual, expected, draining) {
  const told = actual.filter((event) => toldAs[event.type]).map((event) => toldAs[event.type](event));
  const wanted = expected.filter((one) => !one.draining);
  assert.equal(told.length, wanted.length, `told ${JSON.stringify(told)}`);
  for (const [at, one] of wanted.entries()) {
    const [kind, body] = Object.entries(one)[0];
    const mine = told[at][kind === 'error' || kind === 'unsubscribed' ? 'ended' : kind];
    // whose topic it was is told by what ended where a subscription has one topic
    const { reason, topic, ...rest } = body;
    const compared = kind === 'gap' || kind === 'reset' ? body : rest;
    assert.deepEqual(picked(mine, compared), compared);
  }
  // a drain is told by the time of the return: nothing of it reaches the reader of a topic
  assert.equal(expected.length - wanted.length, draining);
}

for (const [file, vector] of vectors('reading')) {
  test(`reading/${file}: ${vector.about}`, async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_795_000_000_000 });
    const held = new Map();
    const storage = { getItem: (key) => held.get(key) ?? null, setItem: (key, value) => held.set(key, value) };
    let reader = new Reader(vector, storage);
    let draining = 0;
    t.after(() => reader.close());
    for (const [at, step] of vector.steps.entries()) {
      const where = `step ${at}: ${JSON.stringify(step).slice(0, 200)}`;
      if (step.subscribe) {
        const none = Object.keys(step.subscribe).length === 0;
        // where nothing is read any more, nothing is asked for
        if (none) await settle();
        else await pass(t, where, () => lines(1 + reader.names.length > 1 ? 2 : 1)() && asked());
        assert.deepEqual(none ? {} : asked(), step.subscribe, where);
      } else if (step.in) {
        if (step.in.op === 'draining') draining += 1;
        for (const socket of Scripted.alive()) socket.feed(step.in);
        await settle();
      } else if (step.cut) {
        for (const socket of Scripted.alive()) socket.end(1006);
        await settle();
      } else if (step.reload) {
        reader.close();
        reader = new Reader(vector, storage);
      } else if (step.out_of_step) {
        await settle();
        assert.equal(Scripted.alive().length, 0, `the line is dropped: ${where}`);
      } else if (step.expect) {
        const { positions = {}, messages = {}, told } = step.expect;
        t.mock.timers.tick(20);
        assert.deepEqual(picked(reader.subscription.positions, positions), positions, where);
        for (const [topic, expected] of Object.entries(messages)) {
          const shown = reader.messages.get(topic).current.map(({ finishReason, ...m }) => ({ ...m, finish_reason: finishReason }));
          assert.deepEqual(shown.map((message, i) => picked(message, expected[i] ?? message)), expected, where);
        }
        if (told) compareTold(reader.told, told, draining);
        reader.told = [];
        draining = 0;
      } else assert.fail(`an unknown step: ${where}`);
    }
  });
}

for (const [file, vector] of vectors('publishing')) {
  test(`publishing/${file}: ${vector.about}`, () => {
    const window = new Window(vector.topic, vector.producer);
    let now = 1_000_000;
    let failed = null;
    let sent = [];
    const take = () => {
      const frames = [];
      for (let frame; (frame = failed === null && window.nextFrame(now)); ) {
        const { id, ...rest } = JSON.parse(JSON.stringify(frame));
        sent.push(id);
        frames.push(rest);
      }
      return frames;
    };
    for (const [at, step] of vector.steps.entries()) {
      const where = `step ${at}: ${JSON.stringify(step).slice(0, 200)}`;
      if (step.connected) window.onConnected(step.connected);
      else if (step.publish) for (const event of step.publish) window.push(event, now);
      else if (step.after_ms !== undefined) now += step.after_ms;
      else if (step.out) assert.deepEqual(take(), step.out, where);
      else if (step.in) {
        const answer = { ...step.in, id: sent.shift() };
        const settled = answer.op === 'published' ? window.onPublished(answer) : window.onRefused(answer, now);
        if (settled === 'failed') failed = answer.code;
        else if (settled.renumbered) sent = [];
      } else if (step.cut) {
        window.onDisconnected();
        sent = [];
      } else if (step.expect) {
        const state = { outstanding: window.outstanding, failed, epoch: window.producer.epoch };
        assert.deepEqual(picked(state, step.expect), step.expect, where);
      } else assert.fail(`an unknown step: ${where}`);
    }
  });
}

/** What this client calls a kind of ending. */
const KINDS = {
  invalid_request: 'protocol', too_large: 'protocol', producer_fenced: 'replaced', unavailable: 'busy',
  stalled: 'closed', rate_limited: 'closed', internal_error: 'closed', draining: 'closed',
};

for (const [file, vector] of vectors('endings')) {
  test(`endings/${file}: ${vector.about}`, () => {
    const error =
      vector.close !== undefined ? closed(vector.close) : refused(vector.status ?? 200, vector.body ?? '');
    const kind = KINDS[error.code] ?? error.code;
    assert.deepEqual(picked({ retry: error instanceof RetryableError, kind }, vector.expect), vector.expect);
    assert.ok(error.message.length > 10);
  });
}

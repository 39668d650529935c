// The plain state machines, without sockets and clocks.
import assert from 'node:assert/strict';
import test from 'node:test';
import { Backoff, FIRST } from '../dist/backoff.js';
import { BlockReader } from '../dist/blocks.js';
import { Choice, TRY_UPWARD } from '../dist/choose.js';
import { ControlInbox } from '../dist/control.js';
import { closed } from '../dist/endings.js';
import { RetryableError, TerminalError } from '../dist/errors.js';
import { ENDED_KEPT, Fold } from '../dist/fold.js';
import { Heartbeat } from '../dist/heartbeat.js';
import { Kept } from '../dist/kept.js';
import { problem } from '../dist/problems.js';
import { delta, divided, joined, jsonBytes, outgoing, wire } from '../dist/outgoing.js';
import { replaced } from '../dist/parts.js';
import { formatPosition, parsePosition } from '../dist/position.js';
import { Reading } from '../dist/reading.js';
import { refused } from '../dist/refusals.js';
import { connect } from '../dist/index.js';
import { Tokens } from '../dist/tokens.js';
import { Scripted } from './kit/scripted.mjs';
import { Streams } from '../dist/transports/stream.js';
import { DELTA_BYTES, IN_FLIGHT_PUBLISHES, Window } from '../dist/window.js';

const say = (text, id = 'm') => ({ type: 'token.delta', data: { message_id: id, text } });

test('a position reads back as it was written, and anything else is none', () => {
  for (const text of ['00000000:0', 'k3v9x2ma-1f:17', 'k3v9x2ma-1f:17~']) assert.equal(formatPosition(parsePosition(text)), text);
  for (const text of ['', 'k3v9x2ma', 'short:1', ':1', 'k3v9 2ma:1', 'k3v9x2ma:', 'k3v9x2ma:-1', 'k3v9x2ma:01', 'k3v9x2ma:1~~', 'last:7', null]) {
    assert.equal(parsePosition(text), undefined, String(text));
  }
});

test('a snapshot replaces all but what it omits, counted in bytes', () => {
  const held = [{ part: 0, kind: 'text', text: 'hello wörld 🌊' }];
  const at = (omitted, text) => replaced(held, [{ part: 0, kind: 'text', text, omitted }])[0];
  assert.deepEqual(at(13, '🌊!'), { part: 0, kind: 'text', text: 'hello wörld 🌊!' });
  assert.deepEqual(at(8, 'X'), { part: 0, kind: 'text', text: 'X', omitted: 8 }, 'inside a character');
  assert.deepEqual(at(99, 'X'), { part: 0, kind: 'text', text: 'X', omitted: 99 }, 'more than is held');
  const lacking = [{ part: 0, kind: 'text', text: 'cdef', omitted: 2 }];
  assert.deepEqual(replaced(lacking, [{ text: 'efgh', omitted: 4 }])[0], { part: 0, kind: 'text', text: 'cdefgh', omitted: 2 });
  assert.deepEqual(replaced(lacking, [{ text: 'bcd', omitted: 1 }])[0], { part: 0, kind: 'text', text: 'bcd', omitted: 1 });
});

test('a fold keeps the views of what did not change, and bounds what ended', () => {
  const fold = new Fold();
  fold.apply(say('a', 'one'));
  fold.apply(say('b', 'two'));
  const [one, two] = fold.messages();
  fold.apply(say('c', 'two'));
  assert.equal(fold.messages()[0], one);
  assert.notEqual(fold.messages()[1], two);
  assert.equal(two.text, 'b', 'a view is never changed');
  for (let n = 0; n < ENDED_KEPT + 10; n += 1) fold.apply({ type: 'message.completed', data: { message_id: `e${n}` } });
  assert.equal(fold.messages().length, ENDED_KEPT + 2);
  assert.equal(fold.apply({ type: 'tool.started', data: { call_id: 'c' } }), false);
  assert.equal(fold.apply({ type: 'token.delta', data: null }), false);
});

test('waits have full jitter up to a bound that doubles to 20 s', () => {
  const backoff = new Backoff();
  assert.deepEqual(Array.from({ length: 9 }, () => backoff.next(1)), [150, 500, 1000, 2000, 4000, 8000, 16000, 20000, 20000]);
  assert.equal(backoff.next(0), 0);
  backoff.worked();
  assert.equal(backoff.next(1), FIRST);
  backoff.told(3000);
  assert.deepEqual([backoff.next(0), backoff.next(1)], [3000, 500], 'what the broker says counts once');
  backoff.worked();
  backoff.disagreed();
  assert.ok(backoff.next(1) >= 2000);
});

test('silence is pinged once and then dead; any frame starts it anew', () => {
  const heartbeat = new Heartbeat(1000, 0);
  assert.deepEqual([1249, 1250, 1300, 2500].map((now) => heartbeat.due(now)), ['nothing', 'ping', 'nothing', 'dead']);
  heartbeat.heard(2000);
  assert.deepEqual([2600, 3250].map((now) => heartbeat.due(now)), ['nothing', 'ping']);
});

test('transports: down at once, remembered, and upward again', () => {
  const told = [];
  const choice = new Choice(['websocket', 'sse', 'poll'], 0, null, (found) => told.push(found));
  assert.equal(choice.next(), 'websocket');
  assert.equal(choice.failed('websocket', true, 0), true);
  assert.equal(choice.failed('sse', true, 0), true);
  assert.equal(choice.next(), 'poll');
  choice.worked('poll', 0);
  assert.deepEqual(told, ['poll']);
  assert.equal(choice.failed('poll', true, 1), false, 'what worked has a second chance');
  assert.equal(choice.next(), 'poll');
  assert.equal(choice.upward(TRY_UPWARD - 1), false);
  assert.equal(choice.upward(TRY_UPWARD), true);
  assert.equal(choice.tried(false, TRY_UPWARD), true, 'a poller tries streams where WebSockets stay blocked');
  assert.equal(choice.next(), 'sse');
  choice.worked('sse', TRY_UPWARD);
  assert.equal(choice.tried(true, 2 * TRY_UPWARD), true);
  assert.equal(choice.next(), 'websocket');
  choice.worked('websocket', 3 * TRY_UPWARD);
  assert.equal(choice.upward(1e12), false);
  assert.equal(choice.failed('websocket', true, 0), false);
  assert.equal(choice.failed('websocket', true, 0), true);
  assert.equal(choice.failed('sse', false, 0), false, 'without a network the others need not be tried');
  assert.equal(new Choice(['websocket', 'sse'], 0, 'sse').next(), 'sse', 'what an earlier page found');
});

test('blocks come out whole wherever the stream is cut', () => {
  const stream = ': hello\n\nevent: a.b\ndata: {"type":"a.b","data":"x:y"}\nid: e:1\n\nretry: 1500\r\n\r\ndata: {"n":2}\r\n\r\n';
  for (let size = 1; size < stream.length; size += 1) {
    const reader = new BlockReader();
    const blocks = [];
    for (let at = 0; at < stream.length; at += size) blocks.push(...reader.push(stream.slice(at, at + size)));
    assert.deepEqual(blocks, [{ data: { type: 'a.b', data: 'x:y' }, id: 'e:1' }, { data: { n: 2 }, id: undefined }], `by ${size}`);
    assert.equal(reader.retry, 1500);
  }
});

test('blocks: what ends lines elsewhere ends none here', () => {
  // the broker's JSON has these as they are
  const text = 'one\u2028two\u2029three\u0085four\u000bfive';
  const [block] = new BlockReader().push(`event: token.delta\ndata: {"text":"${text.replace('\u000b', '\\u000b')}"}\nid: e:1\n\n`);
  assert.deepEqual(block, { data: { text }, id: 'e:1' });
});

test('endings say whether to come back', () => {
  for (const code of [1000, 1001, 1006, 1011, 4408, 4429, 4500, 4503]) assert.ok(closed(code) instanceof RetryableError, String(code));
  for (const code of [4400, 4401, 4403, 4409, 4413]) assert.ok(closed(code) instanceof TerminalError, String(code));
  assert.match(closed(4401, 'the token has expired').message, /the token has expired: bring another token/);
  assert.equal(problem({ code: 'rate_limited', retry_after_ms: 250 }).retryAfterMs, 250);
  assert.equal(refused(503, '{"code":"draining","message":"full"}').code, 'draining');
  assert.equal(refused(502, '<html>').code, 'unavailable');
  assert.equal(refused(200, '<html>').code, 'not_tidewire');
  assert.equal(refused(401, '').code, 'unauthenticated');
});

test('a stream of several topics moves each by its seq, and says where the epoch is not known', () => {
  const readings = new Map(['/a/b', '/a/c'].map((topic) => [topic, new Reading(topic, 'snapshot')]));
  let moved;
  const streams = new Streams({
    readings,
    ask: () => ({ topics: [{}, {}] }),
    frame(frame) {
      const reading = readings.get(frame.topic);
      if (frame.op === 'subscribed') reading.onSubscribed(frame.position);
      else moved = reading.onMoved(frame.position);
    },
    again: () => (moved = 'asked again'),
  });
  const ready = (...positions) => ({ type: 'tidewire.ready', topics: ['/a/b', '/a/c'].map((topic, at) => ({ topic, position: positions[at] })) });
  assert.equal(streams.body().last_event_id, undefined);
  streams.block({ data: ready('aaaaaaaa:4~', '00000000:0') }, 1);
  streams.block({ data: { topic: '/a/b', type: 'a.b', seq: 6 }, id: 'cursor' }, 1);
  assert.equal(readings.get('/a/b').from(), 'aaaaaaaa:6~');
  streams.block({ data: { topic: '/a/b', type: 'token.delta', seq: 7 }, id: 'cursor' }, 1);
  assert.deepEqual(moved, { epoch: 'aaaaaaaa', seq: 7, partial: false });
  assert.equal(streams.body().last_event_id, undefined, 'the positions say it all');
  streams.block({ data: { topic: '/a/c', type: 'a.b', seq: 1 }, id: 'cursor 2' }, 1);
  assert.equal(moved, 'asked again');
  assert.equal(streams.body().last_event_id, 'cursor 2');
  streams.block({ data: ready('aaaaaaaa:7', 'bbbbbbbb:1') }, 1);
  assert.equal(readings.get('/a/c').from(), 'bbbbbbbb:1');
  assert.equal(streams.body().last_event_id, undefined, 'and again they do');
});

test('tokens: one question at a time, never the refused one again, renewed before the end', async () => {
  let asked = 0;
  const jwt = (exp) => `x.${btoa(JSON.stringify({ exp }))}.y`;
  const now = Date.now();
  const list = ['first', jwt(now / 1000 + 1000), jwt(now / 1000 + 1000)];
  const tokens = new Tokens(undefined, () => list[asked++]);
  assert.deepEqual(await Promise.all([tokens.current(), tokens.current()]), ['first', 'first']);
  assert.deepEqual([asked, tokens.renewAt], [1, Infinity]);
  tokens.refuse('first', new Error('no'));
  await tokens.current();
  assert.ok(Math.abs(tokens.renewAt - (now + 940_000)) < 5_000);
  tokens.refuse(list[1], new Error('no'));
  await assert.rejects(tokens.current(), { code: 'token_refused' });
  assert.throws(() => new Tokens('t', undefined).refuse('t', new Error('no other')), /no other/);
  const failing = new Tokens(undefined, () => { throw new Error('mine'); });
  await assert.rejects(failing.current(), { code: 'get_token_failed' });
});

test('deltas are joined and divided at characters, within their bytes', () => {
  const text = 'a"\n\u0001é🌊'.repeat(20);
  const pieces = divided(delta('m', 0, 'text', text), 64);
  assert.equal(pieces.map((piece) => piece.data.text).join(''), text);
  for (const piece of pieces) {
    assert.ok(jsonBytes(piece.data.text) <= 64);
    assert.ok(Buffer.byteLength(JSON.stringify(wire(piece))) <= piece.bytes);
  }
  const both = joined(delta('m', 0, 'text', 'a'), delta('m', 0, 'text', 'é'), 100);
  assert.deepEqual([both.data.text, both.bytes], ['aé', delta('m', 0, 'text', 'aé').bytes]);
  for (const other of [delta('n', 0, 'text', 'b'), delta('m', 1, 'text', 'b'), delta('m', 0, 'reasoning', 'b'), outgoing({ type: 'a.b', data: 1 })]) {
    assert.equal(joined(delta('m', 0, 'text', 'a'), other, 100), undefined);
  }
  const mine = outgoing({ type: 'token.delta', data: { message_id: 'm', text: 'x', mine: 1 } });
  assert.equal(mine.delta, undefined, 'members of its own are kept');
});

test('over its bound the longest kept message loses its beginning, and says so', () => {
  const kept = new Kept(80);
  kept.acknowledged(delta('short', 0, 'text', 'keep'));
  for (let n = 0; n < 20; n += 1) kept.acknowledged(delta('long', 0, 'text', '0123456789'));
  const { events, bytes, missing } = kept.restore();
  assert.ok(bytes <= 80);
  assert.equal(bytes + missing, 204);
  assert.equal(events[0].data.text, 'keep');
  assert.deepEqual(kept.restore().events, [], 'it is outstanding now');
});

test('a window against a broker that loses lines and answers: each event once, in order', () => {
  let seed = 7;
  const random = (n) => ((seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff) >>> 12) % n;
  for (let round = 0; round < 200; round += 1) {
    const window = new Window('/a/b', { id: 'p', epoch: 1 }, { events: 50, bytes: 1 << 20 });
    const log = [];
    let expected = 1;
    let now = 0;
    let line;
    let pushed = 0;
    const total = 60;
    for (let step = 0; step < 20_000 && log.length < total; step += 1) {
      now += random(15);
      if (!line) {
        line = [];
        window.onConnected({ max_batch_events: 1 + random(5) });
      }
      if (pushed < total && window.hasRoom() && random(2)) window.push({ type: 'a.b', data: pushed++ }, now);
      for (let frame; (frame = window.nextFrame(now)); ) line.push(frame);
      const what = random(10);
      if (what === 0) {
        // cut: some of what was sent arrived, and no answer came back
        for (const frame of line.slice(0, random(line.length + 1))) arrive(frame);
        line = undefined;
        window.onDisconnected();
      } else if (line.length > 0 && what < 7) {
        const frame = line.shift();
        const answer = random(8) === 0 ? { code: 'rate_limited', retry_after_ms: 30 } : arrive(frame);
        const settled = answer.code ? window.onRefused({ id: frame.id, ...answer }, now) : window.onPublished({ id: frame.id, epoch: 'e' });
        assert.notEqual(settled, 'failed');
      }
    }
    assert.deepEqual(log, Array.from({ length: total }, (_, n) => n), `round ${round}`);
    function arrive({ producer, events }) {
      if (producer.seq > expected) return { code: 'producer_gap', expected_seq: expected };
      if (producer.seq === expected) {
        expected += 1;
        log.push(...events.map((event) => event.data));
      }
      return {};
    }
  }
});

test('what is on the wire is bounded, and what is refused for good is taken out alone', () => {
  const window = new Window('/a/b', { id: 'p', epoch: 1 });
  window.onConnected({ max_batch_events: 1 });
  for (let n = 0; n < 100; n += 1) window.push({ type: 'a.b', data: n }, 0);
  const frames = [];
  for (let frame; (frame = window.nextFrame(1000)); ) frames.push(frame);
  assert.equal(frames.length, IN_FLIGHT_PUBLISHES);
  window.onPublished({ id: frames[0].id, epoch: 'e' });
  const refusal = { id: frames[1].id, code: 'invalid_event', index: 0 };
  assert.equal(window.onRefused(refusal, 1000), 'failed');
  assert.deepEqual(window.discard(refusal).map((event) => event.data), [1]);
  const next = window.nextFrame(1000);
  assert.deepEqual([next.producer.seq, next.events[0].data], [2, 2], 'the refused one used up no seq');
  window.push(say('x'.repeat(DELTA_BYTES * 2)), 0);
  assert.equal(window.outstanding, 98 + 2);
});

test('a beginning, its first delta and every other event leave at once; further deltas gather', () => {
  const window = new Window('/a/b', { id: 'p', epoch: 1 });
  window.onConnected();
  let now = 0;
  /** Hands over, and says what leaves: the texts of deltas, the types of other events. */
  const hand = (...events) => {
    for (const event of events) window.push(event, now);
    return leaving();
  };
  const leaving = () => {
    const frames = [];
    for (let frame; (frame = window.nextFrame(now)); ) frames.push(frame.events.map(({ type, data }) => data.text ?? type));
    return frames;
  };
  const started = { type: 'message.started', data: { message_id: 'm' } };
  assert.deepEqual(hand(started), [['message.started']]);
  assert.deepEqual(hand(say('a')), [['a']], 'the first delta, while the beginning is on its way');
  assert.deepEqual(hand(say('b')), []);
  now += 19;
  assert.deepEqual(hand(say('c')), []);
  now += 1;
  assert.deepEqual(leaving(), [['bc']], 'further ones gather for 20 ms');
  assert.deepEqual(hand(say('d')), [], 'and again');
  const tool = { type: 'tool.started', data: { call_id: 'c' } };
  assert.deepEqual(hand(tool), [['d', 'tool.started']], 'with the deltas before it');
  assert.deepEqual(hand(say('e')), [['e']], 'a delta behind another event is a first one');
  assert.deepEqual(hand(say('f')), [], 'and the urgency ended with what was urgent');
  assert.deepEqual(hand({ type: 'message.completed', data: { message_id: 'm' } }), [['f', 'message.completed']]);
});

test('what is urgent stays within the bounds on what is on its way', () => {
  const window = new Window('/a/b', { id: 'p', epoch: 1 });
  window.onConnected();
  const frames = [];
  for (let n = 0; n < IN_FLIGHT_PUBLISHES + 3; n += 1) {
    window.push({ type: 'a.b', data: n }, 0);
    for (let frame; (frame = window.nextFrame(0)); ) frames.push(frame);
  }
  assert.equal(frames.length, IN_FLIGHT_PUBLISHES, 'each by itself');
  window.onPublished({ id: frames[0].id, epoch: 'e' });
  assert.equal(window.nextFrame(0).events.length, 3, 'what waited goes together');
});

test('commands come once through cuts, and an acknowledgement that may be lost is repeated', () => {
  const inbox = new ControlInbox();
  const frame = (epoch, ...seqs) => ({ op: 'control', topic: '/a', epoch, events: seqs.map((seq) => ({ seq, type: 'run.cancel', data: {} })) });
  const { commands } = inbox.onFrame(frame('aaaaaaaa', 3, 4));
  assert.deepEqual(commands.map((command) => command.seq), [3, 4]);
  assert.deepEqual(inbox.acknowledge(commands[0]), { op: 'control_ack', topic: '/a', seq: 3 });
  inbox.onDisconnected();
  assert.equal(inbox.acknowledge(commands[1]), undefined, 'there is no line');
  const again = inbox.onFrame(frame('aaaaaaaa', 3, 4, 8));
  assert.deepEqual(again.commands.map((command) => command.seq), [8]);
  assert.equal(again.repeated.length, 2);
  assert.deepEqual(inbox.onFrame(frame('bbbbbbbb', 3)).commands.length, 1, 'another life of the topic');
});

test('topics are asked for once on a line, however fast it opens; what is refused for a while is asked for again', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'], now: 1 });
  Scripted.sockets = [];
  const tide = connect({ url: 'http://broker.test', WebSocket: Scripted, transports: ['websocket'] });
  tide.subscribe(['/a/1', '/a/2', '/a/3'], { onEvent() {} });
  const settle = async () => {
    for (let n = 0; n < 20; n += 1) await Promise.resolve();
  };
  await settle();
  const [socket] = Scripted.sockets;
  t.mock.timers.tick(50);
  const asked = () => socket.sent.map((frame) => frame.topics.map(({ topic }) => topic));
  assert.deepEqual(asked(), [['/a/1', '/a/2', '/a/3']]);
  socket.feed({ op: 'error', id: 1, topic: '/a/2', code: 'rate_limited', message: 'slow down', retry_after_ms: 300 });
  t.mock.timers.tick(299);
  assert.equal(asked().length, 1);
  t.mock.timers.tick(1);
  assert.deepEqual(asked()[1], ['/a/2']);
  tide.close();
});

test('a line over which nothing is read any more is closed, also where the broker ended the last topic', async () => {
  Scripted.sockets = [];
  const tide = connect({ url: 'http://broker.test', WebSocket: Scripted, transports: ['websocket'] });
  const ended = new Promise((resolve) => tide.subscribe('/a/1', { onEvent() {}, onError: resolve }));
  while (!Scripted.sockets[0]?.sent.length) await new Promise((resolve) => setImmediate(resolve));
  Scripted.sockets[0].feed({ op: 'error', id: 1, topic: '/a/1', code: 'forbidden', message: 'no' });
  assert.equal((await ended).code, 'forbidden');
  assert.equal(Scripted.alive().length, 0);
});

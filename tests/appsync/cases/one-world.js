// What Amplify publishes everybody else gets, and the reverse, and nothing is changed on the way.

import assert from 'node:assert/strict';

import { follow, framesGot, received } from '../kit/world.js';

const LONG = 'Zwölf Boxkämpfer \\ "潮の流れ" 🌊👩‍👩‍👧 \u2028\n'.repeat(3_000);   // some 200 KB as JSON

const VALUES = [
  'plain', '', ' ', '"', '\\', '</script>', 'null', 'line\nline\r\n\ttab', 'nul \u0000 bell \u0007', 'zwölf 潮 🌊 👩‍👩‍👧 e\u0301 \u2028\u2029\uFEFF',
  0, -1, 1.5, 1e21, -2.5e-7, Number.MAX_SAFE_INTEGER, true, false, null,
  [], {}, [[], [{}], [[null]]], { '': '', 'a b': { c: [1, '2', { d: null }] }, ключ: 'значение' },
  { type: 'event', data: { a: 1 } }, { type: 'no.envelope', data: 1, more: 2 }, { type: 7, data: 1 }, { data: 1 }, { id: 'x' },
  LONG,
];

/** Spellings of JSON that no serialiser writes, and that stay as they are nevertheless. */
const SPELLINGS = ['{ "b" : 1 , "a" : [ 1.0 , 1e2 , -0 ] }', '"\\u00e9\\/\\ud83c\\udf0a"', ' 7 ', '12345678901234567890', '{"a":1,"a":2}', '0.10'];

export const oneWorld = {
  async 'every kind of JSON arrives byte for byte'({ agent, path }) {
    const amplify = await agent();
    const room = path();
    const id = await follow(amplify, room);
    for (const [at, value] of VALUES.entries()) {
      await amplify.call(at % 2 === 0 ? 'publish' : 'post', room, [value]);   // a list, for one that is a list itself
    }
    assert.deepEqual(await received(amplify, room, VALUES.length), VALUES);
    const onTheWire = (await framesGot(amplify, 'data')).map((frame) => [frame.id, frame.event]);
    assert.deepEqual(onTheWire, VALUES.map((value) => [id, JSON.stringify(value)]));
  },

  async 'JSON stays as its publisher wrote it'({ agent, path, broker, keys, backend }) {
    const amplify = await agent();
    const room = path();
    await follow(amplify, room);
    for (const spelling of SPELLINGS) {
      const response = await fetch(`${broker.url}/event`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'x-api-key': keys.app },
        body: JSON.stringify({ channel: room, events: [spelling] }),
      });
      assert.equal(response.status, 200, `${spelling}: ${await response.text()}`);
    }
    await received(amplify, room, SPELLINGS.length);
    assert.deepEqual((await framesGot(amplify, 'data')).map(({ event }) => event), SPELLINGS);
    assert.equal((await backend.events(room)).length, SPELLINGS.length);
  },

  async 'what a native publisher says comes as an envelope with its seq'({ agent, path, backend }) {
    const amplify = await agent();
    const room = path();
    await follow(amplify, room);
    await backend.publish(room,
      { type: 'message.started', data: { message_id: 'm1', role: 'assistant' } },
      { type: 'token.delta', data: { message_id: 'm1', text: 'Hel' } },
      { type: 'event', data: { plain: true } });
    const [started, delta, plain] = await received(amplify, room, 3);
    assert.deepEqual([started.topic, started.seq, started.type], [room, 1, 'message.started']);
    assert.deepEqual([delta.topic, delta.seq, delta.type], [room, 2, 'token.delta']);
    assert.deepEqual(delta.data, { message_id: 'm1', text: 'Hel' });
    assert.deepEqual(plain, { plain: true }, 'an `event` is its data');
  },

  async 'native readers see a plain event as `event`, and one with a type as that type'({ agent, path, backend }) {
    const amplify = await agent();
    const room = path();
    await follow(amplify, room);
    await amplify.call('publish', room, { text: 'plain' });
    await amplify.call('publish', room, { type: 'note.added', data: { n: 1 } });
    await amplify.call('post', room, { type: 'note.added', data: { n: 2 }, and: 'more' });
    const told = (await backend.events(room)).map(({ seq, type, data }) => ({ seq, type, data }));
    assert.deepEqual(told, [
      { seq: 1, type: 'event', data: { text: 'plain' } },
      { seq: 2, type: 'note.added', data: { n: 1 } },
      { seq: 3, type: 'event', data: { type: 'note.added', data: { n: 2 }, and: 'more' } },
    ]);
    const [plain, typed, more] = await received(amplify, room, 3);
    assert.deepEqual(plain, { text: 'plain' });
    assert.deepEqual([typed.topic, typed.seq, typed.type, typed.data], [room, 2, 'note.added', { n: 1 }]);
    assert.deepEqual(more, { type: 'note.added', data: { n: 2 }, and: 'more' });
  },
};

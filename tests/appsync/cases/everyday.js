// What an application does all day: connecting, subscribing, publishing, and leaving.

import assert from 'node:assert/strict';

import { until } from '../../browser/kit/until.js';
import { follow, framesGot, framesSent, received } from '../kit/world.js';

const FIVE = [{ n: 1 }, { n: 2 }, { n: 3 }, { n: 4 }, { n: 5 }];

export const everyday = {
  async 'connects, subscribes and is ready'({ agent, path }) {
    const amplify = await agent();
    const room = path();
    const id = await follow(amplify, room);
    await until('the state Connected', async () => (await amplify.call('states')).at(-1) === 'Connected');
    assert.deepEqual(await framesGot(amplify), [
      { type: 'connection_ack', connectionTimeoutMs: 300_000 },
      { type: 'ka' },
      { type: 'subscribe_success', id },
    ]);
    const [{ protocol }] = await amplify.call('sockets');
    assert.equal(protocol, 'aws-appsync-event-ws');
  },

  async 'publishes one event'({ agent, path }) {
    const amplify = await agent();
    const room = path();
    await follow(amplify, room);
    assert.equal(await amplify.call('publish', room, { text: 'hello' }), undefined);
    assert.deepEqual(await received(amplify, room, 1), [{ text: 'hello' }]);
    const [published] = await framesSent(amplify, 'publish');
    const [{ successful, ...answer }] = await framesGot(amplify, 'publish_success');
    assert.deepEqual(answer, { type: 'publish_success', id: published.id, failed: [] });
    assert.equal(successful.length, 1);
    assert.equal(successful[0].index, 0);
    assert.match(successful[0].identifier, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  },

  async 'publishes five events at once, one behind the other'({ agent, path }) {
    const amplify = await agent();
    const room = path();
    await follow(amplify, room);
    await amplify.call('publish', room, FIVE);
    await amplify.call('publish', room, 'last');
    assert.deepEqual(await received(amplify, room, 6), [...FIVE, 'last']);
  },

  async 'posts one event and five'({ agent, path }) {
    const amplify = await agent();
    const room = path();
    await follow(amplify, room);
    assert.equal(await amplify.call('post', room, { text: 'by post' }), undefined);
    assert.equal(await amplify.call('post', room.slice(1), FIVE), undefined, 'without the leading slash');
    assert.deepEqual(await received(amplify, room, 6), [{ text: 'by post' }, ...FIVE]);
    assert.equal(await amplify.call('posts'), 2);
  },

  async 'may leave the leading slash out and have one at the end'({ agent, path }) {
    const amplify = await agent();
    const room = path();
    await follow(amplify, room.slice(1));
    await follow(amplify, `${room}/`);
    await amplify.call('post', room, 'to all three spellings');
    for (const spelling of [room.slice(1), `${room}/`]) assert.deepEqual(await received(amplify, spelling, 1), ['to all three spellings']);
  },

  async 'has two channels on one socket'({ agent, path }) {
    const amplify = await agent();
    const [one, two] = [path(), path()];
    await follow(amplify, one);
    await follow(amplify, two);
    await amplify.call('publish', one, 'for one');
    await amplify.call('publish', two, 'for two');
    await amplify.call('publish', one, 'end');
    await amplify.call('publish', two, 'end');
    assert.deepEqual(await received(amplify, one, 2), ['for one', 'end']);
    assert.deepEqual(await received(amplify, two, 2), ['for two', 'end']);
    assert.equal((await amplify.call('sockets')).length, 1);
  },

  async 'has two subscriptions of one channel, each with all events'({ agent, path }) {
    const amplify = await agent();
    const room = path();
    await follow(amplify, room);
    await amplify.call('subscribe', room, 'second');
    assert.notEqual(await amplify.call('ready', room), await amplify.call('ready', 'second'));
    await amplify.call('publish', room, FIVE);
    assert.deepEqual(await received(amplify, room, 5), FIVE);
    assert.deepEqual(await received(amplify, 'second', 5), FIVE);
  },

  async 'reads a wildcard: everything below, however deep, and nothing beside'({ agent, path }) {
    const amplify = await agent();
    const room = path();
    await follow(amplify, `${room}/*`);
    await amplify.call('post', `${room}/a`, 'a level down');
    await received(amplify, `${room}/*`, 1);
    await amplify.call('post', `${room}/a/b/c`, 'three levels down');
    await received(amplify, `${room}/*`, 2);
    await amplify.call('post', `${room}-beside`, 'not below');
    await amplify.call('post', `${room}/later`, 'the end');
    assert.deepEqual(await received(amplify, `${room}/*`, 3), ['a level down', 'three levels down', 'the end']);
  },

  async 'has a token in the modes lambda and none'({ agent, path, token }) {
    const room = path();
    const authToken = await token('ada', '--subscribe', '/default/**', '--publish', room);
    for (const authMode of ['lambda', 'none']) {
      const amplify = await agent({ defaultAuthMode: authMode, apiKey: undefined });
      const options = { authMode, authToken };
      await follow(amplify, room, options);
      await amplify.call('publish', room, 'over the socket', options);
      await amplify.call('post', room, 'by post', options);
      assert.deepEqual(await received(amplify, room, 2), ['over the socket', 'by post']);
      const elsewhere = path();
      await assert.rejects(amplify.call('post', elsewhere, 1, options), { status: 401, message: 'You are not authorized to make this call.' });
    }
  },

  async 'unsubscribes, and the other subscription of the channel reads on'({ agent, path }) {
    const amplify = await agent();
    const room = path();
    const id = await follow(amplify, room);
    await amplify.call('subscribe', room, 'other');
    await amplify.call('ready', 'other');
    await amplify.call('publish', room, 1);
    await received(amplify, room, 1);
    await amplify.call('unsubscribe', room);
    await until('unsubscribe_success', async () => (await framesGot(amplify, 'unsubscribe_success')).some((frame) => frame.id === id));
    await amplify.call('publish', room, [2, 3]);
    assert.deepEqual(await received(amplify, 'other', 3), [1, 2, 3]);
    const toTheFirst = (await framesGot(amplify, 'data')).filter((frame) => frame.id === id);
    assert.deepEqual(toTheFirst.map(({ event }) => event), ['1'], 'the broker sends it nothing any more');
    assert.deepEqual(await framesGot(amplify, 'unsubscribe_error'), []);
  },

  async 'closes a channel, which ends the socket when it was the last one'({ agent, path }) {
    const amplify = await agent();
    const room = path();
    const id = await follow(amplify, room);
    await amplify.call('close', room);
    await until('the end of the socket', async () => (await amplify.call('sockets'))[0].close);
    assert.deepEqual((await framesSent(amplify, 'unsubscribe')).map((frame) => frame.id), [id]);
    const [{ close }] = await amplify.call('sockets');
    assert.deepEqual(close, { code: 1000, reason: '', wasClean: true });
    await assert.rejects(amplify.call('publish', room, 1), { message: 'Channel is closed' });
  },

  async 'closes all, cleanly, and can begin again'({ agent, path }) {
    const amplify = await agent();
    const room = path();
    await follow(amplify, room);
    await amplify.call('closeAll');
    const [{ close }] = await amplify.call('sockets');
    assert.equal(close.wasClean, true, `the broker answers the close: ${JSON.stringify(close)}`);
    await follow(amplify, room);
    await amplify.call('publish', room, 'again');
    assert.deepEqual(await received(amplify, room, 1), ['again']);
    assert.equal((await amplify.call('sockets')).length, 2);
  },
};

// What is refused, what an application can read of it, and that nobody else suffers from it.

import assert from 'node:assert/strict';

import { follow, framesGot, received } from '../kit/world.js';

const SIX = [1, 2, 3, 4, 5, 6];
const NOT_AUTHORIZED = 'You are not authorized to make this call.';

export const refusals = {
  async 'six events are too many, and none of them is published'({ agent, path }) {
    const amplify = await agent();
    const room = path();
    await follow(amplify, room);
    await assert.rejects(amplify.call('post', room, SIX), { status: 400, message: 'Input exceeded 5 event limit' });
    assert.equal(await amplify.call('posts'), 1, 'it does not try again');
    await assert.rejects(amplify.call('publish', room, SIX), { message: 'Publish errors: InvalidInputError' });
    await amplify.call('publish', room, 'the end');
    assert.deepEqual(await received(amplify, room, 1), ['the end']);
    const [{ errors }] = await framesGot(amplify, 'publish_error');
    assert.deepEqual(errors, [{ errorType: 'InvalidInputError', message: 'input exceeded 5 event limit' }]);
  },

  async 'an event that is too large fails by itself in a post'({ agent, path }) {
    const amplify = await agent();
    const room = path();
    await follow(amplify, room);
    const [failed, ...others] = await amplify.call('post', room, ['small', 'x'.repeat(250 * 1024), 'small too']);
    assert.deepEqual(others, []);
    assert.deepEqual({ ...failed, identifier: null }, { identifier: null, index: 1, code: 'EventTooLargeException', message: 'Transformed event is larger than 240KB' });
    await assert.rejects(amplify.call('publish', room, 'x'.repeat(250 * 1024)), { message: 'Publish errors: EventTooLargeException' });
    await amplify.call('publish', room, 'the end');
    assert.deepEqual(await received(amplify, room, 3), ['small', 'small too', 'the end']);
  },

  async 'a wrong key is told once and in words, and not tried again'({ agent, path, keys, proxy }) {
    const line = await proxy();
    const [, id] = keys.app.split('_');
    for (const apiKey of [`tw_${id}_${'A'.repeat(43)}`, 'da2-abcdefghijklmnopqrstuvwxyz']) {
      const amplify = await agent({ endpoint: line.endpoint, apiKey });
      await assert.rejects(amplify.call('connect', path()), { message: 'UnauthorizedException' });
      assert.equal((await amplify.call('sockets')).length, 1, 'it does not try again');
      const [error] = await framesGot(amplify);
      assert.deepEqual(error, { type: 'connection_error', errors: [{ errorType: 'UnauthorizedException', errorCode: 401, message: NOT_AUTHORIZED }] });
      await assert.rejects(amplify.call('post', path(), 1), { status: 401, message: NOT_AUTHORIZED });
      assert.equal(await amplify.call('posts'), 1, 'it does not try again');
    }
    assert.equal(line.requests.filter((head) => head.includes('/event/realtime')).length, 2);
  },

  async 'a denied channel leaves the allowed one beside it alone'({ agent, path }) {
    const amplify = await agent();
    const room = path();
    await follow(amplify, room);
    for (const denied of ['/private/room', '/nowhere/room', '/private/*']) {
      await amplify.call('connect', denied);
      await amplify.call('subscribe', denied, denied);
      await assert.rejects(amplify.call('ready', denied), /UnauthorizedException/, denied);
      assert.match((await amplify.call('errors', denied))[0], /^Connection failed: UnauthorizedException/);
      if (!denied.endsWith('*')) await assert.rejects(amplify.call('publish', denied, 1), { message: 'Publish errors: UnauthorizedException' }, denied);
      await amplify.call('publish', room, `after ${denied}`);
    }
    assert.deepEqual(await received(amplify, room, 3), ['after /private/room', 'after /nowhere/room', 'after /private/*']);
    const sockets = await amplify.call('sockets');
    assert.deepEqual(sockets.map(({ close }) => close), [null], 'one socket, and it lives');
  },

  async 'who may only read is refused a publish, and reads on'({ agent, path, keys }) {
    const amplify = await agent({ apiKey: keys.reader });
    const room = path();
    await follow(amplify, room);
    await assert.rejects(amplify.call('publish', room, 1), { message: 'Publish errors: UnauthorizedException' });
    await assert.rejects(amplify.call('post', room, 1), { status: 401, message: NOT_AUTHORIZED });
    await amplify.call('publish', room, 'with the key of that message', { apiKey: keys.app });
    assert.deepEqual(await received(amplify, room, 1), ['with the key of that message']);
  },

  async 'a wrong key of one subscription does not touch another'({ agent, path, keys }) {
    const amplify = await agent();
    const [room, other] = [path(), path()];
    await follow(amplify, room);
    await amplify.call('connect', other);
    await amplify.call('subscribe', other, 'refused', { apiKey: `${keys.app.slice(0, -1)}${keys.app.endsWith('A') ? 'B' : 'A'}` });
    await assert.rejects(amplify.call('ready', 'refused'), /UnauthorizedException/);
    await amplify.call('subscribe', other, 'admitted');
    await amplify.call('ready', 'admitted');
    await amplify.call('publish', other, 'to the admitted');
    await amplify.call('publish', room, 'to the first');
    assert.deepEqual(await received(amplify, 'admitted', 1), ['to the admitted']);
    assert.deepEqual(await received(amplify, room, 1), ['to the first']);
    assert.equal(await amplify.call('count', 'refused'), 0);
  },

  async 'a path that is none is refused with the rule'({ agent, path }) {
    const amplify = await agent();
    const room = path();
    await follow(amplify, room);
    for (const bad of ['/default/a_b', '/default/-a', '/default/*/a', '/default/a/b/c/d/e', '/']) {
      await amplify.call('connect', bad);
      await amplify.call('subscribe', bad, bad);
      await assert.rejects(amplify.call('ready', bad), /InvalidInputError: ./, bad);
      await assert.rejects(amplify.call('publish', bad, 1), { message: 'Publish errors: InvalidInputError' }, bad);
      await assert.rejects(amplify.call('post', bad, 1), ({ status, message }) => status === 400 && message !== 'Unknown error', bad);
    }
    await assert.rejects(amplify.call('post', '/default/*', 1), ({ status, message }) => status === 400 && /wildcard/i.test(message));
    await amplify.call('publish', room, 'the end');
    assert.deepEqual(await received(amplify, room, 1), ['the end']);
    assert.deepEqual((await amplify.call('sockets')).map(({ close }) => close), [null], 'one socket, and it lives');
  },
};

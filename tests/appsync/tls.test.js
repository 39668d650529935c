// The endpoint as Amplify's own documentation writes it, https://…: it needs none of what makes the other tests work
// without TLS, so it stays when Amplify changes that.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { configuredBroker } from './kit/broker.js';
import { nodeAgents, pageAgents } from './kit/agents.js';
import { startTls } from './kit/tls.js';
import { follow, received } from './kit/world.js';

let broker, tls;
before(async () => {
  broker = await configuredBroker('');
  tls = await startTls(broker.url);
});
after(async () => {
  await tls?.stop();
  await broker?.stop();
});

describe('over TLS', { timeout: 120_000 }, () => {
  for (const [where, open] of Object.entries({ Node: () => nodeAgents(), Chromium: pageAgents })) {
    test(`Amplify in ${where} connects, subscribes, publishes and posts`, async () => {
      const agents = await open();
      const amplify = await agents.start({ env: { NODE_EXTRA_CA_CERTS: tls.certificate } });
      try {
        const room = `/default/${where}`;
        await amplify.call('configure', { endpoint: tls.endpoint, defaultAuthMode: 'apiKey', apiKey: 'anybody-is-welcome-here' });
        await follow(amplify, room);
        await amplify.call('publish', room, 'over the socket');
        await amplify.call('post', room, 'by post');
        assert.deepEqual(await received(amplify, room, 2), ['over the socket', 'by post']);
      } finally {
        await amplify.stop();
        await agents.stop();
      }
    });
  }
});

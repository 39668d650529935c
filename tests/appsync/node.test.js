// Amplify in Node, with Node's own WebSocket and with the one of the package `ws`.

import { after, before, describe, test } from 'node:test';

import { everyday } from './cases/everyday.js';
import { oneWorld } from './cases/one-world.js';
import { reconnect } from './cases/reconnect.js';
import { refusals } from './cases/refusals.js';
import { nodeAgents } from './kit/agents.js';
import { doCase, startWorld } from './kit/world.js';

const OPTIONS = { concurrency: 4, timeout: 170_000 };

for (const socket of ['own', 'ws']) {
  describe(`Amplify in Node, ${socket === 'own' ? 'its own WebSocket' : 'the WebSocket of ws'}`, OPTIONS, () => {
    let world;
    before(async () => { world = await startWorld(); });
    after(() => world?.stop());
    for (const [name, body] of Object.entries({ ...everyday, ...oneWorld, ...refusals })) {
      test(name, () => doCase(world, nodeAgents(socket), body));
    }
  });
}

describe('Amplify in Node comes back', { concurrency: true, timeout: 170_000 }, () => {
  for (const [name, body] of Object.entries(reconnect)) test(name, () => body(nodeAgents()));
});

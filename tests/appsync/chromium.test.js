// Amplify in a page of an application, on another port than the broker's, in Chromium.

import { after, before, describe, test } from 'node:test';

import { everyday } from './cases/everyday.js';
import { oneWorld } from './cases/one-world.js';
import { reconnect } from './cases/reconnect.js';
import { refusals } from './cases/refusals.js';
import { pageAgents } from './kit/agents.js';
import { doCase, startWorld } from './kit/world.js';

let agents;
before(async () => { agents = await pageAgents(); });
after(() => agents?.stop());

describe('Amplify in Chromium', { concurrency: 4, timeout: 170_000 }, () => {
  let world;
  before(async () => { world = await startWorld(); });
  after(() => world?.stop());
  for (const [name, body] of Object.entries({ ...everyday, ...oneWorld, ...refusals })) {
    test(name, () => doCase(world, agents, body));
  }
});

describe('Amplify in Chromium comes back', { concurrency: true, timeout: 170_000 }, () => {
  for (const [name, body] of Object.entries(reconnect)) test(name, () => body(agents));
});

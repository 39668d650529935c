// An answer of 1,000 tokens at 200 a second, through every kind of bad network, on each transport: it ends with the
// exact text, and the events that a subscription is given fit together without a hole or a repeat.
import assert from 'node:assert/strict';
import test, { describe } from 'node:test';
import { WebSocket } from 'ws';
import { connect } from '../dist/index.js';
import { answer, textOf } from './kit/answer.mjs';
import { Broker } from './kit/broker.mjs';
import { Proxy } from './kit/proxy.mjs';
import { until } from './kit/wait.mjs';

const TOPIC = '/chat/1';
const COUNT = 1000;
const WORDS = { cut: (p) => p.cut(), reset: (p) => p.reset(), stall: (p) => p.stall(), delay: (p) => p.delay(150) };
// silence is found within a second here, so that a stall does not take the test a minute
const timeouts = { open: 1500, silence: 1200, wait: 1000 };

describe('bad networks, in Node', { concurrency: 4 }, () => {
  for (const transport of ['websocket', 'sse', 'poll']) {
    for (const [name, harm] of Object.entries(WORDS)) {
      test(`${transport}, ${name}: the exact text`, { timeout: 60_000 }, async (t) => {
        const broker = await Broker.start(t, { args: ['--limits-ping-interval', '400ms', '--limits-sse-heartbeat', '400ms'] });
        const proxy = await Proxy.start(t, broker.port);
        const statuses = [];
        const client = connect({ url: proxy.url, WebSocket, transports: [transport], timeouts, onStatus: (s) => statuses.push(s) });
        t.after(() => client.close());
        const messages = client.messages(TOPIC);
        const events = [];
        const subscription = client.subscribe(TOPIC, { coalesceMs: 0, from: 'start', onEvent: (event) => events.push(event) });
        await until('both lines', () => statuses.filter((s) => s.state === 'connected').length >= 2);
        await answer(broker, TOPIC, 'm', {
          count: COUNT,
          at: (n) => void ([200, 450, 700].includes(n) && harm(proxy)),
        });
        await until('the end', () => messages.current[0]?.state === 'completed');
        assert.equal(messages.current[0].text, textOf(COUNT));
        await until('the end of the events', () => events.at(-1)?.type === 'message.completed');
        const seqs = events.filter((event) => event.seq).map((event) => event.seq);
        assert.deepEqual(seqs, Array.from({ length: COUNT + 1 }, (_, n) => n + 1), 'each event once, in order');
        assert.match(subscription.positions[TOPIC], /:1001$/);
        if (name !== 'delay') assert.ok(statuses.some((s) => s.state === 'waiting' && s.error), 'the cut was told');
      });
    }
  }
});

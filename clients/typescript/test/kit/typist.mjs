// A real agent that types an answer of many tokens at a rate, with numbered steps in between.
import { WebSocket } from 'ws';
import { setTimeout as pause } from 'node:timers/promises';
import { connectAgent } from '../../dist/agent.js';
import { textOf, word } from './answer.mjs';

/** After how many tokens an event that is no token comes. */
const STEP = 50;

/**
 * Types `count` tokens at `rate` a second into `topic`: resolves to the text when all of it is in the log. `at` has, by
 * the number of a token, what is to happen then, one after the other; where that fails, so does this. The `last` tokens
 * come when all of that has happened, however long it took.
 */
export function typed(t, broker, topic, { count = 1000, rate = 200, at = {}, last = 0, id } = {}) {
  return new Promise((resolve, reject) => {
    let happened = Promise.resolve();
    const happen = (n) => {
      if (!at[n]) return;
      // what breaks the network does not hold up who types
      happened = happened.then(() => at[n]());
      happened.catch(reject);
    };
    const ends = () => happened;
    const typing = type(t, broker, topic, { count, rate, last, id, happen, ends });
    typing.then(() => happened).then(() => resolve(textOf(count)), reject);
  });
}

async function type(t, broker, topic, { count, rate, last, id, happen, ends }) {
  const agent = connectAgent({ url: broker.url, producer: `typist${topic}`, token: broker.token, WebSocket });
  t.after(() => agent.close().catch(() => {}));
  const message = await agent.message(topic, { id, role: 'assistant' });
  const begun = performance.now();
  for (let n = 0; n < count; n += 1) {
    if (n === count - last) await ends();
    await message.delta(word(n));
    if (n % STEP === 0) await agent.publish(topic, { type: 'app.step', data: n });
    happen(n);
    const wait = begun + (n * 1000) / rate - performance.now();
    if (wait > 1) await pause(wait);
  }
  await message.complete({ finish_reason: 'stop' });
  await agent.close();
}

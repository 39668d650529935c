// An answer of many tokens, published by a real agent of another kind (plain HTTP), at a rate.
import { setTimeout as pause } from 'node:timers/promises';

/** Word `n` of an answer: of several lengths, with characters of several bytes. */
export const word = (n) => `${['wörd', 'a', '🌊', 'longer-word'][n % 4]}${n} `;
export const textOf = (count) => Array.from({ length: count }, (_, n) => word(n)).join('');

/** Publishes `count` tokens at `rate` a second as message `id`; calls `at` with each number. */
export async function answer(broker, topic, id, { count = 1000, rate = 200, at = () => {} } = {}) {
  const begun = performance.now();
  const step = Math.max(1, Math.round(rate / 100));
  for (let n = 0; n < count; n += step) {
    const events = [];
    for (let i = n; i < Math.min(n + step, count); i += 1) {
      events.push({ type: 'token.delta', data: { message_id: id, text: word(i) } });
    }
    await broker.publish(topic, ...events);
    await at(n);
    const wait = begun + ((n + step) * 1000) / rate - performance.now();
    if (wait > 1) await pause(wait);
  }
  await broker.publish(topic, { type: 'message.completed', data: { message_id: id, finish_reason: 'stop' } });
  return textOf(count);
}

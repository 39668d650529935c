// An agent with nothing but `fetch` that counts: { topic, n } into several topics in turn, each n once and in order,
// also while its broker is away. And what a reader who was cut off has to have of it.

import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';

import { BOUND_MS, POLL_MS, until } from '../../browser/kit/until.js';

const REST_MS = 25;   // between two publishes
/** Positions are saved each second, and written down a quarter of a second later; the rest is for a busy machine. */
const MAY_REPEAT_MS = 1_000 + 250 + 500;
/** A reader may have an event so long before its publisher has the answer. */
const ON_ITS_WAY_MS = 1_000;

export function startNumbers(url, topics) {
  const published = new Map(topics.map((topic) => [topic, []]));   // topic → when each was acknowledged
  let stopped = false;

  const work = (async () => {
    for (let turn = 0; !stopped; turn += 1) {
      const topic = topics[turn % topics.length];
      const times = published.get(topic);
      await publishOnce(url, topic, times.length + 1, () => stopped);
      times.push(performance.now());
      await pause(REST_MS);
    }
  })();
  work.catch(() => {}); // told to whoever waits

  const last = (topic) => published.get(topic).length;
  const count = () => topics.reduce((sum, topic) => sum + last(topic), 0);
  const reach = (what, enough) => Promise.race([until(`${what}; ${count()} are published`, enough), work.then(() => assert.ok(enough(), what))]);
  return {
    published,
    last,
    count,
    /** Until so many more are acknowledged than now. */
    more(events) {
      const sum = count() + events;
      return reach(`${events} more events`, () => count() >= sum);
    },
    /** Until it has been publishing for so long: so that there is something older than what may repeat. */
    since: (ms) => reach(`events over ${ms} ms`, () => topics.every((topic) => performance.now() - published.get(topic)[0] > ms)),
    async stop() { stopped = true; await work; },
  };
}

/** Again and again until it is acknowledged. The event's id makes it one event, however often it was heard. */
async function publishOnce(url, topic, n, isStopped) {
  const body = JSON.stringify({ topic, events: [{ type: 'event', data: { topic, n }, id: `${topic}-${n}` }] });
  const deadline = performance.now() + BOUND_MS;
  for (;;) {
    let why;
    try {
      const response = await fetch(`${url}/v1/publish`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body,
        signal: AbortSignal.timeout(BOUND_MS),
      });
      why = await response.text();
      if (response.ok) return;
      if (response.status !== 503) throw new Error(`publishing: ${response.status} ${why}`);
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;   // fetch's own word for a broker that is away
      why = error.cause?.message ?? error.message;
    }
    if (performance.now() > deadline || isStopped()) throw new Error(`event ${n} of ${topic} was not taken: ${why}`);
    await pause(POLL_MS);
  }
}

/**
 * Nothing is missed and the order holds: each event is the next one, but for at most one step back for each cut, to
 * what was published in the last second before it.
 */
export function assertNothingMissed(events, published, cuts) {
  for (const [topic, times] of published) {
    const seen = events.filter((event) => event.topic === topic).map(({ n }) => n);
    let newest = 0, previous = 0, steps = 0;
    for (const [at, n] of seen.entries()) {
      if (n !== previous + 1) {
        const where = `${topic}: ${n} follows ${previous} at place ${at} of ${seen.length}`;
        assert.ok(n <= previous, `${where}: something is missing`);
        steps += 1;
        assert.ok(cuts.length > 0, `${where}: that is a repeat`);
        const cut = cuts.find((time) => time + ON_ITS_WAY_MS >= times[previous - 1]) ?? cuts.at(-1);
        const age = Math.round(cut - times[n - 1]);
        assert.ok(age <= MAY_REPEAT_MS, `${where}, and that was published ${age} ms before the cut`);
      }
      previous = n;
      newest = Math.max(newest, n);
    }
    assert.ok(steps <= cuts.length, `${topic}: ${steps} steps back for ${cuts.length} cuts`);
    assert.equal(newest, times.length, `${topic}: all up to the last`);
    assert.equal(previous, newest, `${topic}: the last one is the newest`);
  }
  const strangers = events.filter((event) => !published.has(event.topic));
  assert.deepEqual(strangers, [], 'nothing else');
}

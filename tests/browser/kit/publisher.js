// An agent with nothing but `fetch`: numbered events into several topics until it is told to stop.

import { setTimeout as pause } from 'node:timers/promises';

import { BOUND_MS, until } from './until.js';

const REST_MS = 10;   // between two publishes: about what several agents at work publish
// what a line-based format could stumble over
const AWKWARD = ['plain', 'zwölf Boxkämpfer\r\njagen\nViktor\r', 'data: x\n\nid: 9\nevent: tidewire.reset\n\n', '波が来る 🌊👩‍👩‍👧\u2028\u0000', '"\\"\t</script>', ''];

/** Types that the events have; a page with a native EventSource has to name them. */
export const TYPES = ['note.added', 'message.started', 'token.delta', 'message.completed'];

export function startPublisher(url, topics) {
  const acknowledged = new Map(topics.map((topic) => [topic, []]));   // topic → [{ seq, type, data }]
  const counts = new Map(topics.map((topic) => [topic, 0]));
  let stopped = false;

  const work = (async () => {
    for (let round = 0; !stopped; round += 1) {
      const bodies = topics.map((topic) => ({ topic, events: batch(topic, round) }));
      const response = await fetch(`${url}/v1/publish`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(bodies),
        signal: AbortSignal.timeout(BOUND_MS),
      });
      if (!response.ok) throw new Error(`publishing: ${response.status} ${await response.text()}`);
      const results = await response.json();
      results.forEach((result, at) => {
        const { topic, events } = bodies[at];
        if (result.last_seq - result.first_seq + 1 !== events.length) throw new Error(`an odd answer: ${JSON.stringify(result)}`);
        acknowledged.get(topic).push(...events.map((event, n) => ({ seq: result.first_seq + n, ...event })));
      });
      await pause(REST_MS);
    }
  })();
  work.catch(() => {}); // told to whoever waits

  /** One to four events; every tenth round a message is written beside the notes. */
  function batch(topic, round) {
    const n = () => { counts.set(topic, counts.get(topic) + 1); return counts.get(topic); };
    const text = AWKWARD[round % AWKWARD.length];
    const message_id = `m-${Math.floor(round / 10)}`;
    const note = () => ({ type: 'note.added', data: { n: n(), text } });
    switch (round % 10) {
      case 3: return [note(), { type: 'message.started', data: { message_id, n: n() } }];
      case 4: case 5: case 6: return [{ type: 'token.delta', data: { message_id, text, n: n() } }, note(), note()];
      case 7: return [{ type: 'message.completed', data: { message_id, n: n() } }];
      default: return Array.from({ length: 1 + (round % 3) }, note);
    }
  }

  const count = () => [...acknowledged.values()].reduce((sum, events) => sum + events.length, 0);
  return {
    acknowledged,
    count,
    /** Until so many more events are acknowledged than now. */
    more(events) {
      const enough = count() + events;
      return Promise.race([until(`${events} more events published`, () => count() >= enough), work]);
    },
    async stop() { stopped = true; await work; },
  };
}

// Waiting for a thing instead of for a time: every wait has a bound and says what it waited for.

import { setTimeout as pause } from 'node:timers/promises';

export const BOUND_MS = 30_000;
export const POLL_MS = 20;

/** Asks until the answer is truthy, and gives it back. `what` may be a function, for the state at the end. */
export async function until(what, ask, boundMs = BOUND_MS) {
  const deadline = performance.now() + boundMs;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (performance.now() > deadline) {
      throw new Error(`not within ${boundMs} ms: ${typeof what === 'function' ? await what() : what}`);
    }
    await pause(POLL_MS);
  }
}

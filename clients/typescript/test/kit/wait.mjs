// Waiting for a condition, with a bound.
import assert from 'node:assert/strict';

/** Until `reached` is true; fails after `bound` milliseconds, saying what it waited for. */
export async function until(what, reached, bound = 15_000) {
  const end = Date.now() + bound;
  for (;;) {
    const value = await reached();
    if (value) return value;
    assert.ok(Date.now() < end, `waited ${bound} ms for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

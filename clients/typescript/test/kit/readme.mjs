// The quick starts of the README, as they are written.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

const WRITTEN = 'http://127.0.0.1:7070';

/** The first block of code under a heading; only the address is that of the test's broker. */
export function quickStart(heading, url) {
  const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
  const found = readme.split(`## ${heading}`)[1]?.match(/```(?:js|ts)\n([\s\S]*?)```/)?.[1];
  assert.ok(found?.includes(WRITTEN), `the README has no code under "${heading}"`);
  return found.replaceAll(WRITTEN, url);
}

// Which transport is next: what an application left out is never used, and all lines of a client go by the same.
import assert from 'node:assert/strict';
import test from 'node:test';
import { Choice, TRY_UPWARD } from '../dist/choose.js';

test('upward within what the application chose', () => {
  const streams = new Choice(['sse', 'poll'], 0, 'poll');
  assert.equal(streams.upward(TRY_UPWARD), true);
  assert.equal(streams.tried(true, TRY_UPWARD), true);
  assert.equal(streams.next(), 'sse');
  const noStreams = new Choice(['websocket', 'poll'], 0, 'poll');
  assert.equal(noStreams.tried(false, TRY_UPWARD), false, 'what was tried beside and failed is not tried instead');
  assert.equal(noStreams.next(), 'poll');
});

test('a line follows another one that went upward', () => {
  const choice = new Choice(['websocket', 'sse', 'poll'], 0, 'sse');
  assert.equal(choice.behind('sse'), false);
  choice.tried(true, TRY_UPWARD);
  assert.equal(choice.behind('sse'), false, 'it has to work first');
  choice.worked('websocket', TRY_UPWARD);
  assert.equal(choice.behind('sse'), true);
  assert.equal(choice.behind('websocket'), false);
});

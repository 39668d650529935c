// Publishing a few events over HTTP: what a page says to an agent.
//
// Invariant: each event has an id, so that an answer that got lost can be asked for again and the event is in the
// log once. An agent that streams uses `tidewire/agent`.
import type { Backoff } from './backoff.js';
import { asError, RetryableError, TerminalError } from './errors.js';
import type { NewEvent } from './events.js';
import type { HttpPublished } from './schema.js';
import { randomId } from './random.js';
import type { Tokens } from './tokens.js';
import type { LineSettings } from './transports/line.js';
import { post } from './transports/post.js';

/** How long a publish is tried for, in milliseconds. */
const PATIENCE = 30_000;

export interface PublishSettings extends Omit<LineSettings, 'token'> {
  tokens: Tokens;
}

/** `backoff`: a fresh one, for the waits between attempts. */
export async function publish(s: PublishSettings, backoff: Backoff, topic: string, events: NewEvent[]): Promise<HttpPublished> {
  const { tokens } = s;
  const body = { topic, events: events.map((event) => ({ ...event, id: event.id ?? randomId() })) };
  const until = Date.now() + PATIENCE;
  for (;;) {
    const token = await tokens.current();
    try {
      const left = Math.max(until - Date.now(), 1);
      const late = new AbortController();
      const timer = setTimeout(() => late.abort(new RetryableError('timeout', 'the broker did not answer')), left);
      try {
        return await (await post({ ...s, token }, 'v1/publish', body, late.signal)).json();
      } finally {
        clearTimeout(timer);
      }
    } catch (thrown) {
      const error = asError(thrown, 'cut');
      if (error.code === 'unauthenticated') tokens.refuse(token, error);
      else if (error instanceof TerminalError) throw error;
      if (error.retryAfterMs !== undefined) backoff.told(error.retryAfterMs);
      const wait = backoff.next(Math.random());
      if (Date.now() + wait >= until) throw error;
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }
}

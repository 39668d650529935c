// The events of some topics, as an async iterator or by callback.
//
// Invariants:
// - events come in the order of their topic, each once; a position counts when all events of its step were handed
//   over, and the iterator was asked for the next one (or the callback returned);
// - an iterator that is not asked costs bounded memory: beyond `QUEUE_EVENTS` or `QUEUE_CHARS` its topics are left,
//   and read on from where the queue ends when half of it is taken. Nothing is dropped;
// - a callback that throws is reported to the console and changes nothing.
import { TerminalError, type TidewireError } from './errors.js';
import type { TopicEvent } from './events.js';
import type { Link, Sink } from './link.js';
import { formatPosition, type Position } from './position.js';
import type { Reading } from './reading.js';

/** Events that wait for the iterator. */
export const QUEUE_EVENTS = 10_000;
/** Characters of frames that wait for the iterator. */
export const QUEUE_CHARS = 8 << 20;

export interface Hooks {
  join(reading: Reading, sink: Sink): Link;
  /** The application has everything up to this position. */
  keep(topic: string, position: Position): void;
}

interface Step {
  topic: string;
  events: TopicEvent[];
  position: Position | undefined;
  size: number;
}

/** Who is told of events. A callback that throws is reported to the console and changes nothing. */
export interface Callbacks {
  /** Called with each event, in order. Without it the subscription is an async iterator. */
  onEvent?: (event: TopicEvent) => void;
  /** Called once, when nothing is read any more because of an error. */
  onError?: (error: TidewireError) => void;
}

/** Calls the application; what it throws is its own. */
export function call<T>(callback: ((value: T) => void) | undefined, value: T): void {
  try {
    callback?.(value);
  } catch (error) {
    console.error('tidewire: a callback threw', error);
  }
}

/** The events of some topics, in the order of each: an async iterator, unless `onEvent` is given. */
export class Subscription implements Sink, AsyncIterable<TopicEvent> {
  #links = new Map<Reading, Link | undefined>();
  #queue: Step[] = [];
  #taken = 0;
  #events = 0;
  #chars = 0;
  #suspended = false;
  #over = false;
  #error: TidewireError | undefined;
  #wake: (() => void) | undefined;
  readonly #positions = new Map<string, Position>();
  readonly #hooks: Hooks;
  readonly #callbacks: Callbacks;

  /** @internal */
  constructor(readings: Reading[], hooks: Hooks, callbacks: Callbacks) {
    this.#hooks = hooks;
    this.#callbacks = callbacks;
    for (const reading of readings) this.#links.set(reading, hooks.join(reading, this));
  }

  /** The positions up to which the application has everything: a `from` for a later subscription. */
  get positions(): Record<string, string> {
    return Object.fromEntries([...this.#positions].map(([topic, at]) => [topic, formatPosition(at)]));
  }

  /** Ends it. The iterator is done, and no callback is called any more. */
  close(): void {
    this.#over = true;
    this.#queue = [];
    for (const [reading, link] of this.#links) link?.remove(reading);
    this.#links.clear();
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<TopicEvent, void, undefined> {
    if (this.#callbacks.onEvent) throw new TerminalError('has_callback', 'iterate, or give onEvent');
    try {
      for (;;) {
        const step = this.#queue[0];
        if (!step) {
          if (this.#error) throw this.#error;
          if (this.#over) return;
          await new Promise<void>((resolve) => (this.#wake = resolve));
          continue;
        }
        const event = step.events[this.#taken];
        if (event) {
          this.#taken += 1;
          yield event;
          continue;
        }
        this.#taken = 0;
        this.#queue.shift();
        this.#settle(step);
      }
    } finally {
      this.close();
    }
  }

  /** @internal */
  events(topic: string, events: TopicEvent[], position: Position | undefined, size: number): void {
    this.#take({ topic, events, position, size });
  }

  /** @internal */
  ended(topic: string, why: TidewireError): void {
    for (const reading of this.#links.keys()) if (reading.topic === topic) this.#links.delete(reading);
    if (this.#over) return;
    if (this.#links.size > 0) {
      const event = { type: 'tidewire.ended', topic, code: why.code, reason: why.message };
      return this.#take({ topic, events: [event], position: undefined, size: 0 });
    }
    this.#over = true;
    this.#error = why;
    call(this.#callbacks.onError, why);
    this.#wake?.();
  }

  #take(step: Step): void {
    if (this.#over) return;
    this.#events += step.events.length;
    this.#chars += step.size;
    if (this.#callbacks.onEvent) {
      for (const event of step.events) this.#over || call(this.#callbacks.onEvent, event);
      return this.#settle(step);
    }
    this.#queue.push(step);
    this.#wake?.();
    if (!this.#suspended && (this.#events > QUEUE_EVENTS || this.#chars > QUEUE_CHARS)) {
      this.#suspended = true;
      for (const [reading, link] of this.#links) link?.remove(reading);
    }
  }

  /** All of a step was handed over. */
  #settle({ topic, events, position, size }: Step): void {
    this.#events -= events.length;
    this.#chars -= size;
    if (position) {
      this.#positions.set(topic, position);
      this.#hooks.keep(topic, position);
    }
    if (this.#suspended && !this.#over && this.#events <= QUEUE_EVENTS / 2 && this.#chars <= QUEUE_CHARS / 2) {
      this.#suspended = false;
      for (const reading of this.#links.keys()) this.#links.set(reading, this.#hooks.join(reading, this));
    }
  }
}

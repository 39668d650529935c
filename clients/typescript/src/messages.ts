// The messages of one topic as they grow, for something that shows them.
//
// Invariants: at most one update per animation frame, however many events come; an update shows the present state
// and nothing in between, so a slow reader of the iterator misses states and never text.
import type { TidewireError } from './errors.js';
import type { TopicEvent } from './events.js';
import { Fold, type Message } from './fold.js';
import type { Link, Sink } from './link.js';
import { formatPosition, type Position } from './position.js';
import type { Reading } from './reading.js';
import { call, type Hooks } from './subscription.js';

/** Where there are no animation frames: how long updates gather, in milliseconds. */
const FRAME = 16;
/** A page that is not shown has no animation frames; it is brought up to date all the same, in milliseconds. */
const HIDDEN = 250;

/** Who is told of messages. A callback that throws is reported to the console and changes nothing. */
export interface MessagesCallbacks {
  /** Called with all messages of the topic, at most once per animation frame. */
  onChange?: (messages: readonly Message[]) => void;
  /** Called with each event as it is read, for what is no message: tools, navigation, `tidewire.gap`, `tidewire.reset`. */
  onEvent?: (event: TopicEvent) => void;
  /** Called once, when nothing is read any more because of an error. */
  onError?: (error: TidewireError) => void;
}

/** The messages of a topic as they grow: an async iterator of all of them, whenever one has changed. */
export class Messages implements Sink, AsyncIterable<readonly Message[]> {
  #fold = new Fold();
  #current: readonly Message[] = [];
  #error: TidewireError | undefined;
  #over = false;
  #scheduled = false;
  #wasLive = false;
  #version = 0;
  #waiting = new Set<() => void>();
  readonly #reading: Reading;
  readonly #link: Link;
  readonly #hooks: Hooks;
  readonly #callbacks: MessagesCallbacks;

  /** @internal */
  constructor(reading: Reading, hooks: Hooks, callbacks: MessagesCallbacks) {
    this.#reading = reading;
    this.#hooks = hooks;
    this.#callbacks = callbacks;
    this.#link = hooks.join(reading, this);
  }

  /** All messages as they were shown last, in order of first appearance. Those that did not change are the same objects. */
  get current(): readonly Message[] {
    return this.#current;
  }

  /** Why nothing comes any more. */
  get error(): TidewireError | undefined {
    return this.#error;
  }

  /**
   * Whether everything that the topic had when the line was opened has been read: false while the past is loaded, and
   * while the line is down. `onChange` tells when it becomes true.
   */
  get live(): boolean {
    return this.#reading.live;
  }

  /** The position up to which everything was read: a `from` for later. */
  get position(): string | undefined {
    const { position } = this.#reading;
    return position && formatPosition(position);
  }

  /** Ends it. Iterators are done, and no callback is called any more. */
  close(): void {
    this.#over = true;
    this.#link.remove(this.#reading);
    this.#tell();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<readonly Message[], void, undefined> {
    let seen = 0;
    for (;;) {
      if (this.#version > seen) {
        seen = this.#version;
        yield this.#current;
      } else if (this.#error) throw this.#error;
      else if (this.#over) return;
      else await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
  }

  /** @internal */
  events(topic: string, events: any[], position: Position | undefined): void {
    let changed = this.live !== this.#wasLive;
    this.#wasLive = this.live;
    for (const event of events) {
      changed = this.#fold.apply(event) || changed;
      if (!this.#over) call(this.#callbacks.onEvent, event);
    }
    if (position && !position.partial) changed = this.#fold.whole() || changed;
    if (position) this.#hooks.keep(topic, position);
    if (changed) this.#schedule();
  }

  /** @internal */
  ended(_topic: string, why: TidewireError): void {
    if (this.#over) return;
    this.#over = true;
    this.#show();
    this.#error = why;
    call(this.#callbacks.onError, why);
    this.#tell();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    const show = () => {
      clearTimeout(timer);
      if (this.#scheduled && !this.#over) this.#show();
    };
    const frames = globalThis.requestAnimationFrame as typeof requestAnimationFrame | undefined;
    const timer = setTimeout(show, frames ? HIDDEN : FRAME);
    frames?.(show);
  }

  #show(): void {
    this.#scheduled = false;
    this.#current = this.#fold.messages();
    this.#version += 1;
    call(this.#callbacks.onChange, this.#current);
    this.#tell();
  }

  #tell(): void {
    const waiting = this.#waiting;
    this.#waiting = new Set();
    waiting.forEach((resolve) => resolve());
  }
}

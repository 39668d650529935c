// A client of one broker: what an application holds.
import { Backoff } from './backoff.js';
import { Choice, type Transport } from './choose.js';
import { TerminalError } from './errors.js';
import type { NewEvent } from './events.js';
import { Link, type LinkSettings, type ReadOptions, type Sink, type Status } from './link.js';
import { Messages, type MessagesCallbacks } from './messages.js';
import { formatPosition, parsePosition } from './position.js';
import { Reading } from './reading.js';
import type { HttpPublished } from './schema.js';
import { Memory, type Store } from './storage.js';
import { call, Subscription, type Callbacks, type Hooks } from './subscription.js';
import { Tokens, type GetToken } from './tokens.js';
import type { Timeouts, WebSocketConstructor } from './transports/line.js';
import { http } from './transports/load.js';
import { onWake } from './wake.js';

/** Where the broker is, who connects, and how. */
export interface ConnectOptions {
  /** Where the broker is: `https://chat.example.com`, with a path if a proxy serves it under one. */
  url: string;
  /** A token or API key that does not change. */
  token?: string;
  /** Brings a token; asked again before it ends and when the broker refused it. */
  getToken?: GetToken;
  /** Default: that of the platform. Node 20 has none: without it, reading goes over server-sent events. */
  WebSocket?: WebSocketConstructor;
  /** Default: that of the platform. */
  fetch?: typeof fetch;
  /** Which transports to use, from the best to the worst. Default: `['websocket', 'sse', 'poll']`. */
  transports?: Transport[];
  /** `sessionStorage`, so that a page that is loaded again goes on where it was. */
  storage?: Store;
  /** Default: 5 s to open, 40 s of silence, 25 s of waiting, 30 s for the first connection. */
  timeouts?: Partial<Timeouts>;
  /** Told of everything that happens to the connection. */
  onStatus?: (status: Status) => void;
}

/** What to read of topics, and how. */
export interface SubscribeOptions extends Callbacks {
  /**
   * `snapshot` (default: what is open, then what comes), `live`, `start`, `last:N` or a position; one for all, or one
   * for each topic. A position that `storage` has for the topic comes first.
   */
  from?: string | Record<string, string>;
  /** How to catch up: `raw` (default: every event) or `compact` (what the text costs). */
  replay?: 'raw' | 'compact';
  /** How long token deltas gather before they come as one, in milliseconds. Default: 40; 0: each by itself. */
  coalesceMs?: number;
  /** Which types to read, such as `['message.*', 'token.delta']`. Default: all. */
  types?: string[];
}

/** From where messages are read, and who is told of them. */
export interface MessagesOptions extends MessagesCallbacks {
  /** Default: `start`, all that is kept. */
  from?: string;
  /** How long token deltas gather before they come as one, in milliseconds. Default: 40; 0: each by itself. */
  coalesceMs?: number;
}

export const TIMEOUTS: Timeouts = { open: 5_000, silence: 40_000, wait: 25_000, firstConnect: 30_000 };
const TOPIC = /^(\/(?!\.\.?(\/|$))[\w.:~-]{1,128}){1,8}$/;

/** Makes a client. It connects when something is read. */
export function connect(options: ConnectOptions): Client {
  return new Client(options);
}

/** The address with a slash at its end. */
export function baseOf(url: string): string {
  const found = /^(?:http|ws)(s?:\/\/[^/?#@]+(?:\/[^?#]*)?)$/.exec(url);
  if (!found) throw new TerminalError('invalid_url', `\`${url}\` is no address: write https://HOST or http://HOST:PORT`);
  return `http${found[1]}`.replace(/\/*$/, '/');
}

/**
 * A client of one broker. It connects when something is read, comes back by itself with the positions it had, and
 * changes the transport where one is blocked.
 */
export class Client {
  #links: Link[] = [];
  readonly #memory: Memory;
  readonly #settings: LinkSettings;
  #lines = 0;
  readonly #WebSocket: WebSocketConstructor | undefined;
  #resume: (() => void) | undefined;
  readonly #closed = new AbortController();
  /** What was opened and not closed. */
  readonly #open = new Set<{ close(): void }>();

  /** @internal */
  constructor(options: ConnectOptions) {
    const base = baseOf(options.url);
    this.#memory = new Memory(options.storage, base);
    this.#WebSocket = options.WebSocket ?? globalThis.WebSocket;
    this.#settings = {
      base,
      tokens: new Tokens(options.token, options.getToken),
      choice: this.#choice(options.transports, this.#memory.get('transport')),
      timeouts: { ...TIMEOUTS, ...options.timeouts },
      fetch: options.fetch,
      WebSocket: this.#WebSocket,
      paused: undefined,
      status: (status) => call(options.onStatus, status),
    };
    onWake(() => this.wake(), this.#closed.signal);
  }

  /** Reads topics. Iterate over it, or give `onEvent`. */
  subscribe(topics: string | string[], options: SubscribeOptions = {}): Subscription {
    const { from = 'snapshot', replay, coalesceMs = 40, types } = options;
    const readings = [...new Set([topics].flat())].map((topic) => {
      const begin = typeof from === 'string' ? from : (from[topic] ?? 'snapshot');
      return this.#reading(topic, begin, types);
    });
    return this.#opened(new Subscription(readings, this.#hooks({ replay, coalesceMs, types }), options));
  }

  /** The messages of a topic as they grow: iterate over it, or give `onChange`. */
  messages(topic: string, options: MessagesOptions = {}): Messages {
    const { from = 'start', coalesceMs = 40 } = options;
    const hooks = this.#hooks({ replay: 'begin', coalesceMs });
    // from the start on everything is read again, so there is nothing to go on from
    const whole = from === 'start';
    const reading = whole ? new Reading(checked(topic), from) : this.#reading(topic, from);
    return this.#opened(new Messages(reading, whole ? { ...hooks, keep() {} } : hooks, options));
  }

  /** Publishes events, each once however often it has to be sent. An agent that streams uses `tidewire/agent`. */
  async publish(topic: string, events: NewEvent | NewEvent[]): Promise<HttpPublished> {
    const { publish } = await http();
    return publish(this.#settings, new Backoff(), topic, [events].flat());
  }

  /** Asks the agents of a topic to stop: the one that writes `messageId`, or all. */
  cancel(topic: string, messageId?: string, more?: object): Promise<HttpPublished> {
    return this.publish(topic, { type: 'run.cancel', data: { ...more, message_id: messageId } });
  }

  /** Tells the agents of a topic something while they work; `data` is between you and them. */
  steer(topic: string, data: object): Promise<HttpPublished> {
    return this.publish(topic, { type: 'run.steer', data });
  }

  /** Answers an agent that asked; `data` is between you and it. */
  approve(topic: string, data: object): Promise<HttpPublished> {
    return this.publish(topic, { type: 'run.approve', data });
  }

  /** Time may have passed unnoticed, or the network may be back: called by itself in browsers. */
  wake(): void {
    for (const link of this.#links) link.wake();
  }

  /**
   * Leaves the broker and keeps what was read, until `resume`: for a page that nobody looks at, or a person who wants no
   * traffic. What is published goes out all the same.
   */
  pause(): void {
    this.#settings.paused ??= new Promise((resolve) => (this.#resume = resolve));
    this.#leave();
  }

  /** Goes on where reading stood. */
  resume(): void {
    this.#settings.paused = undefined;
    this.#resume?.();
  }

  /** Reads over these transports from here on, as the option `transports` says: for a setting that people can change. */
  use(transports: Transport[]): void {
    this.#settings.choice = this.#choice(transports);
    this.#leave();
  }

  /** Ends everything. */
  close(): void {
    this.resume();
    for (const open of this.#open) open.close();
    this.#open.clear();
    this.#closed.abort();
  }

  #leave(): void {
    for (const link of this.#links) link.leave();
  }

  #choice(wanted: Transport[] = ['websocket', 'sse', 'poll'], remembered?: string | null): Choice {
    const transports = wanted.filter((transport) => transport !== 'websocket' || this.#WebSocket);
    if (transports.length === 0) {
      throw new TerminalError('websocket_missing', 'pass a WebSocket, as that of the package `ws`');
    }
    return new Choice(transports, Date.now(), remembered, (found) => this.#memory.set('transport', found));
  }

  #opened<T extends { close(): void }>(reader: T): T {
    // what was closed by itself since then is not held
    this.#open.add(reader);
    return reader;
  }

  #reading(topic: string, from: string, types?: string[]): Reading {
    const kept = parsePosition(this.#memory.get(key(checked(topic), types)));
    // the text went with the page: open messages are owed whole
    return new Reading(topic, kept ? formatPosition({ ...kept, partial: true }) : from);
  }

  #hooks(options: ReadOptions): Hooks {
    return {
      join: (reading, sink) => this.#join(reading, sink, options),
      keep: (topic, position) => this.#memory.set(key(topic, options.types), formatPosition(position)),
    };
  }

  /** One line carries all that is read with the same options; a topic that is read twice has a line for each. */
  #join(reading: Reading, sink: Sink, options: ReadOptions): Link {
    this.#links = this.#links.filter((link) => !link.idle);
    const same = JSON.stringify(options);
    let link = this.#links.find((one) => one.takes(reading.topic) && JSON.stringify(one.options) === same);
    if (!link) this.#links.push((link = new Link(this.#settings, options, ++this.#lines)));
    link.add(reading, sink);
    return link;
  }
}

function checked(topic: string): string {
  if (TOPIC.test(topic)) return topic;
  throw new TerminalError('invalid_topic', `\`${topic}\` is no topic such as /chat/42`);
}

function key(topic: string, types: string[] | undefined): string {
  return types ? `${topic} ${types}` : topic;
}

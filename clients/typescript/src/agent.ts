// What `import … from 'tidewire/agent'` gives: publishing for a process that streams.
//
// An agent attaches under its producer id: the broker holds its messages for a lease while it is gone, replaces older
// runs of it, and passes on what clients say to it.
import { DEFAULT_LEASE } from './attachment.js';
import { baseOf, TIMEOUTS, type ConnectOptions } from './client.js';
import type { Command } from './control.js';
import { RetryableError, TerminalError, type TidewireError } from './errors.js';
import type { NewEvent } from './events.js';
import { messageOf, type Outgoing } from './outgoing.js';
import { Publisher } from './publisher.js';
import { randomId } from './random.js';
import type { TypesTextKind } from './schema.js';
import { call } from './subscription.js';
import { Tokens } from './tokens.js';
import { BOUNDS, type Bounds, type Loss } from './window.js';

/** Calls of `publish` that may wait for room. One more is told `buffer_full` instead: await them. */
export const WAITING = 10_000;

/** Where the broker is, who publishes, and who is told of what. */
export interface AgentOptions extends Omit<ConnectOptions, 'transports' | 'storage'> {
  /** The agent's name. A newer run of the same name replaces this one. */
  producer: string;
  /** How long it may be gone before its open messages are ended for it, in milliseconds: 1,000 to 600,000. Default: 15,000. */
  leaseMs?: number;
  /** How much may be published and not acknowledged. Default: 100,000 events, 8 MiB. */
  bounds?: Bounds;
  /**
   * A client said something: `run.cancel`, `run.steer`, `run.approve`, … When it returns, the broker need not keep the
   * command for others; false leaves it to them.
   */
  onCommand?: (command: Command) => boolean | void;
  /** Events that can never be published (their message was ended for this agent, they are too large, …). */
  onRefused?: (error: TidewireError, topic: string, events: NewEvent[]) => void;
  /** The broker lost something, and what was done about it. */
  onLoss?: (topic: string, loss: Loss) => void;
}

/** How a message begins. All but `onCancel` stands in its `message.started`. */
export interface StartOptions {
  /** Default: a random one. */
  id?: string;
  /** Such as `assistant`. */
  role?: string;
  /** Which agent writes it, for those who read. */
  agent?: string;
  /** The message that it answers. */
  parent_id?: string;
  /** Anything of yours. */
  metadata?: unknown;
  /** A client asked to stop this message. `message.signal` is aborted as well. */
  onCancel?: (command: Command) => void;
}

/** Makes an agent, which connects and attaches at once. */
export function connectAgent(options: AgentOptions): Agent {
  return new Agent(options);
}

/** An agent that is attached to a broker: it publishes in order, each event once, and hears what clients say. */
export class Agent {
  readonly #publisher: Publisher;
  readonly #messages = new Map<string, AgentMessage>();
  readonly #options: AgentOptions;
  #waiters: (() => void)[] = [];
  /** Publishes that wait for room, in order, by topic. */
  #queues = new Map<string, Promise<void>>();
  #waiting = 0;
  #refused: TidewireError | undefined;
  #closed = false;

  /** @internal */
  constructor(options: AgentOptions) {
    this.#options = options;
    const WebSocket = options.WebSocket ?? globalThis.WebSocket;
    if (!WebSocket) {
      throw new TerminalError('websocket_missing', 'this platform has no WebSocket: pass one, as in `import { WebSocket } from "ws"`');
    }
    this.#publisher = new Publisher(options.producer, options.leaseMs ?? DEFAULT_LEASE, {
      base: baseOf(options.url),
      tokens: new Tokens(options.token, options.getToken),
      timeouts: { ...TIMEOUTS, ...options.timeouts },
      fetch: options.fetch,
      WebSocket,
      bounds: options.bounds ?? BOUNDS,
      status: (status) => call(options.onStatus, status),
      loss: (topic, loss) => call(() => options.onLoss?.(topic, loss), undefined),
      command: (command) => this.#command(command),
      refused: (topic, events, error) => this.#onRefused(topic, events, error),
      progress: () => this.#progress(),
    });
  }

  /** The number of this run, once it is attached. */
  get epoch(): number | undefined {
    return this.#publisher.epoch;
  }

  /** How many read a topic that this agent writes to, as the broker said last. */
  readers(topic: string): number | undefined {
    return this.#publisher.readers.get(topic);
  }

  /** Resolves when the broker has let this agent in. */
  ready(): Promise<void> {
    return this.#until(() => this.#publisher.attached);
  }

  /** Begins to write to a topic before anything is published: commands for it come from here on. */
  listen(topic: string): void {
    this.#publisher.window(topic);
  }

  /** Begins a message: `message.started`, then what is said to it. */
  async message(topic: string, options: StartOptions = {}): Promise<AgentMessage> {
    const { id = randomId(), onCancel, ...members } = options;
    const message = new AgentMessage(this, topic, id, onCancel);
    this.#messages.set(`${topic} ${id}`, message);
    await this.publish(topic, { type: 'message.started', data: { message_id: id, ...members } });
    return message;
  }

  /**
   * Hands an event over. Resolves at once while the buffer has room and when it has again otherwise; that it is in
   * the log is what `flush` waits for. Rejects when it can never be published.
   */
  async publish(topic: string, event: NewEvent): Promise<void> {
    const before = this.#queues.get(topic);
    if (!before && this.tryPublish(topic, event)) return;
    if (this.#waiting >= WAITING) {
      throw new RetryableError('buffer_full', 'too many publishes wait for room: await each of them');
    }
    this.#waiting += 1;
    const turn = (before ?? Promise.resolve()).catch(() => {}).then(async () => {
      await this.#until(() => this.#publisher.window(topic).hasRoom());
      this.#publisher.push(topic, event);
    });
    const mine = turn.finally(() => {
      this.#waiting -= 1;
      if (this.#queues.get(topic) === mine) this.#queues.delete(topic);
    });
    this.#queues.set(topic, mine);
    return mine;
  }

  /** Hands an event over if the buffer has room; false: it has none, and nothing was taken. */
  tryPublish(topic: string, event: NewEvent): boolean {
    this.#check();
    if (!this.#publisher.window(topic).hasRoom() || this.#queues.has(topic)) return false;
    this.#publisher.push(topic, event);
    return true;
  }

  /** Waits until everything is in the log. Rejects if something was refused that nobody was told of. */
  async flush(): Promise<void> {
    await Promise.all(this.#queues.values());
    await this.#until(() => this.#publisher.empty);
    const refused = this.#refused;
    this.#refused = undefined;
    if (refused) throw refused;
  }

  /** Waits until everything is in the log, and leaves. */
  async close(): Promise<void> {
    try {
      await this.flush();
    } finally {
      this.#closed = true;
      this.#publisher.close();
      this.#progress();
    }
  }

  /** @internal */
  forget(topic: string, id: string): void {
    this.#messages.delete(`${topic} ${id}`);
  }

  #check(): void {
    if (this.#publisher.failed) throw this.#publisher.failed;
    if (this.#closed) throw new TerminalError('closed', 'the agent was closed; connect another one');
  }

  async #until(reached: () => boolean): Promise<void> {
    for (;;) {
      this.#check();
      if (reached()) return;
      await new Promise<void>((resolve) => this.#waiters.push(resolve));
    }
  }

  #progress(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const wake of waiters) wake();
    const { failed } = this.#publisher;
    if (failed) for (const message of this.#messages.values()) message.stop(failed);
  }

  #command(command: Command): void {
    const { topic, type, data } = command;
    const id = data?.message_id;
    const meant = [...this.#messages.values()].filter((one) => one.topic === topic && (id === undefined || one.id === id));
    let dealt = false;
    if (type === 'run.cancel') {
      for (const message of meant) message.cancel(command);
      dealt = meant.length > 0;
    }
    try {
      const answer = this.#options.onCommand?.(command);
      dealt ||= this.#options.onCommand !== undefined && answer !== false;
    } catch (error) {
      console.error('tidewire: a callback has thrown', error);
    }
    if (dealt) this.#publisher.acknowledge(command);
  }

  #onRefused(topic: string, events: Outgoing[], error: TidewireError): void {
    for (const id of new Set(events.map(messageOf))) this.#messages.get(`${topic} ${id}`)?.stop(error);
    if (!this.#options.onRefused) this.#refused ??= error;
    const plain = events.map(({ type, data, id }) => ({ type, data, id }) as NewEvent);
    call(() => this.#options.onRefused?.(error, topic, plain), undefined);
  }
}

/** One answer that is being written. End it with `complete` or `interrupt`. */
export class AgentMessage {
  /** Why nothing can be written to it any more, if the broker ended it. */
  error: TidewireError | undefined;
  readonly #agent: Agent;
  readonly #abort = new AbortController();
  readonly #onCancel: ((command: Command) => void) | undefined;

  /** @internal */
  constructor(
    agent: Agent,
    /** Where it is written. */
    readonly topic: string,
    /** Its `message_id`. */
    readonly id: string,
    onCancel: ((command: Command) => void) | undefined,
  ) {
    this.#agent = agent;
    this.#onCancel = onCancel;
  }

  /** Aborted when a client asks to stop, or when the broker ended the message: give it to whatever makes the tokens. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Adds to the text; await it, so that a full buffer slows down whoever makes the tokens. */
  delta(text: string, more: { kind?: TypesTextKind; part?: number } = {}): Promise<void> {
    return this.#publish('token.delta', { text, ...more });
  }

  /** The answer is complete. `text`, if given, is all of it and replaces what the deltas said. */
  complete(more: { text?: string; finish_reason?: string; usage?: any } = {}): Promise<void> {
    return this.#end('message.completed', more);
  }

  /** It ends before it was complete: `cancelled`, `error`, or a reason of your own. */
  interrupt(reason: string, more: object = {}): Promise<void> {
    return this.#end('message.interrupted', { ...more, reason });
  }

  /** @internal */
  cancel(command: Command): void {
    this.#abort.abort(new TerminalError('cancelled', 'a client asked to stop'));
    call(this.#onCancel, command);
  }

  /** @internal */
  stop(error: TidewireError): void {
    this.error ??= error;
    this.#abort.abort(error);
    this.#agent.forget(this.topic, this.id);
  }

  #end(type: string, data: object): Promise<void> {
    this.#agent.forget(this.topic, this.id);
    return this.#publish(type, data);
  }

  async #publish(type: string, data: object): Promise<void> {
    if (this.error) throw this.error;
    await this.#agent.publish(this.topic, { type, data: { message_id: this.id, ...data } });
  }
}

export type { Command } from './control.js';
export { RetryableError, TerminalError, TidewireError } from './errors.js';
export type { Bounds, Loss } from './window.js';

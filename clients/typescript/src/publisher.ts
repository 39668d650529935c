// Publishing to topics in order, without loss and without doubling: the I/O around `window`, `attachment` and
// `control`, over one connection that comes back by itself.
//
// Invariants: every window publishes in the epoch that the agent is attached with; a window whose numbers changed
// goes on over a new connection, which takes over from the old one, so nothing numbered before can arrive after; what
// is refused for good is told (`refused`), and what was to come behind it goes on.
import { Claim, CLAIM_ID, MAX_TOPICS } from './attachment.js';
import { Backoff } from './backoff.js';
import { ControlInbox, type Command } from './control.js';
import { problem } from './problems.js';
import { asError, RetryableError, TerminalError, type TidewireError } from './errors.js';
import type { Status } from './link.js';
import type { Outgoing } from './outgoing.js';
import type { FramesServer } from './schema.js';
import type { Tokens } from './tokens.js';
import type { LineSettings } from './transports/line.js';
import { openWebSocket, type WebSocketLine } from './transports/websocket.js';
import { Window, type Bounds, type Loss } from './window.js';

/** So that a short cut does not cost the lease. */
const RETRIES_IN_A_LEASE = 4;
/** Refusals that are about what was published and not about who publishes. */
const ABOUT_EVENTS = /^(message_ended|message_owned|invalid_event|reserved_type|too_large|too_many_events|too_many_open_messages|id_conflict)$/;

export interface PublisherSettings extends Omit<LineSettings, 'token'> {
  tokens: Tokens;
  bounds: Bounds;
  status(status: Status): void;
  loss(topic: string, loss: Loss): void;
  command(command: Command): void;
  /** These can never be published. */
  refused(topic: string, events: Outgoing[], error: TidewireError): void;
  /** Something was acknowledged, attached or failed. */
  progress(): void;
}

export class Publisher {
  failed: TidewireError | undefined;
  attached = false;
  readonly readers = new Map<string, number>();
  #windows = new Map<string, Window>();
  #inbox = new ControlInbox();
  #line: WebSocketLine | undefined;
  #limits: object = {};
  #timer: ReturnType<typeof setTimeout> | undefined;
  #closing = false;
  #wake: (() => void) | undefined;
  readonly #claim: Claim;
  readonly #backoff: Backoff;
  readonly #settings: PublisherSettings;

  constructor(producer: string, leaseMs: number, settings: PublisherSettings) {
    this.#settings = settings;
    this.#claim = new Claim(producer, leaseMs);
    this.#backoff = new Backoff(leaseMs / RETRIES_IN_A_LEASE);
    void this.#run();
  }

  /** The run of the agent, once it is attached. */
  get epoch(): number | undefined {
    return this.#claim.epoch;
  }

  get empty(): boolean {
    return [...this.#windows.values()].every((window) => window.outstanding === 0);
  }

  window(topic: string): Window {
    let window = this.#windows.get(topic);
    if (window) return window;
    if (this.#windows.size >= MAX_TOPICS) {
      throw new TerminalError('too_many_topics', `an agent writes to ${MAX_TOPICS} topics at most; begin another one`);
    }
    window = new Window(topic, { id: this.#claim.producer, epoch: this.#claim.epoch ?? 1 }, this.#settings.bounds);
    this.#windows.set(topic, window);
    if (this.attached) {
      this.#line?.send(this.#claim.frame([topic]));
      window.assign(this.#claim.epoch!);
      window.onConnected(this.#limits);
    }
    return window;
  }

  push(topic: string, event: { type: string; data?: any; id?: string }): void {
    this.window(topic).push(event, Date.now());
    this.#send();
  }

  acknowledge(command: Command): void {
    const ack = this.#inbox.acknowledge(command);
    if (ack) this.#line?.send(ack);
  }

  /** Says good-bye. What is outstanding is abandoned. */
  close(): void {
    this.#closing = true;
    this.#wake?.();
    this.#line?.close(new RetryableError('closed', 'the agent was closed'));
  }

  async #run(): Promise<void> {
    const begun = Date.now();
    let once = false;
    while (!this.#closing) {
      let token: string | undefined;
      let error: TidewireError;
      try {
        this.#settings.status({ state: 'connecting', transport: 'websocket' });
        token = await this.#settings.tokens.current();
        this.#line = await openWebSocket({ ...this.#settings, token }, (frame) => this.#take(frame));
        this.#line.send(this.#claim.frame([...this.#windows.keys()]));
        const end = this.#renewals();
        error = await this.#line.ended.finally(end);
      } catch (thrown) {
        error = asError(thrown);
      }
      once ||= this.attached;
      this.#disconnected();
      if (this.#closing) break;
      try {
        if (error.code === 'unauthenticated') this.#settings.tokens.refuse(token, error);
        else if (error instanceof TerminalError) throw error;
        const late = Date.now() - begun > this.#settings.timeouts.firstConnect;
        if (!once && late) throw error;
      } catch (final) {
        this.failed = asError(final);
        this.#settings.progress();
        break;
      }
      if (error.code === 'renumbered') continue;
      if (error.code === 'disagreement') this.#backoff.disagreed();
      if (error.retryAfterMs !== undefined) this.#backoff.told(error.retryAfterMs);
      const retryInMs = this.#backoff.next(Math.random());
      this.#settings.status({ state: 'waiting', transport: 'websocket', error, retryInMs });
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, retryInMs);
        this.#wake = () => (clearTimeout(timer), resolve());
      });
    }
    this.#settings.status({ state: 'closed', error: this.failed });
  }

  #disconnected(): void {
    clearTimeout(this.#timer);
    this.#line = undefined;
    this.attached = false;
    this.#inbox.onDisconnected();
    for (const window of this.#windows.values()) window.onDisconnected();
  }

  /** Renews the token while the line is open; the answer ends that. */
  #renewals(): () => void {
    const { tokens } = this.#settings;
    let timer: ReturnType<typeof setTimeout>;
    let over = false;
    const next = (least: number) => {
      if (over || tokens.renewAt === Infinity) return;
      timer = setTimeout(renew, Math.min(Math.max(tokens.renewAt - Date.now(), least), 1 << 30));
    };
    const renew = async () => {
      const token = await tokens.renew().catch(() => undefined);
      if (!over && token !== undefined) this.#line?.send({ op: 'refresh', id: 'refresh', token });
      next(1_000);
    };
    next(0);
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }

  /** Sends what is due, and comes back when something else will be. */
  #send(): void {
    clearTimeout(this.#timer);
    if (!this.#line || !this.attached) return;
    let wake = Infinity;
    for (const [at, window] of [...this.#windows.values()].entries()) {
      for (let frame: any; (frame = window.nextFrame(Date.now())); ) {
        // one connection carries several windows, each with numbers of its own
        this.#line.send({ ...frame, id: `${at}.${frame.id}` });
      }
      wake = Math.min(wake, window.nextWake() ?? Infinity);
    }
    if (wake !== Infinity) this.#timer = setTimeout(() => this.#send(), Math.max(wake - Date.now(), 1));
  }

  #take(frame: FramesServer): void {
    if (frame.op === 'welcome') this.#limits = frame.limits;
    else if (frame.op === 'attached') this.#onAttached(frame);
    else if (frame.op === 'published' || frame.op === 'error') this.#onAnswer(frame);
    else if (frame.op === 'draining') this.#backoff.told(frame.reconnect_after_ms);
    else if (frame.op === 'demand') this.readers.set(frame.topic, frame.readers);
    else if (frame.op === 'control') {
      const { commands, repeated } = this.#inbox.onFrame(frame);
      for (const ack of repeated) this.#line?.send(ack);
      for (const command of commands) this.#settings.command(command);
    }
  }

  #onAttached(frame: FramesServer & { op: 'attached' }): void {
    const epoch = this.#claim.onAttached(frame);
    this.#settings.tokens.worked();
    if (this.attached) return;
    this.attached = true;
    for (const window of this.#windows.values()) {
      window.assign(epoch);
      window.onConnected(this.#limits);
    }
    this.#settings.status({ state: 'connected', transport: 'websocket' });
    this.#settings.progress();
    this.#send();
  }

  #onAnswer(frame: FramesServer & { op: 'published' | 'error' }): void {
    const error = frame.op === 'error' ? problem(frame) : undefined;
    const [window, attempt] = this.#addressed(frame.id);
    if (!window) {
      // a token that was not taken: the old rights hold on, and the end of them is told by a close
      if (error && (frame.id === undefined || frame.id === CLAIM_ID)) throw error;
      return;
    }
    const answer = { ...(frame as any), id: attempt };
    let settled = frame.op === 'published' ? window.onPublished(answer) : window.onRefused(answer, Date.now());
    if (settled === 'failed') {
      if (!ABOUT_EVENTS.test(answer.code)) throw error;
      const events = window.discard(answer);
      if (events.length > 0) this.#settings.refused(window.topic, events, error!);
      settled = { progress: true, renumbered: false };
    }
    if (settled.progress) this.#backoff.worked();
    if (settled.loss) this.#settings.loss(window.topic, settled.loss);
    if (settled.renumbered) throw new RetryableError('renumbered', 'the broker lost what it knew; this agent attaches again');
    this.#send();
    if (settled.progress) this.#settings.progress();
  }

  /** Windows are never taken out, so their order names them. */
  #addressed(id: unknown): [Window | undefined, number] {
    const [, at, attempt] = /^(\d+)\.(\d+)$/.exec(String(id)) ?? [];
    return [[...this.#windows.values()][Number(at)], Number(attempt)];
  }
}

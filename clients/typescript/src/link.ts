// One line to the broker for several topics, which comes back by itself with their positions.
//
// Invariants:
// - each topic is read once per link, with the options of the link;
// - what arrives is handed out in order, and only from the line that is open now; a topic's frames count only after
//   the `subscribed` of that line;
// - nobody's callback can end it: what a sink throws is its own affair (`Sink` does not throw);
// - a terminal error is told to every sink and ends the link; a retryable one is told as a status, and the link
//   comes back after a full-jitter wait, with other tokens or transports where those were what failed.
//
// Bounds: `MAX_TOPICS` topics; a sink that cannot take more leaves the link and comes back with its position.
import { Backoff } from './backoff.js';
import type { Choice, Transport } from './choose.js';
import { problem } from './problems.js';
import { asError, RetryableError, TerminalError, TidewireError } from './errors.js';
import type { Position } from './position.js';
import type { Reading } from './reading.js';
import type { FramesServer } from './schema.js';
import type { Tokens } from './tokens.js';
import type { Line, LineSettings } from './transports/line.js';
import { http } from './transports/load.js';
import type { Moved, Reader, Streams } from './transports/stream.js';
import { openWebSocket } from './transports/websocket.js';

/** As many as a stream of server-sent events takes. */
export const MAX_TOPICS = 100;
/** Before a topic that was refused for a passing reason is asked for again, in milliseconds. */
const ASK_AGAIN = 1_000;
/** How often tokens and transports are looked after, in milliseconds. */
const CHORES = 1_000;
/** A line that lived this long did what it is for, also where nothing was said, in milliseconds. */
const LIVED = 10_000;
/** Endings that another transport may not have. */
const TRANSPORT_FAULTS = /^(timeout|silent|cut|closed|unreachable|unavailable|disagreement)$/;
/** Topics that were added in one go are asked for in one go; for a stream that has to begin anew, in milliseconds. */
const GATHER = 5;

/** What is read of a topic, in order. None of it throws. */
export interface Sink {
  /**
   * The events of one step, or `tidewire.gap` or `tidewire.reset`; with all of them applied the reader stands at
   * `position`. `size` in characters.
   */
  events(topic: string, events: any[], position: Position | undefined, size: number): void;
  /** The topic is not read any more. */
  ended(topic: string, why: TidewireError): void;
}

export interface ReadOptions {
  /** `begin`: compact where nothing was read yet; what was missed since then comes as it is, and costs no more than that. */
  replay?: 'raw' | 'compact' | 'begin';
  coalesceMs: number;
  types?: string[];
}

/** What a client is doing about its connection. */
export interface Status {
  /** `waiting`: before the next attempt. `paused`: until `resume`. `closed`: nothing is read any more. */
  state: 'connecting' | 'connected' | 'waiting' | 'paused' | 'closed';
  /** Which line: what is read with different options has a line for each, and each tells its own. An agent has one. */
  line?: number;
  /** Which one is used or tried. */
  transport?: Transport;
  /** Why the line before ended. */
  error?: TidewireError;
  /** Milliseconds until the next attempt. */
  retryInMs?: number;
}

export interface LinkSettings extends Omit<LineSettings, 'token'> {
  tokens: Tokens;
  choice: Choice;
  /** Resolved when lines may be opened again. */
  paused: Promise<void> | undefined;
  status(status: Status): void;
}

/** Why a line ended that this side ends to open another at once, or none. */
const SWITCH = new RetryableError('switch', 'left');

interface Held extends Reading {
  sink: Sink;
}

export class Link {
  #readings = new Map<string, Held>();
  #line: Line | undefined;
  #transport: Transport = 'websocket';
  #running = false;
  #worked = false;
  /** The line in use, or the one that is being opened, has to go. */
  #leaving = false;
  #busy = false;
  #commands = 0;
  #wake: (() => void) | undefined;
  #gathering: ReturnType<typeof setTimeout> | undefined;
  #backoff = new Backoff();
  #begun = 0;
  #streams: Streams | undefined;
  #connectedOnce = false;

  constructor(
    readonly settings: LinkSettings,
    readonly options: ReadOptions,
    readonly number: number,
  ) {}

  takes(topic: string): boolean {
    return this.#readings.size < MAX_TOPICS && !this.#readings.has(topic);
  }

  get idle(): boolean {
    return this.#readings.size === 0;
  }

  /** Begins to read, or goes on where the reading stands. */
  add(reading: Reading, sink: Sink): void {
    reading.asked = reading.subscribed = false;
    this.#readings.set(reading.topic, Object.assign(reading, { sink }));
    if (!this.#running) void this.#run();
    else this.#askSoon(GATHER);
  }

  remove(reading: Reading): void {
    if (this.#readings.get(reading.topic) !== reading) return;
    this.#readings.delete(reading.topic);
    if (this.idle) this.leave();
    else if (this.#line?.send) this.#line.send({ op: 'unsubscribe', id: ++this.#commands, topic: reading.topic });
    else this.#askSoon(GATHER);
  }

  /** Time may have passed unnoticed, or the network may be back. */
  wake(): void {
    // an attempt that began before is not followed by a long wait
    this.#backoff.worked();
    this.#wake?.();
    this.#line?.check();
  }

  /** Gives up the line; where something is read, another one is opened as the settings say now. */
  leave(): void {
    this.#leaving = true;
    this.#wake?.();
    this.#line?.close(SWITCH);
  }

  async #run(): Promise<void> {
    this.#running = true;
    this.#begun = Date.now();
    // so that topics which are added in one go are asked for in one go
    await undefined;
    while (!this.idle) {
      const { choice, paused, tokens } = this.settings;
      if (paused) {
        this.#tell({ state: 'paused' });
        await paused;
        this.#begun = Date.now();
        continue;
      }
      const transport = choice.next();
      this.#worked = this.#leaving = false;
      let error: TidewireError;
      let token: string | undefined;
      try {
        this.#tell({ state: 'connecting', transport });
        token = await tokens.current();
        error = await this.#converse(transport, token);
      } catch (thrown) {
        error = asError(thrown);
      }
      this.#line = undefined;
      for (const reading of this.#readings.values()) reading.asked = reading.subscribed = false;
      if (this.idle || error === SWITCH) continue;
      try {
        await this.#recover(error, transport, token);
      } catch (final) {
        for (const topic of [...this.#readings.keys()]) this.#refuse(topic, final as TidewireError);
      }
    }
    this.#running = false;
    this.#tell({ state: 'closed' });
  }

  #tell(status: Status): void {
    this.settings.status({ ...status, line: this.number });
  }

  async #converse(transport: Transport, token: string | undefined): Promise<TidewireError> {
    const settings: LineSettings = { ...this.settings, token };
    this.#transport = transport;
    const line =
      transport === 'websocket'
        ? await openWebSocket(settings, (frame, size) => this.#onFrame(frame, size))
        : await (await this.#streamed()).open(transport, settings);
    this.#line = line;
    if (this.#leaving) line.close(SWITCH);
    if (line.send) this.#ask();
    else if (this.#missing().length) this.#askSoon(GATHER);
    const chores = setInterval(() => void this.#chores(line), CHORES);
    const opened = Date.now();
    try {
      return await line.ended;
    } finally {
      clearInterval(chores);
      if (Date.now() - opened > LIVED) this.#backoff.worked();
    }
  }

  async #streamed(): Promise<Streams> {
    const reader: Reader = {
      ask: () => this.#asked([...this.#readings.values()]),
      readings: this.#readings,
      frame: (frame, size) => this.#onFrame(frame, size),
      again: () => this.#askSoon(0),
    };
    return (this.#streams ??= new (await http()).Streams(reader));
  }

  /** Now and then: renews the token, and tries better transports beside the line in use. */
  async #chores(line: Line): Promise<void> {
    const { tokens, choice } = this.settings;
    if (this.#busy) return;
    this.#busy = true;
    try {
      if (Date.now() >= tokens.renewAt) {
        const token = await tokens.renew();
        if (line !== this.#line) return;
        if (line.send) line.send({ op: 'refresh', id: ++this.#commands, token });
        else line.close(SWITCH);
      }
      if (choice.upward(Date.now())) {
        // a better stream can only be tried by using it
        const works = choice.transports[0] !== 'websocket' || (await this.#tryWebSocket());
        if (choice.tried(works, Date.now()) && line === this.#line) line.close(SWITCH);
      } else if (choice.behind(this.#transport)) line.close(SWITCH);
    } catch {
      // no token could be had: the next time, or when the broker asks for it
    } finally {
      this.#busy = false;
    }
  }

  /** Whether one can be opened. */
  async #tryWebSocket(): Promise<boolean> {
    const trial = openWebSocket({ ...this.settings, token: await this.settings.tokens.current() }, () => {});
    return trial.then((tried) => (tried.close(SWITCH), true), () => false);
  }

  /** After a line ended: whatever may make the next one better. Throws what ends the link. */
  async #recover(error: TidewireError, transport: Transport, token: string | undefined): Promise<void> {
    const { tokens, choice } = this.settings;
    if (error.topic && error instanceof TerminalError && this.#readings.has(error.topic)) {
      // a stream is refused whole for the sake of one topic
      return this.#refuse(error.topic, error);
    }
    if (error.code === 'unauthenticated') {
      tokens.refuse(token, error);
      if (this.#worked) return;
    } else if (error instanceof TerminalError) throw error;
    else if (error.code === 'out_of_step' || error.code === 'disagreement') this.#backoff.disagreed();
    // a stream that stalls after its beginning is held back, too
    const suspect = !this.#worked || (transport === 'sse' && error.code === 'silent');
    if (suspect && TRANSPORT_FAULTS.test(error.code)) {
      if (choice.failed(transport, error.code !== 'unreachable', Date.now())) return;
    }
    // without a network nothing is tried, so nothing has failed
    const offline = (globalThis.navigator as Navigator | undefined)?.onLine === false;
    const isPatient = this.#connectedOnce || offline;
    const left = isPatient ? Infinity : this.#begun + this.settings.timeouts.firstConnect - Date.now();
    if (left <= 0) throw error;
    if (error.retryAfterMs !== undefined) this.#backoff.told(error.retryAfterMs);
    const wait = this.#backoff.next(Math.random());
    this.#tell({ state: 'waiting', transport, error, retryInMs: wait });
    await this.#sleep(Math.min(wait, left));
  }

  #sleep(wait: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, wait);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #refuse(topic: string, error: TidewireError): void {
    const held = this.#readings.get(topic);
    this.#readings.delete(topic);
    // nobody would close the line of a link that nothing is read over
    if (this.idle) this.leave();
    held?.sink.ended(topic, error);
  }

  #missing(): Reading[] {
    return [...this.#readings.values()].filter((reading) => !reading.asked);
  }

  #askSoon(wait: number): void {
    this.#gathering ??= setTimeout(() => {
      this.#gathering = undefined;
      if (this.#line?.send) this.#ask();
      // the topics of a stream are those of its request
      else this.#line?.close(SWITCH);
    }, wait);
  }

  /** Asks for every topic that is not read on this line. */
  #ask(): void {
    const missing = this.#missing();
    if (missing.length) this.#line?.send?.({ op: 'subscribe', id: ++this.#commands, ...this.#asked(missing) });
  }

  #asked(readings: Reading[]) {
    const { replay, coalesceMs, types } = this.options;
    const isNew = readings.some((reading) => !reading.position);
    const topics = readings.map((reading) => {
      reading.asked = true;
      return { topic: reading.topic, from: reading.from() };
    });
    return { topics, replay: replay !== 'begin' ? replay : isNew ? 'compact' : 'raw', coalesce_ms: coalesceMs, types };
  }

  #works(): void {
    this.settings.choice.worked(this.#transport, Date.now());
    this.settings.tokens.worked();
    if (!this.#worked) this.#tell({ state: 'connected', transport: this.#transport });
    this.#worked = this.#connectedOnce = true;
    http().catch(() => {});
  }

  #onFrame(frame: FramesServer | Moved, size: number): void {
    if (this.#leaving) throw SWITCH;
    if (frame.op === 'draining') return this.#backoff.told(frame.reconnect_after_ms);
    if (frame.op === 'error') return this.#onError(frame);
    if (!('topic' in frame)) return;
    const { topic } = frame as { topic: string };
    const reading = this.#readings.get(topic);
    if (!reading) return;
    const { sink } = reading;
    if (frame.op === 'subscribed') {
      this.#works();
      const { position, head } = frame as { position?: string | null; head?: number };
      reading.onSubscribed(position, head);
      // where it begins is worth keeping before anything comes
      sink.events(topic, [], reading.position, 0);
    } else if (!reading.subscribed) return;
    else if (frame.op === 'events') {
      const position = reading.onEvents(frame);
      this.#backoff.worked();
      for (const event of frame.events as any[]) event.topic = topic;
      sink.events(topic, frame.events, position, size);
    } else if (frame.op === 'moved') {
      this.#backoff.worked();
      sink.events(topic, frame.events, reading.onMoved(frame.position), size);
    } else if (frame.op === 'gap' || frame.op === 'reset') {
      const { op, ...loss } = frame;
      const position = frame.op === 'gap' ? reading.onGap(frame) : reading.onReset(frame);
      sink.events(topic, [{ ...loss, type: `tidewire.${op}` }], position, size);
    } else if (frame.op === 'unsubscribed' && 'code' in frame) {
      this.#refuse(topic, new TerminalError(frame.code ?? 'unsubscribed', frame.reason ?? '', undefined, topic));
    }
  }

  #onError(frame: FramesServer & { op: 'error' }): void {
    const error = problem(frame);
    if (!frame.topic) {
      // an answer to one frame (a token that was not taken: the old rights hold on) is no end
      if (frame.id === undefined) throw error;
    } else if (error instanceof TerminalError) this.#refuse(frame.topic, error);
    else {
      const reading = this.#readings.get(frame.topic);
      if (reading) reading.asked = false;
      this.#askSoon(error.retryAfterMs ?? ASK_AGAIN);
    }
  }
}

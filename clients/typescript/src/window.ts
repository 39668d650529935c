// A publisher's outstanding window: what has been handed over and is not acknowledged yet.
//
// Invariants:
// - events leave in the order in which they came, cut into publishes numbered by the producer's seq;
// - a publish that was sent once never changes, so repeating it is safe (promise 7);
// - a publish stays until its answer: after a cut, or after a refusal that passes, everything from the first
//   unanswered one on is sent again in order, with the same seqs;
// - an answer counts only for the latest attempt: earlier ones are settled by their repetition;
// - deltas are joined only before they are sent;
// - what somebody waits for leaves at once, whatever is on its way: a first delta (it came behind something else), and
//   any event that is no delta, with the deltas gathered before it. Further deltas gather for `GATHER`.
//
// When the broker does not know the producer any more (`producer_unknown`: its log is gone), the epoch rises, what it
// had acknowledged of open messages is told again (see `kept`), and everything is numbered anew from 1: readers, who
// saw a `reset`, end with the whole text. Where only some of what was acknowledged is gone (`producer_gap`), an
// attached producer keeps its epoch, because a raised one would end its own open messages (`replaced`), and goes on
// from the seq that the broker expects. Either way the driver goes on over a new connection, so that nothing numbered
// before can arrive after.
//
// Bounds: `Bounds` for what is outstanding (one event over, plus what is told again after a loss), `IN_FLIGHT_*` for
// what is on the wire at once. No clock: `now` is in milliseconds.
import { PASSING } from './problems.js';
import { Kept } from './kept.js';
import { divided, joined, messageOf, outgoing, wire, type Outgoing } from './outgoing.js';

/** How long further deltas are gathered while a publish is on its way, in milliseconds. */
export const GATHER = 20;
/** Publishes on the wire at once. */
export const IN_FLIGHT_PUBLISHES = 32;
/** Bytes on the wire at once (one publish may exceed it). */
export const IN_FLIGHT_BYTES = 512 << 10;
/** Bytes of events in one publish (one event may exceed it). */
export const PUBLISH_BYTES = 128 << 10;
/** JSON bytes of text in one delta. */
export const DELTA_BYTES = 32 << 10;
/** The wait after a refusal that passes and does not say for how long, in milliseconds. */
export const PAUSE = 500;

/** Who publishes. Its epoch fences older runs of itself. */
export interface Producer {
  id: string;
  epoch: number;
}

/** How much may be outstanding. */
export interface Bounds {
  /** How many events. */
  events: number;
  /** As encoded on the wire. */
  bytes: number;
}

export const BOUNDS: Bounds = { events: 100_000, bytes: 8 << 20 };

/** What the broker allows on a connection. */
export interface Limits {
  max_frame_bytes: number;
  max_event_bytes: number;
  max_batch_events: number;
  window_bytes: number;
}

const LIMITS: Limits = { max_frame_bytes: 1 << 20, max_event_bytes: 256 << 10, max_batch_events: 1000, window_bytes: 1 << 20 };

/**
 * What happened that a person may want to know. `forgotten`: the broker had forgotten; `bytes` of text are told again,
 * `missing` were not kept any more. `replaced`: the topic's log was replaced while this was writing; the end event
 * will carry the whole text.
 */
export type Loss = { kind: 'forgotten'; bytes: number; missing: number } | { kind: 'replaced' };

/** What an answer means to the driver. */
export interface Settled {
  /** Something was acknowledged: there may be room again. */
  progress: boolean;
  loss?: Loss;
  /** Everything has other numbers now; an attached producer attaches again before it goes on. */
  renumbered: boolean;
}

/** The answer to a publish that was refused. */
export interface Problem {
  id?: unknown;
  code: string;
  message?: string;
  retry_after_ms?: number;
  expected_seq?: number;
}

interface Publish {
  seq: number;
  /** The `id` of the frame that carried it last, if it is on the wire. */
  attempt: number | undefined;
  events: Outgoing[];
  bytes: number;
  /** It is acknowledged, and one before it is not (answers come in order; this bears it if not). */
  settled: boolean;
}

const NOTHING: Settled = { progress: false, renumbered: false };

export class Window {
  readonly producer: Producer;
  #attached = false;
  #limits = LIMITS;
  #kept: Kept;
  #connected = false;
  /** The life of the topic's log that the last answer was about. */
  #log: string | undefined;
  /** Not yet cut into a publish. */
  #gathered: Outgoing[] = [];
  #gatheredBytes = 0;
  #gatheredSince: number | undefined;
  /** Something that was gathered does not wait for `GATHER`. */
  #urgent = false;
  /** The event that was handed over last was a delta. */
  #afterDelta = false;
  #publishes: Publish[] = [];
  /** How many of `#publishes`, from the front, are on the wire. */
  #inFlight = 0;
  #nextSeq = 1;
  #nextAttempt = 1;
  #pausedUntil: number | undefined;

  /** `keep` bounds the acknowledged text of open messages that is held for a broker that forgets, in bytes. */
  constructor(
    readonly topic: string,
    producer: Producer,
    readonly bounds: Bounds = BOUNDS,
    keep: number = bounds.bytes,
  ) {
    this.producer = { ...producer };
    this.#kept = new Kept(keep);
  }

  /** The epoch that the broker answered an `attach` with. */
  assign(epoch: number): void {
    this.#attached = true;
    this.producer.epoch = epoch;
  }

  /** Events that are not acknowledged yet. */
  get outstanding(): number {
    return this.#gathered.length + this.#publishes.reduce((sum, publish) => sum + publish.events.length, 0);
  }

  hasRoom(): boolean {
    const bytes = this.#gatheredBytes + this.#publishes.reduce((sum, publish) => sum + publish.bytes, 0);
    return this.outstanding < this.bounds.events && bytes < this.bounds.bytes;
  }

  /** Takes an event over. The caller waits for `hasRoom` first. */
  push(event: { type: string; data?: any; id?: string }, now: number): void {
    this.#gatheredSince ??= now;
    const isDelta = event.type === 'token.delta';
    this.#urgent ||= !isDelta || !this.#afterDelta;
    this.#afterDelta = isDelta;
    for (const piece of divided(outgoing(event), this.#deltaBytes())) this.#gather(piece);
  }

  onConnected(limits: Partial<Limits> = {}): void {
    this.#connected = true;
    this.#limits = { ...LIMITS, ...limits };
  }

  /** Whatever was on the wire is sent again on the next connection. */
  onDisconnected(): void {
    this.#connected = false;
    this.#recallFrom(0);
  }

  /** The next frame to send now, if any. */
  nextFrame(now: number): object | undefined {
    if (this.#pausedUntil !== undefined && now < this.#pausedUntil) return undefined;
    this.#pausedUntil = undefined;
    if (!this.#connected || !this.#mayFly()) return undefined;
    while (this.#publishes[this.#inFlight]?.settled) this.#inFlight += 1;
    if (this.#inFlight === this.#publishes.length && !this.#cut(now)) return undefined;
    const publish = this.#publishes[this.#inFlight]!;
    publish.attempt = this.#nextAttempt;
    this.#nextAttempt += 1;
    this.#inFlight += 1;
    const producer = { ...this.producer, seq: publish.seq };
    return { op: 'publish', id: publish.attempt, topic: this.topic, events: publish.events.map(wire), producer };
  }

  /** When `nextFrame` may have something although nothing else happens. */
  nextWake(): number | undefined {
    if (!this.#connected) return undefined;
    if (this.#pausedUntil !== undefined) return this.#pausedUntil;
    const next = this.#gathered[0];
    // otherwise an answer comes first
    const goes = next && this.#mayFly() && !this.#mustBeAlone(next) && this.#gatheredSince !== undefined;
    return goes ? this.#gatheredSince! + GATHER : undefined;
  }

  onPublished(answer: { id?: unknown; epoch: string }): Settled {
    const at = this.#inFlightAs(answer.id);
    if (at < 0) return NOTHING;
    const replaced = this.#log !== undefined && this.#log !== answer.epoch && this.#kept.strand();
    this.#log = answer.epoch;
    this.#publishes[at]!.settled = true;
    while (this.#publishes[0]?.settled) {
      const { events } = this.#publishes.shift()!;
      this.#inFlight = Math.max(this.#inFlight - 1, 0);
      for (const event of events) this.#kept.acknowledged(event);
    }
    return { progress: at === 0, renumbered: false, ...(replaced && { loss: { kind: 'replaced' } }) };
  }

  /** A publish was refused. `failed`: no repetition mends it; the window stays as it is. */
  onRefused(problem: Problem, now: number): Settled | 'failed' {
    const at = this.#inFlightAs(problem.id);
    if (at < 0) return NOTHING;
    const { code, expected_seq: expected } = problem;
    const first = this.#publishes[0]?.seq ?? 1;
    if (PASSING.test(code) && code !== 'internal_error') {
      this.#recallFrom(at);
      this.#pausedUntil = Math.max(now + (problem.retry_after_ms ?? PAUSE), this.#pausedUntil ?? 0);
      return NOTHING;
    }
    const unknown = code === 'producer_unknown';
    if (!unknown && code !== 'producer_gap') return 'failed';
    if (at > 0) {
      // its fate hangs on those before it, which are not answered yet
      this.#recallFrom(at);
      return NOTHING;
    }
    if (unknown && first > 1) {
      const { events, bytes, missing } = this.#kept.restore();
      this.producer.epoch += 1;
      this.#numberAnew(1, events, now);
      this.#log = undefined;
      return { progress: false, renumbered: true, loss: { kind: 'forgotten', bytes, missing } };
    }
    if (!unknown && expected === first) {
      // one before it was refused when this arrived, and is acknowledged by now
      this.#recallFrom(0);
      this.#pausedUntil = now + GATHER;
      return NOTHING;
    }
    if (!unknown && expected !== undefined && expected < first) {
      // acknowledged publishes are missing from the log, though not all: what is there stays
      const stranded = this.#kept.strand();
      if (!this.#attached) this.producer.epoch += 1;
      this.#numberAnew(this.#attached ? expected : 1, [], now);
      return { progress: false, renumbered: true, ...(stranded && { loss: { kind: 'replaced' } }) };
    }
    return 'failed';
  }

  /**
   * After a refusal that no repetition mends: takes out what can never be published, and goes on with the rest. That
   * is the event at `index`, with all else of its message where the message is what is wrong; without an index the
   * whole publish. A refused publish used up no seq, and none behind it can have been kept, so they are numbered anew.
   */
  discard(problem: Problem & { index?: number }): Outgoing[] {
    const at = this.#inFlightAs(problem.id);
    if (at < 0) return [];
    const refused = this.#publishes[at]!;
    const event = problem.index === undefined ? undefined : refused.events[problem.index];
    const id = event && /^message_/.test(problem.code) ? messageOf(event) : undefined;
    const out: Outgoing[] = [];
    const stays = (one: Outgoing) => {
      const goes = one === event || (id !== undefined && messageOf(one) === id);
      if (goes) out.push(one);
      return !goes;
    };
    this.#recallFrom(at);
    const behind = this.#publishes.splice(at);
    if (!event) out.push(...behind.shift()!.events);
    this.#nextSeq = refused.seq;
    for (const { events } of behind) {
      const left = events.filter(stays);
      if (left.length === 0) continue;
      const bytes = left.reduce((sum, one) => sum + one.bytes, 0);
      this.#publishes.push({ seq: this.#nextSeq, attempt: undefined, events: left, bytes, settled: false });
      this.#nextSeq += 1;
    }
    this.#gathered = this.#gathered.filter(stays);
    this.#gatheredBytes = this.#gathered.reduce((sum, one) => sum + one.bytes, 0);
    this.#settleGathered();
    return out;
  }

  #deltaBytes(): number {
    // leave room for the message id (up to 128 characters) and the envelope
    return Math.max(Math.min(DELTA_BYTES, this.#limits.max_event_bytes - 2048), 64);
  }

  #gather(event: Outgoing): void {
    const last = this.#gathered.at(-1);
    const both = joined(last, event, this.#deltaBytes());
    if (both) this.#gathered[this.#gathered.length - 1] = both;
    else this.#gathered.push(event);
    this.#gatheredBytes += both ? both.bytes - last!.bytes : event.bytes;
  }

  /** Where nothing is gathered any more, nothing waits. */
  #settleGathered(): void {
    if (this.#gathered.length > 0) return;
    this.#gatheredSince = undefined;
    this.#urgent = false;
  }

  /** Another publish may be sent without waiting for an answer. */
  #mayFly(): boolean {
    let bytes = 0;
    for (let at = 0; at < this.#inFlight; at += 1) bytes += this.#publishes[at]!.bytes;
    return this.#inFlight < IN_FLIGHT_PUBLISHES && bytes < IN_FLIGHT_BYTES;
  }

  /**
   * Cuts the next publish off what was gathered: at once when nothing is on its way or something is urgent, otherwise
   * when it is full or has waited for `GATHER`.
   */
  #cut(now: number): boolean {
    const { max_frame_bytes, window_bytes, max_batch_events } = this.#limits;
    const waited = this.#gatheredSince !== undefined && now >= this.#gatheredSince + GATHER;
    const limit = Math.min(PUBLISH_BYTES, max_frame_bytes / 2, Math.max(window_bytes, 2) / 2);
    if (this.#inFlight > 0 && !waited && !this.#urgent && this.#gatheredBytes < limit) return false;
    const events: Outgoing[] = [];
    let bytes = 0;
    for (const next of this.#gathered) {
      const full = bytes + next.bytes > limit || events.length >= max_batch_events;
      if (full && events.length > 0) break;
      if (this.#mustBeAlone(next) && (this.#inFlight > 0 || events.length > 0)) break;
      this.#gatheredBytes -= next.bytes;
      const event = this.#completeAStranded(next);
      bytes += event.bytes;
      events.push(event);
    }
    if (events.length === 0) return false;
    this.#gathered.splice(0, events.length);
    this.#settleGathered();
    this.#publishes.push({ seq: this.#nextSeq, attempt: undefined, events, bytes, settled: false });
    this.#nextSeq += 1;
    return true;
  }

  /**
   * The end of a stranded message goes when everything before it is acknowledged: only then its whole text is known
   * to be complete.
   */
  #mustBeAlone(event: Outgoing): boolean {
    const id = event.type === 'message.completed' ? messageOf(event) : undefined;
    return id !== undefined && this.#kept.isStranded(id);
  }

  #completeAStranded(event: Outgoing): Outgoing {
    if (!this.#mustBeAlone(event) || 'text' in event.data) return event;
    const text = this.#kept.wholeText(messageOf(event)!);
    if (text === undefined) return event;
    const whole = outgoing({ ...event, data: { ...event.data, text } });
    // too long to be mended: readers keep what is in the new log
    return whole.bytes > this.#limits.max_event_bytes ? event : whole;
  }

  /** Which of the publishes on the wire an answer is about; −1: an attempt that no longer counts. */
  #inFlightAs(id: unknown): number {
    const at = id === undefined ? -1 : this.#publishes.findIndex((publish) => publish.attempt === id);
    return at < this.#inFlight ? at : -1;
  }

  /** From that publish on, all is sent again. */
  #recallFrom(at: number): void {
    this.#inFlight = at;
    for (const publish of this.#publishes.slice(at)) publish.attempt = undefined;
  }

  /** Starts at seq `first` with `before`, then all that is outstanding. */
  #numberAnew(first: number, before: Outgoing[], now: number): void {
    const events = [...before, ...this.#publishes.flatMap((publish) => publish.events), ...this.#gathered];
    this.#nextSeq = first;
    this.#inFlight = 0;
    this.#publishes = [];
    this.#gathered = [];
    this.#gatheredBytes = 0;
    for (const event of events) for (const piece of divided(event, this.#deltaBytes())) this.#gather(piece);
    this.#gatheredSince = now;
    this.#settleGathered();
  }
}

// Where the reading of one topic stands, and from where it goes on after a cut.
//
// Invariants: the position moves only by what the broker said about it, frame by frame as a whole; a frame that
// does not begin where this reading stands is refused (the connection is dropped and the topic read again from
// here), so nothing is skipped or taken twice unnoticed.
import { RetryableError } from './errors.js';
import { formatPosition, NOWHERE, parsePosition, type Position } from './position.js';
import type { FramesServerEvents, FramesServerGap, FramesServerReset } from './schema.js';

export class Reading {
  position: Position | undefined;
  /** Asked for on the present connection. To ask twice would be refused. */
  asked = false;
  /** Asked for on the present connection and answered. What comes before belongs to an older subscription. */
  subscribed = false;
  /** A server-sent event of a topic that was born on a stream of several topics: only the stream's cursor knows its epoch. */
  epochUnknown = false;
  readonly #from: string;

  /** `from`: `snapshot`, `live`, `start`, `last:N` or a position. */
  constructor(
    readonly topic: string,
    from: string,
  ) {
    this.#from = from;
    this.position = parsePosition(from);
  }

  /** The `from` of the next subscription. */
  from(): string {
    return this.position ? formatPosition(this.position) : this.#from;
  }

  /** The text is gone and the position is not (a page that was loaded again): open messages are owed whole. */
  reload(): void {
    if (this.position) this.position = { ...this.position, partial: true };
  }

  onSubscribed(position: string | null | undefined): void {
    this.subscribed = true;
    this.epochUnknown = false;
    // null: a reset follows, and until then the own position stands
    this.position = parsePosition(position) ?? this.position;
  }

  onEvents(frame: Pick<FramesServerEvents, 'epoch' | 'after' | 'upto' | 'partial'>): Position {
    const { epoch, after, upto } = frame;
    const held = this.position;
    // seq 0 matches any epoch: a topic's first life begins without a reset
    const follows = held && held.seq === after && (after === 0 || held.epoch === epoch);
    if (!follows || upto < after) throw this.#outOfStep(`events ${after}..${upto} of ${epoch}`);
    return (this.position = { epoch, seq: upto, partial: frame.partial === true });
  }

  onGap({ from, to }: Pick<FramesServerGap, 'from' | 'to'>): Position {
    const held = this.position;
    if (!held || from !== held.seq + 1 || to < from) throw this.#outOfStep(`a gap ${from}..${to}`);
    return (this.position = { epoch: held.epoch, seq: to, partial: true });
  }

  onReset({ epoch }: Pick<FramesServerReset, 'epoch'>): Position {
    this.epochUnknown = false;
    return (this.position = { epoch, seq: 0, partial: true });
  }

  /** A server-sent event. `id` counts where the stream has one topic; it is absent where resuming would lose something. */
  onBlock(event: { type: string; seq?: number }, id: string | undefined, alone: boolean): Position | undefined {
    const held = this.position;
    if (alone) this.position = parsePosition(id) ?? held;
    else if (held && event.seq !== undefined) {
      this.epochUnknown ||= held.epoch === NOWHERE;
      // a delta or a beginning comes only to a reader that lacks nothing (docs/protocol.md, section 17)
      const whole = event.type === 'token.delta' || event.type === 'message.started';
      this.position = { epoch: held.epoch, seq: event.seq, partial: held.partial && !whole };
    }
    return this.position;
  }

  /** `tidewire.position`. */
  onPosition(position: string): Position | undefined {
    return (this.position = parsePosition(position) ?? this.position);
  }

  #outOfStep(what: string): RetryableError {
    return new RetryableError('out_of_step', `${what} came, but ${this.topic} stands at ${this.from()}`);
  }
}

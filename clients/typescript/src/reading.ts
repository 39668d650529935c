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
  /** The seq of the topic's last event when it was asked for on the present connection. */
  #head = 0;
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

  /** Everything that there was at the beginning of the connection was read. */
  get live(): boolean {
    const held = this.position;
    return this.subscribed && !!held && held.seq >= this.#head && !(held.partial && this.#head > 0);
  }

  onSubscribed(position: string | null | undefined, head = 0): void {
    this.subscribed = true;
    this.#head = head;
    // null: a reset follows, and until then the own position stands
    this.position = parsePosition(position) ?? this.position;
  }

  onEvents(frame: Pick<FramesServerEvents, 'epoch' | 'after' | 'upto' | 'partial'>): Position {
    const { epoch, after, upto } = frame;
    const held = this.position;
    // seq 0 matches any epoch: a topic's first life begins without a reset
    const follows = held && held.seq === after && (after === 0 || held.epoch === epoch);
    if (!follows || upto < after) throw this.#outOfStep(after, epoch);
    return (this.position = { epoch, seq: upto, partial: frame.partial === true });
  }

  /** Said by a stream. Undefined: nothing to resume from. */
  onMoved(position: string | undefined): Position | undefined {
    const moved = parsePosition(position);
    this.position = moved ?? this.position;
    return this.isBorn ? undefined : moved;
  }

  /** The topic was born on a stream of several topics: in which epoch, only the stream's cursor knows. */
  get isBorn(): boolean {
    return this.position?.epoch === NOWHERE && this.position.seq > 0;
  }

  onGap({ from, to }: Pick<FramesServerGap, 'from' | 'to'>): Position {
    const held = this.position;
    if (!held || from !== held.seq + 1 || to < from) throw this.#outOfStep(from - 1);
    return (this.position = { epoch: held.epoch, seq: to, partial: true });
  }

  onReset({ epoch }: Pick<FramesServerReset, 'epoch'>): Position {
    return (this.position = { epoch, seq: 0, partial: true });
  }

  #outOfStep(after: number, epoch = ''): RetryableError {
    return new RetryableError('out_of_step', `${this.topic} stands at ${this.from()}, and what follows ${epoch}:${after} came`);
  }
}

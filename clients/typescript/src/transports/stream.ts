// Server-sent events, streamed or polled, as what a link understands: the frames of a WebSocket, and `moved`.
//
// Invariants:
// - a stream of one topic has positions as its ids; that of several has a cursor, which says nothing of a single topic,
//   so there the position of each topic moves with its events;
// - only the cursor and the beginning of a stream know the epoch of a topic that was born on a stream of several:
//   such a stream is asked for again with its cursor.
import type { Block } from '../blocks.js';
import { RetryableError } from '../errors.js';
import { problem } from '../problems.js';
import type { Reading } from '../reading.js';
import type { FramesServer } from '../schema.js';
import type { Asking, Line, LineSettings } from './line.js';
import { openPoll } from './poll.js';
import { openSse } from './sse.js';

/** Events of a stream, and where the topic stands with them. */
export interface Moved {
  op: 'moved';
  topic: string;
  events: any[];
  /** Absent where resuming from here would lose something. */
  position: string | undefined;
}

/** Who reads over streams. */
export interface Reader {
  /** What to ask for now: topics with their `from`, and the options. */
  ask(): { topics: object[] };
  readings: ReadonlyMap<string, Reading>;
  /** Throws: the line ends with that. */
  frame(frame: FramesServer | Moved, size: number): void;
  /** Ends the line, to ask again. */
  again(): void;
}

export class Streams implements Asking {
  /** Of the last block of a stream of several topics. */
  #cursor: string | undefined;
  #isAlone = false;
  #isPoll = false;
  readonly #reader: Reader;

  constructor(reader: Reader) {
    this.#reader = reader;
  }

  /** Opens a stream, or begins to poll. */
  open(transport: 'sse' | 'poll', settings: LineSettings): Promise<Line> {
    this.#isPoll = transport === 'poll';
    return this.#isPoll ? openPoll(settings, this) : openSse(settings, this);
  }

  body(): object {
    const asked = this.#reader.ask();
    this.#isAlone = asked.topics.length === 1;
    const born = [...this.#reader.readings.values()].some((reading) => reading.isBorn);
    return { ...asked, last_event_id: born ? this.#cursor : undefined };
  }

  block({ data, id }: Block, size: number): void {
    const [, own] = /^tidewire\.(.*)$/.exec(data.type) ?? [];
    if (own === 'ready') for (const topic of data.topics) this.#reader.frame({ ...topic, op: 'subscribed' }, 0);
    else if (own === 'expired') throw problem({ code: 'unauthenticated', message: data.reason });
    else if (own === 'draining') {
      throw new RetryableError('draining', 'the broker is draining', data.reconnect_after_ms);
    } else if (own === 'gap' || own === 'reset') this.#reader.frame({ ...data, op: own }, size);
    else this.#onEvent(data, id, size, own === 'position');
    if (!this.#isAlone && id) this.#cursor = id;
  }

  /** `onlyMoved`: the position moved without an event. */
  #onEvent(data: any, id: string | undefined, size: number, onlyMoved: boolean): void {
    const { topic, type, seq } = data;
    const reading = this.#reader.readings.get(topic);
    const held = reading?.position;
    let position = onlyMoved ? data.position : this.#isAlone ? id : undefined;
    if (!onlyMoved && !this.#isAlone && held && seq !== undefined) {
      // a delta or a beginning comes only to a reader that lacks nothing (docs/protocol.md, section 17)
      const isWhole = !held.partial || type === 'token.delta' || type === 'message.started';
      position = `${held.epoch}:${seq}${isWhole ? '' : '~'}`;
    }
    this.#reader.frame({ op: 'moved', topic, events: onlyMoved ? [] : [data], position }, size);
    // the next poll begins with the cursor by itself
    if (reading?.isBorn && !this.#isPoll) this.#reader.again();
  }
}

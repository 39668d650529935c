// Where the reading of one topic stands, and from where it goes on after a cut.
//
// Invariants: the position moves only by what the broker said about it, frame by frame as a whole; a frame that
// does not begin where this reading stands is refused (the connection is dropped and the topic read again from
// here), so nothing is skipped or taken twice unnoticed.
import { RetryableError } from './errors.js';
import { formatPosition, NOWHERE, parsePosition } from './position.js';
export class Reading {
    #from;
    /** `from`: `snapshot`, `live`, `start`, `last:N` or a position. */
    constructor(topic, from) {
        this.topic = topic;
        /** Asked for on the present connection. To ask twice would be refused. */
        this.asked = false;
        /** Asked for on the present connection and answered. What comes before belongs to an older subscription. */
        this.subscribed = false;
        /** A server-sent event of a topic that was born on a stream of several topics: only the stream's cursor knows its epoch. */
        this.epochUnknown = false;
        this.#from = from;
        this.position = parsePosition(from);
    }
    /** The `from` of the next subscription. */
    from() {
        return this.position ? formatPosition(this.position) : this.#from;
    }
    /** The text is gone and the position is not (a page that was loaded again): open messages are owed whole. */
    reload() {
        if (this.position)
            this.position = { ...this.position, partial: true };
    }
    onSubscribed(position) {
        this.subscribed = true;
        this.epochUnknown = false;
        // null: a reset follows, and until then the own position stands
        this.position = parsePosition(position) ?? this.position;
    }
    onEvents(frame) {
        const { epoch, after, upto } = frame;
        const held = this.position;
        // seq 0 matches any epoch: a topic's first life begins without a reset
        const follows = held && held.seq === after && (after === 0 || held.epoch === epoch);
        if (!follows || upto < after)
            throw this.#outOfStep(`events ${after}..${upto} of ${epoch}`);
        return (this.position = { epoch, seq: upto, partial: frame.partial === true });
    }
    onGap({ from, to }) {
        const held = this.position;
        if (!held || from !== held.seq + 1 || to < from)
            throw this.#outOfStep(`a gap ${from}..${to}`);
        return (this.position = { epoch: held.epoch, seq: to, partial: true });
    }
    onReset({ epoch }) {
        this.epochUnknown = false;
        return (this.position = { epoch, seq: 0, partial: true });
    }
    /** A server-sent event. `id` counts where the stream has one topic; it is absent where resuming would lose something. */
    onBlock(event, id, alone) {
        const held = this.position;
        if (alone)
            this.position = parsePosition(id) ?? held;
        else if (held && event.seq !== undefined) {
            this.epochUnknown ||= held.epoch === NOWHERE;
            // a delta or a beginning comes only to a reader that lacks nothing (docs/protocol.md, section 17)
            const whole = event.type === 'token.delta' || event.type === 'message.started';
            this.position = { epoch: held.epoch, seq: event.seq, partial: held.partial && !whole };
        }
        return this.position;
    }
    /** `tidewire.position`. */
    onPosition(position) {
        return (this.position = parsePosition(position) ?? this.position);
    }
    #outOfStep(what) {
        return new RetryableError('out_of_step', `${what} came, but ${this.topic} stands at ${this.from()}`);
    }
}

import { type Outgoing } from './outgoing.js';
/** How long events are gathered while a publish is on its way, in milliseconds. */
export declare const GATHER = 20;
/** Publishes on the wire at once. */
export declare const IN_FLIGHT_PUBLISHES = 32;
/** Bytes on the wire at once (one publish may exceed it). */
export declare const IN_FLIGHT_BYTES: number;
/** Bytes of events in one publish (one event may exceed it). */
export declare const PUBLISH_BYTES: number;
/** JSON bytes of text in one delta. */
export declare const DELTA_BYTES: number;
/** The wait after a refusal that passes and does not say for how long, in milliseconds. */
export declare const PAUSE = 500;
/** Who publishes. Its epoch fences older runs of itself. */
export interface Producer {
    id: string;
    epoch: number;
}
/** How much may be outstanding. */
export interface Bounds {
    events: number;
    /** As encoded on the wire. */
    bytes: number;
}
export declare const BOUNDS: Bounds;
/** What the broker allows on a connection. */
export interface Limits {
    max_frame_bytes: number;
    max_event_bytes: number;
    max_batch_events: number;
    window_bytes: number;
}
/**
 * What happened that a person may want to know. `forgotten`: the broker had forgotten; `bytes` of text are told again,
 * `missing` were not kept any more. `replaced`: the topic's log was replaced while this was writing; the end event
 * will carry the whole text.
 */
export type Loss = {
    kind: 'forgotten';
    bytes: number;
    missing: number;
} | {
    kind: 'replaced';
};
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
export declare class Window {
    #private;
    readonly topic: string;
    readonly bounds: Bounds;
    readonly producer: Producer;
    /** `keep` bounds the acknowledged text of open messages that is held for a broker that forgets, in bytes. */
    constructor(topic: string, producer: Producer, bounds?: Bounds, keep?: number);
    /** The epoch that the broker answered an `attach` with. */
    assign(epoch: number): void;
    /** Events that are not acknowledged yet. */
    get outstanding(): number;
    hasRoom(): boolean;
    /** Takes an event over. The caller waits for `hasRoom` first. */
    push(event: {
        type: string;
        data?: any;
        id?: string;
    }, now: number): void;
    onConnected(limits?: Partial<Limits>): void;
    /** Whatever was on the wire is sent again on the next connection. */
    onDisconnected(): void;
    /** The next frame to send now, if any. */
    nextFrame(now: number): object | undefined;
    /** When `nextFrame` may have something although nothing else happens. */
    nextWake(): number | undefined;
    onPublished(answer: {
        id?: unknown;
        epoch: string;
    }): Settled;
    /** A publish was refused. `failed`: no repetition mends it; the window stays as it is. */
    onRefused(problem: Problem, now: number): Settled | 'failed';
    /**
     * After a refusal that no repetition mends: takes out what can never be published, and goes on with the rest. That
     * is the event at `index`, with all else of its message where the message is what is wrong; without an index the
     * whole publish. A refused publish used up no seq, and none behind it can have been kept, so they are numbered anew.
     */
    discard(problem: Problem & {
        index?: number;
    }): Outgoing[];
}

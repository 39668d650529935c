import { type TidewireError } from './errors.js';
import type { TopicEvent } from './events.js';
import type { Link, Sink } from './link.js';
import { type Position } from './position.js';
import type { Reading } from './reading.js';
/** Events that wait for the iterator. */
export declare const QUEUE_EVENTS = 10000;
/** Characters of frames that wait for the iterator. */
export declare const QUEUE_CHARS: number;
export interface Hooks {
    join(reading: Reading, sink: Sink): Link;
    /** The application has everything up to this position. */
    keep(topic: string, position: Position): void;
}
export interface Callbacks {
    /** Called with each event, in order. Without it the subscription is an async iterator. */
    onEvent?: (event: TopicEvent) => void;
    /** Called once, when nothing is read any more because of an error. */
    onError?: (error: TidewireError) => void;
}
/** Calls the application; what it throws is its own. */
export declare function call<T>(callback: ((value: T) => void) | undefined, value: T): void;
export declare class Subscription implements Sink, AsyncIterable<TopicEvent> {
    #private;
    /** @internal */
    constructor(readings: Reading[], hooks: Hooks, callbacks: Callbacks);
    /** The positions up to which the application has everything: a `from` for a later subscription. */
    get positions(): Record<string, string>;
    /** Ends it. The iterator is done, and no callback is called any more. */
    close(): void;
    [Symbol.asyncIterator](): AsyncGenerator<TopicEvent, void, undefined>;
    /** @internal */
    events(topic: string, events: TopicEvent[], position: Position | undefined, size: number): void;
    /** @internal */
    loss(topic: string, loss: TopicEvent, position: Position): void;
    /** @internal */
    ended(topic: string, why: TidewireError): void;
}

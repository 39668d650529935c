import type { TidewireError } from './errors.js';
import { type Message } from './fold.js';
import type { Sink } from './link.js';
import type { Position } from './position.js';
import type { Reading } from './reading.js';
import { type Hooks } from './subscription.js';
export interface MessagesCallbacks {
    /** Called with all messages of the topic, at most once per animation frame. */
    onChange?: (messages: readonly Message[]) => void;
    onError?: (error: TidewireError) => void;
}
export declare class Messages implements Sink, AsyncIterable<readonly Message[]> {
    #private;
    /** @internal */
    constructor(reading: Reading, hooks: Hooks, callbacks: MessagesCallbacks);
    /** All messages as they were shown last, in order of first appearance. Those that did not change are the same objects. */
    get current(): readonly Message[];
    /** Why nothing comes any more. */
    get error(): TidewireError | undefined;
    close(): void;
    [Symbol.asyncIterator](): AsyncGenerator<readonly Message[], void, undefined>;
    /** @internal */
    events(topic: string, events: any[], position: Position | undefined): void;
    /** @internal */
    loss(_topic: string, loss: {
        type: string;
    }): void;
    /** @internal */
    ended(_topic: string, why: TidewireError): void;
}

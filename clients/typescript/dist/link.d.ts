import type { Choice, Transport } from './choose.js';
import { TidewireError } from './errors.js';
import type { Position } from './position.js';
import type { Reading } from './reading.js';
import type { Tokens } from './tokens.js';
import type { LineSettings } from './transports/line.js';
/** As many as a stream of server-sent events takes. */
export declare const MAX_TOPICS = 100;
/** What is read of a topic, in order. None of it throws. */
export interface Sink {
    /** The events of one step; with all of them applied the reader stands at `position`. `size` in characters. */
    events(topic: string, events: any[], position: Position | undefined, size: number): void;
    /** Events are gone (`gap`), or all is to be forgotten (`reset`). */
    loss(topic: string, loss: any, position: Position): void;
    /** The topic is not read any more. */
    ended(topic: string, why: TidewireError): void;
}
export interface ReadOptions {
    replay?: 'raw' | 'compact';
    coalesceMs: number;
    types?: string[];
}
/** What a client is doing about its connection. */
export interface Status {
    state: 'connecting' | 'connected' | 'waiting' | 'closed';
    transport?: Transport;
    /** Why the line before ended. */
    error?: TidewireError;
    /** Milliseconds until the next attempt. */
    retryInMs?: number;
}
export interface LinkSettings extends Omit<LineSettings, 'token'> {
    tokens: Tokens;
    choice: Choice;
    status(status: Status): void;
}
export declare class Link {
    #private;
    readonly settings: LinkSettings;
    readonly options: ReadOptions;
    constructor(settings: LinkSettings, options: ReadOptions);
    takes(topic: string): boolean;
    get idle(): boolean;
    /** Begins to read, or goes on where the reading stands. */
    add(reading: Reading, sink: Sink): void;
    remove(reading: Reading): void;
    /** Time may have passed unnoticed, or the network may be back. */
    wake(): void;
}

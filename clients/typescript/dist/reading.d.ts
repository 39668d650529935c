import { type Position } from './position.js';
import type { FramesServerEvents, FramesServerGap, FramesServerReset } from './schema.js';
export declare class Reading {
    #private;
    readonly topic: string;
    position: Position | undefined;
    /** Asked for on the present connection. To ask twice would be refused. */
    asked: boolean;
    /** Asked for on the present connection and answered. What comes before belongs to an older subscription. */
    subscribed: boolean;
    /** A server-sent event of a topic that was born on a stream of several topics: only the stream's cursor knows its epoch. */
    epochUnknown: boolean;
    /** `from`: `snapshot`, `live`, `start`, `last:N` or a position. */
    constructor(topic: string, from: string);
    /** The `from` of the next subscription. */
    from(): string;
    /** The text is gone and the position is not (a page that was loaded again): open messages are owed whole. */
    reload(): void;
    onSubscribed(position: string | null | undefined): void;
    onEvents(frame: Pick<FramesServerEvents, 'epoch' | 'after' | 'upto' | 'partial'>): Position;
    onGap({ from, to }: Pick<FramesServerGap, 'from' | 'to'>): Position;
    onReset({ epoch }: Pick<FramesServerReset, 'epoch'>): Position;
    /** A server-sent event. `id` counts where the stream has one topic; it is absent where resuming would lose something. */
    onBlock(event: {
        type: string;
        seq?: number;
    }, id: string | undefined, alone: boolean): Position | undefined;
    /** `tidewire.position`. */
    onPosition(position: string): Position | undefined;
}

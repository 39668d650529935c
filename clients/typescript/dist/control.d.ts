import type { FramesServerControl } from './schema.js';
/** Taken events of one topic that can still be acknowledged. */
export declare const REMEMBERED = 256;
/** A `run.*` event for the agents of a topic. */
export interface Command {
    topic: string;
    epoch: string;
    seq: number;
    /** `run.cancel`, `run.steer`, `run.approve`, or a `run.*` of your own. */
    type: string;
    data: any;
    /** Who published it. */
    source?: string;
    time?: number;
}
export declare class ControlInbox {
    #private;
    /** Takes a frame over: what is new in it, and acknowledgements to send again. */
    onFrame({ topic, epoch, events }: FramesServerControl): {
        commands: Command[];
        repeated: object[];
    };
    /** It was dealt with. The answer is the frame to send, if it can go now. */
    acknowledge({ topic, epoch, seq }: Command): object | undefined;
    onDisconnected(): void;
}

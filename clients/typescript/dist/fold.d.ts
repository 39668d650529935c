import { type IncomingPart, type Part } from './parts.js';
/** Ended messages that are held. */
export declare const ENDED_KEPT = 256;
/** An event as far as a fold looks at it. */
export interface Foldable {
    type: string;
    data: any;
    source?: string;
    parts?: IncomingPart[];
    started?: any;
}
/** One message as far as it was read. Views are never changed: a message that changed has a new one. */
export interface Message {
    readonly id: string;
    /** `lost`: it ended in a gap, and nobody can know how. */
    readonly state: 'open' | 'completed' | 'interrupted' | 'lost';
    /** The answer: its parts of kind `text`. */
    readonly text: string;
    /** Its parts of kind `reasoning`. */
    readonly reasoning: string;
    readonly parts: readonly Readonly<Part>[];
    /** Why it was interrupted. */
    readonly reason?: string;
    readonly finishReason?: string;
    /** The `data` of `message.started`, if it was seen. */
    readonly started?: any;
    /** Who writes it. */
    readonly source?: string;
}
export declare class Fold {
    #private;
    /** In order of first appearance. */
    messages(): Message[];
    /** Applies one event; false: it is not about a message, or cannot be understood. */
    apply(event: Foldable): boolean;
    /** Some of the log is gone: what is held open now must be settled by a snapshot. */
    gap(): void;
    /** Forgets all of it. */
    reset(): void;
    /** After everything up to a whole position was applied: what is not settled is lost. True: something was. */
    whole(): boolean;
}

import { type Outgoing } from './outgoing.js';
export interface Restored {
    events: Outgoing[];
    /** UTF-8 bytes of text in them. */
    bytes: number;
    /** UTF-8 bytes that were not kept any more. */
    missing: number;
}
export declare class Kept {
    #private;
    constructor(bound: number);
    /** The broker has this event. */
    acknowledged(event: Outgoing): void;
    /** The broker's log is gone, and all it knew: everything to tell again, in order. It counts as outstanding now. */
    restore(): Restored;
    /**
     * The log was replaced, but what came after it is already in the new one: nothing can be put before that any more.
     * Only the whole text in the end event can still mend it. Says whether any message is concerned.
     */
    strand(): boolean;
    isStranded(id: string): boolean;
    /** The whole answer of a message (kind `text`), if all of it is kept. */
    wholeText(id: string): string | undefined;
}

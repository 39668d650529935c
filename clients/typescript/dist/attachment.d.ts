import type { FramesServerAttached } from './schema.js';
/** The `id` of the claim's frame. */
export declare const CLAIM_ID = "attach";
/** How long an agent may be gone unless something else is asked for, in milliseconds. */
export declare const DEFAULT_LEASE = 15000;
/** Topics that one agent may have: as many as a claim may name. */
export declare const MAX_TOPICS = 1000;
export declare class Claim {
    readonly producer: string;
    readonly leaseMs: number;
    /** The epoch that was assigned. */
    epoch: number | undefined;
    constructor(producer: string, leaseMs: number);
    /** For all topics on a new connection, or for those that come to the present one. */
    frame(topics: string[]): object;
    /** The epoch to publish with, the same for ever. */
    onAttached(answer: Pick<FramesServerAttached, 'epoch'>): number;
}

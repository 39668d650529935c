/** The bound of the first, quick retry. */
export declare const FIRST = 150;
/** The bound of the second retry; it doubles with each further one. */
export declare const BASE = 500;
/** What the bound never exceeds. */
export declare const CAP = 20000;
export declare class Backoff {
    #private;
    readonly cap: number;
    /** No wait is longer than `cap`, unless the broker asks for it. */
    constructor(cap?: number);
    /** The connection did what it is for: the next retry is a first one again. */
    worked(): void;
    /** The two sides disagree; coming back quickly would only repeat it. */
    disagreed(): void;
    /** The broker said when to come back; it counts once. */
    told(after: number): void;
    /** The next wait. `random` is uniform in 0..1. */
    next(random: number): number;
}

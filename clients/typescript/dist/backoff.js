// How long to wait before connecting again: full jitter up to a bound that doubles from 0.5 s to 20 s.
//
// The first retry after a connection that worked comes almost at once (a restarted broker, a cut line), yet spread
// over `FIRST`, so that many clients do not return in the same instant. All times are milliseconds.
/** The bound of the first, quick retry. */
export const FIRST = 150;
/** The bound of the second retry; it doubles with each further one. */
export const BASE = 500;
/** What the bound never exceeds. */
export const CAP = 20_000;
export class Backoff {
    #failures = 0;
    #told;
    /** No wait is longer than `cap`, unless the broker asks for it. */
    constructor(cap = CAP) {
        this.cap = cap;
    }
    /** The connection did what it is for: the next retry is a first one again. */
    worked() {
        this.#failures = 0;
    }
    /** The two sides disagree; coming back quickly would only repeat it. */
    disagreed() {
        this.#failures = Math.max(this.#failures, 3);
    }
    /** The broker said when to come back; it counts once. */
    told(after) {
        this.#told = Math.min(Math.max(after, 0), CAP);
    }
    /** The next wait. `random` is uniform in 0..1. */
    next(random) {
        const told = this.#told;
        this.#told = undefined;
        if (told !== undefined)
            return told + FIRST * random;
        const bound = this.#failures === 0 ? FIRST : BASE * 2 ** Math.min(this.#failures - 1, 16);
        this.#failures += 1;
        return Math.min(bound, this.cap, CAP) * random;
    }
}

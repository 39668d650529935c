// Positions that outlast a page: with `sessionStorage` a page that is loaded again goes on where it was.
//
// Invariants: what is kept is a position whose events the application was given; the text is not kept, so whoever
// takes one up marks it as partial. A store that fails (full, forbidden) costs the memory and nothing else.
import { formatPosition } from './position.js';
/** At most so long after an event its position is kept, in milliseconds. */
const LATE = 100;
export class Memory {
    #dirty = new Map();
    #timer;
    #store;
    #prefix;
    constructor(store, base) {
        this.#store = store;
        this.#prefix = `tidewire ${base} `;
        if (store)
            globalThis.addEventListener?.('pagehide', () => this.flush());
    }
    get(key) {
        try {
            return this.#store?.getItem(this.#prefix + key) ?? null;
        }
        catch {
            return null;
        }
    }
    set(key, value) {
        try {
            this.#store?.setItem(this.#prefix + key, value);
        }
        catch {
            // a page that cannot keep it begins anew
        }
    }
    keep(key, position) {
        if (!this.#store || !position)
            return;
        this.#dirty.set(key, position);
        this.#timer ??= setTimeout(() => this.flush(), LATE);
    }
    flush() {
        clearTimeout(this.#timer);
        this.#timer = undefined;
        for (const [key, position] of this.#dirty)
            this.set(key, formatPosition(position));
        this.#dirty.clear();
    }
}

import { Fold } from './fold.js';
import { call } from './subscription.js';
/** Where there are no animation frames: how long updates gather, in milliseconds. */
const FRAME = 16;
/** A page that is not shown has no animation frames; it is brought up to date all the same, in milliseconds. */
const HIDDEN = 250;
export class Messages {
    #fold = new Fold();
    #current = [];
    #error;
    #over = false;
    #scheduled = false;
    #version = 0;
    #waiting = new Set();
    #reading;
    #link;
    #hooks;
    #callbacks;
    /** @internal */
    constructor(reading, hooks, callbacks) {
        this.#reading = reading;
        this.#hooks = hooks;
        this.#callbacks = callbacks;
        this.#link = hooks.join(reading, this);
    }
    /** All messages as they were shown last, in order of first appearance. Those that did not change are the same objects. */
    get current() {
        return this.#current;
    }
    /** Why nothing comes any more. */
    get error() {
        return this.#error;
    }
    close() {
        this.#over = true;
        this.#link.remove(this.#reading);
        this.#tell();
    }
    async *[Symbol.asyncIterator]() {
        let seen = 0;
        for (;;) {
            if (this.#version > seen) {
                seen = this.#version;
                yield this.#current;
            }
            else if (this.#error)
                throw this.#error;
            else if (this.#over)
                return;
            else
                await new Promise((resolve) => this.#waiting.add(resolve));
        }
    }
    /** @internal */
    events(topic, events, position) {
        let changed = false;
        for (const event of events)
            changed = this.#fold.apply(event) || changed;
        if (position && !position.partial)
            changed = this.#fold.whole() || changed;
        if (position)
            this.#hooks.keep(topic, position);
        if (changed)
            this.#schedule();
    }
    /** @internal */
    loss(_topic, loss) {
        if (loss.type === 'tidewire.gap')
            this.#fold.gap();
        else
            this.#fold.reset();
        this.#schedule();
    }
    /** @internal */
    ended(_topic, why) {
        if (this.#over)
            return;
        this.#over = true;
        this.#show();
        this.#error = why;
        call(this.#callbacks.onError, why);
        this.#tell();
    }
    #schedule() {
        if (this.#scheduled)
            return;
        this.#scheduled = true;
        const show = () => {
            clearTimeout(timer);
            if (this.#scheduled && !this.#over)
                this.#show();
        };
        const frames = globalThis.requestAnimationFrame;
        const timer = setTimeout(show, frames ? HIDDEN : FRAME);
        frames?.(show);
    }
    #show() {
        this.#scheduled = false;
        this.#current = this.#fold.messages();
        this.#version += 1;
        call(this.#callbacks.onChange, this.#current);
        this.#tell();
    }
    #tell() {
        const waiting = this.#waiting;
        this.#waiting = new Set();
        waiting.forEach((resolve) => resolve());
    }
}

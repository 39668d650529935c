// What the broker has acknowledged of the messages that are still open, kept so that a broker that forgot its log
// (a restart on the memory engine) can be told again.
//
// Invariants: an event is either still outstanding in the window or folded in here, never both; a message leaves with
// its end event. Bound: `bound` bytes of text over all; over it the longest message loses its beginning, and says so
// when it is restored.
import { delta, messageOf, utf8 } from './outgoing.js';
import { append, textOf } from './parts.js';
/** Share of the bound that is cut beyond need, so that not every delta moves the whole text. */
const SLACK = 8;
export class Kept {
    #messages = new Map();
    #bytes = 0;
    #bound;
    constructor(bound) {
        this.#bound = bound;
    }
    /** The broker has this event. */
    acknowledged(event) {
        const id = messageOf(event);
        if (id === undefined)
            return;
        if (event.delta) {
            const message = this.#message(id);
            const bytes = utf8(event.delta.text);
            append(message.parts, event.delta.part, event.delta.kind, event.delta.text);
            message.bytes += bytes;
            this.#bytes += bytes;
            this.#stayWithinTheBound();
        }
        else if (event.type === 'message.started')
            this.#message(id).started = event;
        else if (event.type === 'message.completed' || event.type === 'message.interrupted') {
            this.#bytes -= this.#messages.get(id)?.bytes ?? 0;
            this.#messages.delete(id);
        }
    }
    /** The broker's log is gone, and all it knew: everything to tell again, in order. It counts as outstanding now. */
    restore() {
        const restored = { events: [], bytes: this.#bytes, missing: 0 };
        for (const [id, message] of this.#messages) {
            restored.missing += missing(message);
            if (message.started)
                restored.events.push(message.started);
            for (const { part, kind, text } of message.parts)
                restored.events.push(delta(id, part, kind, text));
        }
        this.#messages.clear();
        this.#bytes = 0;
        return restored;
    }
    /**
     * The log was replaced, but what came after it is already in the new one: nothing can be put before that any more.
     * Only the whole text in the end event can still mend it. Says whether any message is concerned.
     */
    strand() {
        for (const message of this.#messages.values())
            message.stranded = true;
        return this.#messages.size > 0;
    }
    isStranded(id) {
        return this.#messages.get(id)?.stranded === true;
    }
    /** The whole answer of a message (kind `text`), if all of it is kept. */
    wholeText(id) {
        const message = this.#messages.get(id);
        return message && missing(message) === 0 ? textOf(message.parts, 'text') : undefined;
    }
    #message(id) {
        let message = this.#messages.get(id);
        if (!message)
            this.#messages.set(id, (message = { started: undefined, parts: [], bytes: 0, stranded: false }));
        return message;
    }
    #stayWithinTheBound() {
        if (this.#bytes <= this.#bound)
            return;
        const longest = [...this.#messages.values()].reduce((a, b) => (b.bytes > a.bytes ? b : a));
        let excess = this.#bytes - this.#bound + Math.floor(this.#bound / SLACK);
        for (const part of longest.parts) {
            if (excess <= 0)
                break;
            const cut = beginning(part.text, excess);
            const gone = utf8(part.text.slice(0, cut));
            part.text = part.text.slice(cut);
            part.omitted = (part.omitted ?? 0) + gone;
            longest.bytes -= gone;
            this.#bytes -= gone;
            excess -= gone;
        }
    }
}
function missing(message) {
    return message.parts.reduce((sum, part) => sum + (part.omitted ?? 0), 0);
}
/** How many UTF-16 units hold the first `bytes` UTF-8 bytes, whole characters at least. */
function beginning(text, bytes) {
    let units = 0;
    let held = 0;
    for (const c of text) {
        if (held >= bytes)
            break;
        held += utf8(c);
        units += c.length;
    }
    return units;
}

// A client of one broker: what an application holds.
import { Choice } from './choose.js';
import { TerminalError } from './errors.js';
import { Link } from './link.js';
import { Messages } from './messages.js';
import { formatPosition, parsePosition } from './position.js';
import { Reading } from './reading.js';
import { Memory } from './storage.js';
import { call, Subscription } from './subscription.js';
import { Tokens } from './tokens.js';
import { http } from './transports/load.js';
import { onWake } from './wake.js';
export const TIMEOUTS = { open: 5_000, silence: 40_000, wait: 25_000, firstConnect: 30_000 };
const TOPIC = /^(\/(?!\.\.?(\/|$))[\w.:~-]{1,128}){1,8}$/;
/** Makes a client. It connects when something is read. */
export function connect(options) {
    return new Client(options);
}
/** The address with a slash at its end. */
export function baseOf(url) {
    const found = /^(?:http|ws)(s?:\/\/[^/?#@]+(?:\/[^?#]*)?)$/.exec(url);
    if (!found)
        throw new TerminalError('invalid_url', `\`${url}\` is no address: write https://HOST or http://HOST:PORT`);
    return `http${found[1]}`.replace(/\/*$/, '/');
}
export class Client {
    #links = [];
    #memory;
    #settings;
    #closed = new AbortController();
    /** What was opened and not closed. */
    #open = new Set();
    /** @internal */
    constructor(options) {
        const base = baseOf(options.url);
        const WebSocket = options.WebSocket ?? globalThis.WebSocket;
        const wanted = options.transports ?? ['websocket', 'sse', 'poll'];
        const transports = wanted.filter((transport) => transport !== 'websocket' || WebSocket);
        if (transports.length === 0) {
            throw new TerminalError('websocket_missing', 'pass a WebSocket, as that of the package `ws`');
        }
        this.#memory = new Memory(options.storage, base);
        const remembered = this.#memory.get('transport');
        this.#settings = {
            base,
            tokens: new Tokens(options.token, options.getToken),
            choice: new Choice(transports, Date.now(), remembered, (found) => this.#memory.set('transport', found)),
            timeouts: { ...TIMEOUTS, ...options.timeouts },
            fetch: options.fetch ?? ((...args) => globalThis.fetch(...args)),
            WebSocket,
            status: (status) => call(options.onStatus, status),
        };
        onWake(() => this.wake(), this.#closed.signal);
    }
    /** Reads topics. Iterate over it, or give `onEvent`. */
    subscribe(topics, options = {}) {
        const { from = 'snapshot', replay, coalesceMs = 40, types } = options;
        const readings = [...new Set([topics].flat())].map((topic) => {
            const begin = typeof from === 'string' ? from : (from[topic] ?? 'snapshot');
            return this.#reading(topic, begin, types);
        });
        return this.#opened(new Subscription(readings, this.#hooks({ replay, coalesceMs, types }), options));
    }
    /** The messages of a topic as they grow: iterate over it, or give `onChange`. */
    messages(topic, options = {}) {
        const { from = 'start', coalesceMs = 40 } = options;
        const hooks = this.#hooks({ replay: 'compact', coalesceMs });
        // from the start on everything is read again, so there is nothing to go on from
        const whole = from === 'start';
        const reading = whole ? new Reading(checked(topic), from) : this.#reading(topic, from);
        return this.#opened(new Messages(reading, whole ? { ...hooks, keep() { } } : hooks, options));
    }
    /** Publishes events, each once however often it has to be sent. An agent that streams uses `tidewire/agent`. */
    async publish(topic, events) {
        const { publish } = await http();
        return publish(this.#settings, this.#settings.tokens, topic, [events].flat());
    }
    /** Asks the agents of a topic to stop: the one that writes `messageId`, or all. */
    cancel(topic, messageId, more) {
        return this.publish(topic, { type: 'run.cancel', data: { ...more, message_id: messageId } });
    }
    /** Tells the agents of a topic something while they work; `data` is between you and them. */
    steer(topic, data) {
        return this.publish(topic, { type: 'run.steer', data });
    }
    /** Answers an agent that asked; `data` is between you and it. */
    approve(topic, data) {
        return this.publish(topic, { type: 'run.approve', data });
    }
    /** Time may have passed unnoticed, or the network may be back: called by itself in browsers. */
    wake() {
        for (const link of this.#links)
            link.wake();
    }
    /** Ends everything. */
    close() {
        for (const open of this.#open)
            open.close();
        this.#open.clear();
        this.#closed.abort();
    }
    #opened(reader) {
        // what was closed by itself since then is not held
        this.#open.add(reader);
        return reader;
    }
    #reading(topic, from, types) {
        const kept = parsePosition(this.#memory.get(key(checked(topic), types)));
        if (!kept)
            return new Reading(topic, from);
        const reading = new Reading(topic, this.#memory.get(key(topic, types)));
        // the text went with the page
        reading.reload();
        return reading;
    }
    #hooks(options) {
        return {
            join: (reading, sink) => this.#join(reading, sink, options),
            keep: (topic, position) => this.#memory.set(key(topic, options.types), formatPosition(position)),
        };
    }
    /** One line carries all that is read with the same options; a topic that is read twice has a line for each. */
    #join(reading, sink, options) {
        this.#links = this.#links.filter((link) => !link.idle);
        const same = JSON.stringify(options);
        let link = this.#links.find((one) => one.takes(reading.topic) && JSON.stringify(one.options) === same);
        if (!link)
            this.#links.push((link = new Link(this.#settings, options)));
        link.add(reading, sink);
        return link;
    }
}
function checked(topic) {
    if (TOPIC.test(topic))
        return topic;
    throw new TerminalError('invalid_topic', `\`${topic}\` is no topic such as /chat/42`);
}
function key(topic, types) {
    return types ? `${topic} ${types}` : topic;
}

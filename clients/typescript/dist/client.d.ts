import { type Transport } from './choose.js';
import { type TidewireError } from './errors.js';
import type { NewEvent } from './events.js';
import { type Status } from './link.js';
import { Messages, type MessagesCallbacks } from './messages.js';
import type { HttpPublished } from './schema.js';
import { type Store } from './storage.js';
import { Subscription, type Callbacks } from './subscription.js';
import { type GetToken } from './tokens.js';
import type { Timeouts, WebSocketConstructor } from './transports/line.js';
export interface ConnectOptions {
    /** Where the broker is: `https://chat.example.com`, with a path if a proxy serves it under one. */
    url: string;
    /** A token or API key that does not change. */
    token?: string;
    /** Brings a token; asked again before it ends and when the broker refused it. */
    getToken?: GetToken;
    /** Default: that of the platform. Node 20 has none: without it, reading goes over server-sent events. */
    WebSocket?: WebSocketConstructor;
    /** Default: that of the platform. */
    fetch?: typeof fetch;
    /** Which transports to use, from the best to the worst. Default: `['websocket', 'sse', 'poll']`. */
    transports?: Transport[];
    /** `sessionStorage`, so that a page that is loaded again goes on where it was. */
    storage?: Store;
    timeouts?: Partial<Timeouts>;
    /** Told of everything that happens to the connection. */
    onStatus?: (status: Status) => void;
}
export interface SubscribeOptions extends Callbacks {
    /**
     * `snapshot` (default: what is open, then what comes), `live`, `start`, `last:N` or a position; one for all, or one
     * for each topic. A position that `storage` has for the topic comes first.
     */
    from?: string | Record<string, string>;
    /** How to catch up: `raw` (default: every event) or `compact` (what the text costs). */
    replay?: 'raw' | 'compact';
    /** How long token deltas gather before they come as one, in milliseconds. Default: 40; 0: each by itself. */
    coalesceMs?: number;
    /** Which types to read, such as `['message.*', 'token.delta']`. Default: all. */
    types?: string[];
}
export interface MessagesOptions extends MessagesCallbacks {
    /** Default: `start`, all that is kept. */
    from?: string;
    coalesceMs?: number;
}
export declare const TIMEOUTS: Timeouts;
/** Makes a client. It connects when something is read. */
export declare function connect(options: ConnectOptions): Client;
/** The address with a slash at its end. */
export declare function baseOf(url: string): string;
export declare class Client {
    #private;
    /** @internal */
    constructor(options: ConnectOptions);
    /** Reads topics. Iterate over it, or give `onEvent`. */
    subscribe(topics: string | string[], options?: SubscribeOptions): Subscription;
    /** The messages of a topic as they grow: iterate over it, or give `onChange`. */
    messages(topic: string, options?: MessagesOptions): Messages;
    /** Publishes events, each once however often it has to be sent. An agent that streams uses `tidewire/agent`. */
    publish(topic: string, events: NewEvent | NewEvent[]): Promise<HttpPublished>;
    /** Asks the agents of a topic to stop: the one that writes `messageId`, or all. */
    cancel(topic: string, messageId?: string, more?: object): Promise<HttpPublished>;
    /** Tells the agents of a topic something while they work; `data` is between you and them. */
    steer(topic: string, data: object): Promise<HttpPublished>;
    /** Answers an agent that asked; `data` is between you and it. */
    approve(topic: string, data: object): Promise<HttpPublished>;
    /** Time may have passed unnoticed, or the network may be back: called by itself in browsers. */
    wake(): void;
    /** Ends everything. */
    close(): void;
}
export type { TidewireError };

import { type ConnectOptions } from './client.js';
import type { Command } from './control.js';
import { type TidewireError } from './errors.js';
import type { NewEvent } from './events.js';
import type { TypesTextKind } from './schema.js';
import { type Bounds, type Loss } from './window.js';
/** Calls of `publish` that may wait for room. One more is told `buffer_full` instead: await them. */
export declare const WAITING = 10000;
export interface AgentOptions extends Omit<ConnectOptions, 'transports' | 'storage'> {
    /** The agent's name. A newer run of the same name replaces this one. */
    producer: string;
    /** How long it may be gone before its open messages are ended for it, in milliseconds: 1,000 to 600,000. Default: 15,000. */
    leaseMs?: number;
    /** How much may be published and not acknowledged. Default: 100,000 events, 8 MiB. */
    bounds?: Bounds;
    /**
     * A client said something: `run.cancel`, `run.steer`, `run.approve`, … When it returns, the broker need not keep the
     * command for others; false leaves it to them.
     */
    onCommand?: (command: Command) => boolean | void;
    /** Events that can never be published (their message was ended for this agent, they are too large, …). */
    onRefused?: (error: TidewireError, topic: string, events: NewEvent[]) => void;
    /** The broker lost something, and what was done about it. */
    onLoss?: (topic: string, loss: Loss) => void;
}
export interface StartOptions {
    /** Default: a random one. */
    id?: string;
    role?: string;
    agent?: string;
    parent_id?: string;
    metadata?: unknown;
    /** A client asked to stop this message. `message.signal` is aborted as well. */
    onCancel?: (command: Command) => void;
}
/** Makes an agent, which connects and attaches at once. */
export declare function connectAgent(options: AgentOptions): Agent;
export declare class Agent {
    #private;
    /** @internal */
    constructor(options: AgentOptions);
    /** The number of this run, once it is attached. */
    get epoch(): number | undefined;
    /** How many read a topic that this agent writes to, as the broker said last. */
    readers(topic: string): number | undefined;
    /** Resolves when the broker has let this agent in. */
    ready(): Promise<void>;
    /** Begins to write to a topic before anything is published: commands for it come from here on. */
    listen(topic: string): void;
    /** Begins a message: `message.started`, then what is said to it. */
    message(topic: string, options?: StartOptions): Promise<AgentMessage>;
    /**
     * Hands an event over. Resolves at once while the buffer has room and when it has again otherwise; that it is in
     * the log is what `flush` waits for. Rejects when it can never be published.
     */
    publish(topic: string, event: NewEvent): Promise<void>;
    /** Hands an event over if the buffer has room; false: it has none, and nothing was taken. */
    tryPublish(topic: string, event: NewEvent): boolean;
    /** Waits until everything is in the log. Rejects if something was refused that nobody was told of. */
    flush(): Promise<void>;
    /** Waits until everything is in the log, and leaves. */
    close(): Promise<void>;
    /** @internal */
    forget(topic: string, id: string): void;
}
/** One answer that is being written. End it with `complete` or `interrupt`. */
export declare class AgentMessage {
    #private;
    readonly topic: string;
    readonly id: string;
    /** Why nothing can be written to it any more, if the broker ended it. */
    error: TidewireError | undefined;
    /** @internal */
    constructor(agent: Agent, topic: string, id: string, onCancel: ((command: Command) => void) | undefined);
    /** Aborted when a client asks to stop, or when the broker ended the message: give it to whatever makes the tokens. */
    get signal(): AbortSignal;
    /** Adds to the text; await it, so that a full buffer slows down whoever makes the tokens. */
    delta(text: string, more?: {
        kind?: TypesTextKind;
        part?: number;
    }): Promise<void>;
    /** The answer is complete. `text`, if given, is all of it and replaces what the deltas said. */
    complete(more?: {
        text?: string;
        finish_reason?: string;
        usage?: any;
    }): Promise<void>;
    /** It ends before it was complete: `cancelled`, `error`, or a reason of your own. */
    interrupt(reason: string, more?: object): Promise<void>;
    /** @internal */
    cancel(command: Command): void;
    /** @internal */
    stop(error: TidewireError): void;
}
export type { Command } from './control.js';
export { RetryableError, TerminalError, TidewireError } from './errors.js';
export type { Bounds, Loss } from './window.js';

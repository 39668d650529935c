import { type Command } from './control.js';
import { type TidewireError } from './errors.js';
import type { Status } from './link.js';
import type { Outgoing } from './outgoing.js';
import type { Tokens } from './tokens.js';
import type { LineSettings } from './transports/line.js';
import { Window, type Bounds, type Loss } from './window.js';
export interface PublisherSettings extends Omit<LineSettings, 'token'> {
    tokens: Tokens;
    bounds: Bounds;
    status(status: Status): void;
    loss(topic: string, loss: Loss): void;
    command(command: Command): void;
    /** These can never be published. */
    refused(topic: string, events: Outgoing[], error: TidewireError): void;
    /** Something was acknowledged, attached or failed. */
    progress(): void;
}
export declare class Publisher {
    #private;
    failed: TidewireError | undefined;
    attached: boolean;
    readonly readers: Map<string, number>;
    constructor(producer: string, leaseMs: number, settings: PublisherSettings);
    /** The run of the agent, once it is attached. */
    get epoch(): number | undefined;
    get empty(): boolean;
    window(topic: string): Window;
    push(topic: string, event: {
        type: string;
        data?: any;
        id?: string;
    }): void;
    acknowledge(command: Command): void;
    /** Says good-bye. What is outstanding is abandoned. */
    close(): void;
}

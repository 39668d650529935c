export declare class Heartbeat {
    #private;
    /** When the other side was heard last. */
    last: number;
    /** `ping` is the broker's `ping_ms`. */
    constructor(ping: number, now: number);
    /** Any frame from the other side. */
    heard(now: number): void;
    due(now: number): 'nothing' | 'ping' | 'dead';
    /** When to ask `due` again. */
    next(): number;
}

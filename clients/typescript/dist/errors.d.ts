/** The base of both kinds. */
export declare class TidewireError extends Error {
    /** Stable, for programs. */
    readonly code: string;
    /** Milliseconds after which the broker wants to be asked again, if it said so. */
    readonly retryAfterMs?: number | undefined;
    /** The topic that it is about, if it is about one. */
    readonly topic?: string | undefined;
    constructor(
    /** Stable, for programs. */
    code: string, message: string, 
    /** Milliseconds after which the broker wants to be asked again, if it said so. */
    retryAfterMs?: number | undefined, 
    /** The topic that it is about, if it is about one. */
    topic?: string | undefined);
}
/** The same attempt may succeed later. The client retries by itself; where this is thrown, it stopped waiting. */
export declare class RetryableError extends TidewireError {
}
/** The same attempt will fail again: something has to be changed first. */
export declare class TerminalError extends TidewireError {
}
/** Any thrown value as an error of this client. */
export declare function asError(value: unknown, code?: string): TidewireError;

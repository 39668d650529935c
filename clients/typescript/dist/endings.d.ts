import { type TidewireError } from './errors.js';
/** A close code of a WebSocket. */
export declare function closed(code: number, reason?: string): TidewireError;
/** Codes after which the same request may succeed later; with `outcome_unknown` the repetition settles it. */
export declare const PASSING: RegExp;
/** An error frame, or the body of a problem over HTTP. */
export declare function problem(body: {
    code: string;
    message?: string;
    detail?: string;
    retry_after_ms?: number;
    topic?: string;
}): TidewireError;
/** Something answers, and it is no broker: a wrong address, or a network that wants a log-in first. */
export declare function notTidewire(what: string): TidewireError;
/** A broker answers, and in another version of the protocol. */
export declare function unsupported(): TidewireError;

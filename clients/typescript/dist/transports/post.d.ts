import type { LineSettings } from './line.js';
/** Sends JSON. An answer that is no success is thrown as the error that it is. */
export declare function post(s: LineSettings, path: string, body: object, signal: AbortSignal): Promise<Response>;

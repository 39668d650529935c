import { type TidewireError } from './errors.js';
/** An answer over HTTP that is not what was asked for. `body` is its beginning. */
export declare function refused(status: number, body: string): TidewireError;
export declare function unreachable(url: string, why: string): TidewireError;

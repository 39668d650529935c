import { type Asking, type Line, type LineSettings } from './line.js';
/** Resolves when the first block came. */
export declare function openSse(s: LineSettings, asking: Asking): Promise<Line>;

import { type Asking, type Line, type LineSettings } from './line.js';
/** Resolves when the first answer was applied. */
export declare function openPoll(s: LineSettings, asking: Asking): Promise<Line>;

import type { NewEvent } from './events.js';
import type { HttpPublished } from './schema.js';
import type { Tokens } from './tokens.js';
import { type LineSettings } from './transports/line.js';
/** 26 characters of `0-9a-v`: 130 random bits. */
export declare function randomId(): string;
export declare function publish(s: Omit<LineSettings, 'token'>, tokens: Tokens, topic: string, events: NewEvent[]): Promise<HttpPublished>;

import type { NewEvent } from './events.js';
import type { HttpPublished } from './schema.js';
import type { Tokens } from './tokens.js';
import type { LineSettings } from './transports/line.js';
export declare function publish(s: Omit<LineSettings, 'token'>, tokens: Tokens, topic: string, events: NewEvent[]): Promise<HttpPublished>;

// What `import … from 'tidewire'` gives.
export { connect, Client, type ConnectOptions, type MessagesOptions, type SubscribeOptions } from './client.js';
export type { Transport } from './choose.js';
export { RetryableError, TerminalError, TidewireError } from './errors.js';
export type { NewEvent, TopicEvent } from './events.js';
export type { Message } from './fold.js';
export type { Status } from './link.js';
export type { Messages, MessagesCallbacks } from './messages.js';
export type { IncomingPart, Part } from './parts.js';
export type { HttpPublished as Published } from './schema.js';
export type { Store } from './storage.js';
export type { Callbacks, Subscription } from './subscription.js';
export type { GetToken } from './tokens.js';
export type { Timeouts, WebSocketConstructor } from './transports/line.js';

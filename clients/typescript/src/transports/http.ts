// All that goes over HTTP, in one piece: it is only needed where WebSockets are blocked and for what a page publishes,
// so it is no part of the core (see load.ts).
export { publish } from '../publish.js';
export { Streams } from './stream.js';

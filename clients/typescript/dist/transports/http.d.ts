export { publish } from '../publish.js';
export { openPoll } from './poll.js';
export { openSse } from './sse.js';

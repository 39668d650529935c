// What `import … from 'tidewire'` gives.
export { connect, Client } from './client.js';
export { RetryableError, TerminalError, TidewireError } from './errors.js';

// Loads what goes over HTTP beside the core: when it is needed, and otherwise after the first connection, so that it
// is there when the network gets worse. Bundlers make a file of its own of it.
import { asError } from '../errors.js';

let loading: Promise<typeof import('./http.js')> | undefined;

export function http(): Promise<typeof import('./http.js')> {
  return (loading ??= import('./http.js').catch((error) => {
    loading = undefined;
    throw asError(error, 'unreachable');
  }));
}

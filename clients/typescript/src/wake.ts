// What tells a page that time passed unnoticed or that the network is back.

/** Calls `wake` whenever that may be so, until the signal is aborted. */
export function onWake(wake: () => void, signal: AbortSignal): void {
  // what a page that goes to sleep is told, costs a ping; what its document is told is seen on the way there
  for (const name of ['online', 'pageshow', 'visibilitychange', 'resume']) {
    globalThis.addEventListener?.(name, wake, { signal, capture: true });
  }
}

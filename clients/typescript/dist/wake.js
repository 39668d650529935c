// What tells a page that time passed unnoticed or that the network is back.
/** Calls `wake` whenever that may be so, until the signal is aborted. */
export function onWake(wake, signal) {
    const { document } = globalThis;
    // what a page that goes to sleep is told, costs a ping
    for (const name of ['online', 'pageshow'])
        globalThis.addEventListener?.(name, wake, { signal });
    for (const name of ['visibilitychange', 'resume'])
        document?.addEventListener(name, wake, { signal });
}

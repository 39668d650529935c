/** Calls `wake` whenever that may be so, until the signal is aborted. */
export declare function onWake(wake: () => void, signal: AbortSignal): void;

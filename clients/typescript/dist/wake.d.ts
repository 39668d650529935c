/** Calls `wake` whenever that may be so; the answer ends it. */
export declare function onWake(wake: () => void): () => void;

export type Transport = 'websocket' | 'sse' | 'poll';
/** Until a better transport is first tried again. */
export declare const TRY_UPWARD = 5000;
/** What the wait never exceeds. */
export declare const TRY_UPWARD_CAP = 600000;
export declare class Choice {
    #private;
    readonly transports: readonly Transport[];
    readonly remember: (transport: Transport) => void;
    /**
     * `transports`: from the best to the worst, at least one. `remembered`: what worked before. `remember` is told
     * what is found to work.
     */
    constructor(transports: readonly Transport[], now: number, remembered?: string | null, remember?: (transport: Transport) => void);
    next(): Transport;
    /** It did what it is for. */
    worked(transport: Transport, now: number): void;
    /**
     * It could not be opened, or died without having worked. `reached`: something answered, so the network is not
     * what is wrong. True: another transport should be tried at once.
     */
    failed(transport: Transport, reached: boolean, now: number): boolean;
    /** It is time to try the best transport beside the one in use. */
    upward(now: number): boolean;
    /** The result of a trial of the best transport. True: leave the present line and ask `next`. */
    tried(works: boolean, now: number): boolean;
}

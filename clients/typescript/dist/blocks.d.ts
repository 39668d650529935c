/** The snapshots of one topic (4 MiB of text) come one by one, but a compact end may be as large. */
export declare const MAX_BLOCK: number;
export interface Block {
    /** The JSON of `data:`. */
    data: any;
    id: string | undefined;
}
export declare class BlockReader {
    #private;
    /** Milliseconds of the last `retry:`. */
    retry: number | undefined;
    /** The blocks that are whole with this text. */
    push(text: string): Block[];
}

/** The last event a reader has; everything after it is owed. Seq 0 matches any epoch. */
export interface Position {
    readonly epoch: string;
    readonly seq: number;
    readonly partial: boolean;
}
/** The epoch of a topic that does not exist. */
export declare const NOWHERE = "00000000";
/** Undefined: the text is no position. */
export declare function parsePosition(text: string | null | undefined): Position | undefined;
export declare function formatPosition({ epoch, seq, partial }: Position): string;

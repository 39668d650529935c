import type { TypesTextKind } from './schema.js';
export interface Part {
    part: number;
    kind: TypesTextKind;
    text: string;
    /** UTF-8 bytes that are missing at the beginning. */
    omitted?: number;
}
/** A part as it comes; part and kind have defaults. */
export type IncomingPart = {
    part?: number;
    kind?: TypesTextKind;
    text: string;
    omitted?: number;
};
export declare function append(parts: Part[], part: number, kind: TypesTextKind, text: string): void;
/** The text of one kind, its parts joined. */
export declare function textOf(parts: readonly Part[], kind: TypesTextKind): string;
/** What a snapshot or a compact end event says, replacing all but the beginnings that it omits and that are held. */
export declare function replaced(held: readonly Part[], by: readonly IncomingPart[]): Part[];
/** `message.completed` with `text`: the whole answer replaces the parts of kind `text`. */
export declare function completeWith(parts: Part[], text: string): Part[];

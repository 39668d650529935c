import type { TypesTextKind } from './schema.js';
export interface Outgoing {
    type: string;
    data: any;
    id?: string;
    /** Set: `data` is nothing but this. */
    delta?: {
        messageId: string;
        part: number;
        kind: TypesTextKind;
        text: string;
    };
    /** Upper bound of its bytes on the wire. */
    bytes: number;
}
export declare function utf8(text: string): number;
/** Bytes of a text as JSON, without quotes. */
export declare function jsonBytes(text: string): number;
export declare function delta(messageId: string, part: number, kind: TypesTextKind, text: string, known?: number): Outgoing;
/** What the application hands over. `data` is copied, so that changing it later changes nothing. */
export declare function outgoing({ type, data, id }: {
    type: string;
    data?: any;
    id?: string;
}): Outgoing;
/** Which message it is about, if it is about the text of one. */
export declare function messageOf(event: Outgoing): string | undefined;
/** `next` joined to `held`, if it continues it and both take at most `max` bytes of JSON. */
export declare function joined(held: Outgoing | undefined, next: Outgoing, max: number): Outgoing | undefined;
/** Divides a delta whose text takes more than `max` bytes of JSON; anything else stays whole. */
export declare function divided(event: Outgoing, max: number): Outgoing[];
/** As it stands in a frame. */
export declare function wire({ type, data, id }: Outgoing): object;

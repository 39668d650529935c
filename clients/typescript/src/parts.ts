// The text of one message: one entry for each (part, kind), in the order in which they first appeared.
import type { TypesTextKind } from './schema.js';

/** One text of a message. */
export interface Part {
  /** Which text of its kind; most messages have only number 0. */
  part: number;
  /** `text`, `reasoning` or `tool_input`. */
  kind: TypesTextKind;
  /** The text as far as it was read. */
  text: string;
  /** UTF-8 bytes that are missing at the beginning. */
  omitted?: number;
}

/** A part as it comes; part and kind have defaults. */
export type IncomingPart = { part?: number; kind?: TypesTextKind; text: string; omitted?: number };

export function append(parts: Part[], part: number, kind: TypesTextKind, text: string): void {
  // the one that grows is nearly always the last
  const held = parts.findLast((p) => p.part === part && p.kind === kind);
  if (held) held.text += text;
  else parts.push({ part, kind, text });
}

/** The text of one kind, its parts joined. */
export function textOf(parts: readonly Part[], kind: TypesTextKind): string {
  return parts.reduce((text, p) => (p.kind === kind ? text + p.text : text), '');
}

/** What a snapshot or a compact end event says, replacing all but the beginnings that it omits and that are held. */
export function replaced(held: readonly Part[], by: readonly IncomingPart[]): Part[] {
  return by.map(({ part = 0, kind = 'text', text, omitted = 0 }) => {
    const mine = omitted > 0 ? held.find((p) => p.part === part && p.kind === kind) : undefined;
    const missing = mine?.omitted ?? 0;
    const head = mine && omitted >= missing ? beginning(mine.text, omitted - missing) : undefined;
    const left = head === undefined ? omitted : missing;
    const whole = { part, kind, text: (head ?? '') + text };
    return left > 0 ? { ...whole, omitted: left } : whole;
  });
}

/** `message.completed` with `text`: the whole answer replaces the parts of kind `text`. */
export function completeWith(parts: Part[], text: string): Part[] {
  const first = parts.findIndex((p) => p.kind === 'text');
  const others = parts.filter((p) => p.kind !== 'text');
  // only other kinds stand before the first of kind text, so its place is still right
  others.splice(first < 0 ? others.length : first, 0, { part: parts[first]?.part ?? 0, kind: 'text', text });
  return others;
}

/** The first `bytes` UTF-8 bytes of a text; undefined where it is shorter or they end inside a character. */
function beginning(text: string, bytes: number): string | undefined {
  const all = new TextEncoder().encode(text);
  // the byte behind must begin a character
  if (all.length < bytes || (all[bytes]! & 0xc0) === 0x80) return undefined;
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(all.subarray(0, bytes));
}

// An event to be published, and how many bytes it takes on the wire.
//
// Deltas stay text until they are sent, so that those that wait can be joined and long ones divided; everything else
// is JSON from the start. A delta with an id or with members of its own is not joined, and goes as it is.
import type { TypesTextKind } from './schema.js';

/** Bytes a delta takes beside its text and message id, generously. */
const DELTA_OVERHEAD = 112;
/** Bytes any other event takes beside its JSON, generously. */
const EVENT_OVERHEAD = 32;

export interface Outgoing {
  type: string;
  data: any;
  id?: string;
  /** Set: `data` is nothing but this. */
  delta?: { messageId: string; part: number; kind: TypesTextKind; text: string };
  /** Upper bound of its bytes on the wire. */
  bytes: number;
}

const encoder = new TextEncoder();

export function utf8(text: string): number {
  return encoder.encode(text).length;
}

/** Bytes of a text as JSON, without quotes. */
export function jsonBytes(text: string): number {
  return utf8(JSON.stringify(text)) - 2;
}

export function delta(messageId: string, part: number, kind: TypesTextKind, text: string, known?: number): Outgoing {
  const data: any = { message_id: messageId, text };
  if (kind !== 'text') data.kind = kind;
  if (part !== 0) data.part = part;
  const bytes = known ?? DELTA_OVERHEAD + jsonBytes(messageId) + jsonBytes(text);
  return { type: 'token.delta', data, delta: { messageId, part, kind, text }, bytes };
}

/** What the application hands over. `data` is copied, so that changing it later changes nothing. */
export function outgoing({ type, data, id }: { type: string; data?: any; id?: string }): Outgoing {
  if (type === 'token.delta' && id === undefined && plainDelta(data)) {
    return delta(data.message_id, data.part ?? 0, data.kind ?? 'text', data.text);
  }
  const json = JSON.stringify(data ?? null);
  const bytes = EVENT_OVERHEAD + utf8(type) + utf8(json) + (id === undefined ? 0 : 8 + jsonBytes(id));
  return { type, data: JSON.parse(json), id, bytes };
}

const MEMBERS = new Set(['message_id', 'text', 'kind', 'part']);

function plainDelta(data: any): boolean {
  if (typeof data?.message_id !== 'string' || typeof data.text !== 'string') return false;
  return Object.keys(data).every((member) => MEMBERS.has(member));
}

/** Which message it is about, if it is about the text of one. */
export function messageOf(event: Outgoing): string | undefined {
  if (event.delta) return event.delta.messageId;
  const about = event.type.startsWith('message.') ? event.data?.message_id : undefined;
  return typeof about === 'string' ? about : undefined;
}

/** `next` joined to `held`, if it continues it and both take at most `max` bytes of JSON. */
export function joined(held: Outgoing | undefined, next: Outgoing, max: number): Outgoing | undefined {
  const [a, b] = [held?.delta, next.delta];
  if (!a || !b || a.messageId !== b.messageId || a.part !== b.part || a.kind !== b.kind) return undefined;
  const overhead = DELTA_OVERHEAD + jsonBytes(a.messageId);
  // known, so that each delta is measured once
  const bytes = held!.bytes + next.bytes - overhead;
  return bytes - overhead > max ? undefined : delta(a.messageId, a.part, a.kind, a.text + b.text, bytes);
}

/** Divides a delta whose text takes more than `max` bytes of JSON; anything else stays whole. */
export function divided(event: Outgoing, max: number): Outgoing[] {
  const { delta: whole } = event;
  if (!whole || jsonBytes(whole.text) <= max) return [event];
  const pieces: Outgoing[] = [];
  let text = '';
  let bytes = 0;
  const cut = () => pieces.push(delta(whole.messageId, whole.part, whole.kind, text));
  for (const c of whole.text) {
    const takes = jsonBytes(c);
    if (bytes + takes > max && text) {
      cut();
      text = '';
      bytes = 0;
    }
    text += c;
    bytes += takes;
  }
  cut();
  return pieces;
}

/** As it stands in a frame. */
export function wire({ type, data, id }: Outgoing): object {
  return id === undefined ? { type, data } : { type, id, data };
}

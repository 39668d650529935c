// What a subscription hands to the application.
import type { IncomingPart } from './parts.js';
import type { EventsEnvelopeNew, TypesGapReason, TypesResetReason } from './schema.js';

/**
 * An event of a topic, with its topic; or what the client has to say about the topic itself:
 * - `tidewire.gap`: the events `from` to `to` are gone (`reason`). Snapshots of what is still open follow.
 * - `tidewire.reset`: forget all you have of the topic (`reason`). All that is kept follows.
 * - `tidewire.ended`: this topic is not read any more (`code`, `reason`), while others of the subscription are.
 */
export interface TopicEvent {
  /** Whose event it is. */
  topic: string;
  /** Such as `token.delta`. See docs/protocol.md, section 4, and `tidewire/schema` for the shapes of `data`. */
  type: string;
  /** As it was published. */
  data?: any;
  /** Its number in the topic. Jumps are normal; loss is always told. Absent in `message.snapshot`. */
  seq?: number;
  /** Of deltas that were merged: the number of the first. */
  first_seq?: number;
  /** The publisher's own id. */
  id?: string;
  /** Unix milliseconds by the broker's clock. */
  time?: number;
  /** Who published it. */
  source?: string;
  /** Of an end event that stands for a whole message: its text. */
  parts?: IncomingPart[];
  /** Of an end event that stands for a whole message: the `data` of its `message.started`. */
  started?: any;
  /** Of `tidewire.gap`: the first event that is gone. */
  from?: number;
  /** Of `tidewire.gap`: the last event that is gone. */
  to?: number;
  /** Of `tidewire.reset`: the new life of the topic. */
  epoch?: string;
  /** Of the three of the client: why. */
  reason?: TypesGapReason | TypesResetReason | string;
  /** Of `tidewire.ended`: as the `code` of an error. */
  code?: string;
}

/** An event to publish. */
export type NewEvent = EventsEnvelopeNew;

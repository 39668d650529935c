// A reader's view of a topic: the text of its messages, folded from what it reads (docs/protocol.md, section 17).
//
// Invariants:
// - a snapshot, or an end event with `parts`, replaces what was held but for the beginning it omits;
// - a message held open over a `gap` that got no snapshot by the time the position is whole again is `lost`:
//   it ended where nobody can read it;
// - a `reset` forgets everything.
//
// Bounds: open messages are bounded by the broker (1,024 a topic); of ended ones the last `ENDED_KEPT` are held.
import { append, completeWith, replaced, textOf, type IncomingPart, type Part } from './parts.js';

/** Ended messages that are held. */
export const ENDED_KEPT = 256;

/** An event as far as a fold looks at it. */
export interface Foldable {
  type: string;
  data: any;
  source?: string;
  parts?: IncomingPart[];
  started?: any;
}

/** One message as far as it was read. Views are never changed: a message that changed has a new one. */
export interface Message {
  /** Its `message_id`. */
  readonly id: string;
  /** `lost`: it ended in a gap, and nobody can know how. */
  readonly state: 'open' | 'completed' | 'interrupted' | 'lost';
  /** The answer: its parts of kind `text`. */
  readonly text: string;
  /** Its parts of kind `reasoning`. */
  readonly reasoning: string;
  /** All its texts, in order of first appearance. */
  readonly parts: readonly Readonly<Part>[];
  /** Why it was interrupted. */
  readonly reason?: string;
  /** Why it was complete, as the agent said. */
  readonly finishReason?: string;
  /** The `data` of `message.started`, if it was seen. */
  readonly started?: any;
  /** The `data` of its end event, such as `usage`, once it has one. */
  readonly ended?: any;
  /** Who writes it. */
  readonly source?: string;
}

interface Held {
  id: string;
  state: Message['state'];
  source?: string;
  started?: any;
  parts: Part[];
  ended?: any;
  /** Held open over a gap, and not yet settled by a snapshot. */
  unsettled?: boolean;
  /** As it was shown last, unless it has changed since. */
  view?: Message;
}

function shown({ id, state, source, started, parts, ended }: Held): Message {
  return {
    id,
    state,
    text: textOf(parts, 'text'),
    reasoning: textOf(parts, 'reasoning'),
    parts: parts.map((part) => ({ ...part })),
    reason: ended?.reason,
    finishReason: ended?.finish_reason,
    started,
    ended,
    source,
  };
}

export class Fold {
  #messages: Held[] = [];

  /** In order of first appearance. */
  messages(): Message[] {
    return this.#messages.map((message) => (message.view ??= shown(message)));
  }

  /** Applies one event; false: nothing to show changed. */
  apply(event: Foldable): boolean {
    const { type, data } = event;
    if (type === 'tidewire.gap') {
      // what is held open now must be settled by a snapshot
      for (const message of this.#messages) message.unsettled ||= message.state === 'open';
      return false;
    }
    if (type === 'tidewire.reset') {
      this.#messages = [];
      return true;
    }
    const ended = type === 'message.completed' || type === 'message.interrupted';
    const known = ended || type === 'token.delta' || type === 'message.started' || type === 'message.snapshot';
    if (!known || typeof data?.message_id !== 'string') return false;
    const message = this.#open(data.message_id, event.source);
    if (type === 'token.delta') append(message.parts, data.part ?? 0, data.kind ?? 'text', String(data.text));
    else if (type === 'message.started') {
      message.started = data;
      message.source = event.source ?? message.source;
    } else if (ended) this.#end(message, event);
    else {
      message.parts = replaced(message.parts, data.parts ?? []);
      message.started = data.started;
      message.source = data.source;
      message.unsettled = false;
    }
    message.view = undefined;
    return true;
  }

  /** After everything up to a whole position was applied: what is not settled is lost. True: something was. */
  whole(): boolean {
    const lost = this.#messages.filter((message) => message.unsettled);
    for (const message of lost) {
      message.unsettled = false;
      message.state = 'lost';
      message.view = undefined;
    }
    return lost.length > 0;
  }

  #end(message: Held, { type, data, parts, started }: Foldable): void {
    if (parts) message.parts = replaced(message.parts, parts);
    if (started) message.started = started;
    message.unsettled = false;
    message.ended = data;
    message.state = 'interrupted';
    if (type === 'message.completed') {
      if (!parts && typeof data.text === 'string') message.parts = completeWith(message.parts, data.text);
      message.state = 'completed';
    }
    const ended = this.#messages.filter((held) => held.state !== 'open');
    if (ended.length > ENDED_KEPT) this.#messages.splice(this.#messages.indexOf(ended[0]!), 1);
  }

  /** The open message of that id. One that ended under it before is another message. */
  #open(id: string, source: string | undefined): Held {
    const at = this.#messages.findLastIndex((message) => message.id === id);
    const held = this.#messages[at];
    if (held?.state === 'open') return held;
    if (held) this.#messages.splice(at, 1);
    const message: Held = { id, state: 'open', source, parts: [] };
    this.#messages.push(message);
    return message;
  }
}

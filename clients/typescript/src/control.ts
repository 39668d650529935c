// What clients say to this agent (`run.*`): each event once, whatever happens to the connection.
//
// Invariants:
// - the broker delivers a topic's control events in order, and after a reconnect all that nobody has acknowledged;
//   what was taken over before is recognised by (epoch, seq) and not given out again;
// - an acknowledgement names only a seq, so it goes only over a connection on which the broker has delivered that
//   very event; one that may have been lost in a cut is repeated when the event comes again.
//
// Bound: `REMEMBERED` seqs a topic.
import type { FramesServerControl } from './schema.js';

/** Taken events of one topic that can still be acknowledged. */
export const REMEMBERED = 256;

/** A `run.*` event for the agents of a topic. */
export interface Command {
  /** Where it was said. */
  topic: string;
  /** The life of the topic that `seq` counts in. */
  epoch: string;
  /** Its number in the topic. */
  seq: number;
  /** `run.cancel`, `run.steer`, `run.approve`, or a `run.*` of your own. */
  type: string;
  /** As the client published it; `message_id` says which message is meant. */
  data: any;
  /** Who published it. */
  source?: string;
  /** Unix milliseconds by the broker's clock. */
  time?: number;
}

interface Taken {
  acknowledged: boolean;
  /** Delivered on the present connection. */
  here: boolean;
}

interface Topic {
  epoch: string;
  /** The highest seq that was taken over. */
  last: number;
  taken: Map<number, Taken>;
}

export class ControlInbox {
  #topics = new Map<string, Topic>();

  /** Takes a frame over: what is new in it, and acknowledgements to send again. */
  onFrame({ topic, epoch, events }: FramesServerControl): { commands: Command[]; repeated: object[] } {
    let held = this.#topics.get(topic);
    if (held?.epoch !== epoch) this.#topics.set(topic, (held = { epoch, last: 0, taken: new Map() }));
    const commands: Command[] = [];
    const repeated: object[] = [];
    for (const event of events as unknown as Command[]) {
      const { seq } = event;
      const taken = held.taken.get(seq);
      if (taken) {
        taken.here = true;
        if (taken.acknowledged) repeated.push(acknowledgement(topic, seq));
      }
      if (seq <= held.last) continue;
      held.last = seq;
      held.taken.set(seq, { acknowledged: false, here: true });
      if (held.taken.size > REMEMBERED) held.taken.delete(held.taken.keys().next().value!);
      commands.push({ ...event, topic, epoch });
    }
    return { commands, repeated };
  }

  /** It was dealt with. The answer is the frame to send, if it can go now. */
  acknowledge({ topic, epoch, seq }: Command): object | undefined {
    const held = this.#topics.get(topic);
    const taken = held?.epoch === epoch ? held.taken.get(seq) : undefined;
    if (!taken || taken.acknowledged) return undefined;
    taken.acknowledged = true;
    return taken.here ? acknowledgement(topic, seq) : undefined;
  }

  onDisconnected(): void {
    for (const { taken } of this.#topics.values()) for (const one of taken.values()) one.here = false;
  }
}

function acknowledgement(topic: string, seq: number): object {
  return { op: 'control_ack', topic, seq };
}

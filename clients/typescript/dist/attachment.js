// Attaching as an agent: the claim that every new connection repeats.
//
// Invariants:
// - the first claim leaves the epoch to the broker; every later one names the epoch that was assigned, so the broker
//   sees one agent through all its connections, and a connection that it takes over can bring nothing any more;
// - nothing is published on a connection before its claim is answered.
import { RetryableError } from './errors.js';
/** The `id` of the claim's frame. */
export const CLAIM_ID = 'attach';
/** How long an agent may be gone unless something else is asked for, in milliseconds. */
export const DEFAULT_LEASE = 15_000;
/** Topics that one agent may have: as many as a claim may name. */
export const MAX_TOPICS = 1_000;
export class Claim {
    constructor(producer, leaseMs) {
        this.producer = producer;
        this.leaseMs = leaseMs;
    }
    /** For all topics on a new connection, or for those that come to the present one. */
    frame(topics) {
        const producer = { id: this.producer, epoch: this.epoch };
        return { op: 'attach', id: CLAIM_ID, producer, lease_ms: this.leaseMs, control: topics, demand: topics };
    }
    /** The epoch to publish with, the same for ever. */
    onAttached(answer) {
        if (this.epoch !== undefined && answer.epoch !== this.epoch) {
            throw new RetryableError('disagreement', `the broker attached the agent in epoch ${answer.epoch}, which nobody asked for`);
        }
        return (this.epoch = answer.epoch);
    }
}

/** Taken events of one topic that can still be acknowledged. */
export const REMEMBERED = 256;
export class ControlInbox {
    #topics = new Map();
    /** Takes a frame over: what is new in it, and acknowledgements to send again. */
    onFrame({ topic, epoch, events }) {
        let held = this.#topics.get(topic);
        if (held?.epoch !== epoch)
            this.#topics.set(topic, (held = { epoch, last: 0, taken: new Map() }));
        const commands = [];
        const repeated = [];
        for (const event of events) {
            const { seq } = event;
            const taken = held.taken.get(seq);
            if (taken) {
                taken.here = true;
                if (taken.acknowledged)
                    repeated.push(acknowledgement(topic, seq));
            }
            if (seq <= held.last)
                continue;
            held.last = seq;
            held.taken.set(seq, { acknowledged: false, here: true });
            if (held.taken.size > REMEMBERED)
                held.taken.delete(held.taken.keys().next().value);
            commands.push({ ...event, topic, epoch });
        }
        return { commands, repeated };
    }
    /** It was dealt with. The answer is the frame to send, if it can go now. */
    acknowledge({ topic, epoch, seq }) {
        const held = this.#topics.get(topic);
        const taken = held?.epoch === epoch ? held.taken.get(seq) : undefined;
        if (!taken || taken.acknowledged)
            return undefined;
        taken.acknowledged = true;
        return taken.here ? acknowledgement(topic, seq) : undefined;
    }
    onDisconnected() {
        for (const { taken } of this.#topics.values())
            for (const one of taken.values())
                one.here = false;
    }
}
function acknowledgement(topic, seq) {
    return { op: 'control_ack', topic, seq };
}

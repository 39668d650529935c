// Which transport to use: WebSocket first, server-sent events where WebSockets are blocked, long polling where
// streams are held back on the way.
//
// Invariants:
// - a worse transport is only remembered once it did what the better one had failed to do just before;
// - it is remembered for a while, then the better one is tried again; each failed trial doubles the while;
// - a transport that worked before is given a second chance before it is given up (a broker that restarts
//   refuses every transport for a moment).
//
// A plain state machine without clock: `now` is in milliseconds.

/** What carries the events: a WebSocket, a stream of server-sent events, or one request after the other. */
export type Transport = 'websocket' | 'sse' | 'poll';

/** Until a better transport is first tried again. */
export const TRY_UPWARD = 5_000;
/** What the wait never exceeds. */
export const TRY_UPWARD_CAP = 600_000;

export class Choice {
  /** Index of the transport that was last found to work. */
  #level = 0;
  /** Index of what to try now. */
  #trying = 0;
  #wait = TRY_UPWARD;
  #upwardAt = Infinity;
  #proven = -1;
  #chances = 0;

  /**
   * `transports`: from the best to the worst, at least one. `remembered`: what worked before. `remember` is told
   * what is found to work.
   */
  constructor(
    readonly transports: readonly Transport[],
    now: number,
    remembered?: string | null,
    readonly remember?: (transport: Transport) => void,
  ) {
    const at = transports.indexOf(remembered as Transport);
    if (at <= 0) return;
    this.#level = this.#trying = at;
    this.#upwardAt = now + this.#wait;
  }

  next(): Transport {
    return this.transports[this.#trying]!;
  }

  /** It did what it is for. */
  worked(transport: Transport, now: number): void {
    const at = this.transports.indexOf(transport);
    if (at !== this.#level) {
      this.#wait = TRY_UPWARD;
      this.#upwardAt = at > 0 ? now + this.#wait : Infinity;
      this.remember?.(transport);
    }
    this.#level = this.#trying = this.#proven = at;
    this.#chances = 1;
  }

  /**
   * It could not be opened, or died without having worked. `reached`: something answered, so the network is not
   * what is wrong. True: another transport should be tried at once.
   */
  failed(transport: Transport, reached: boolean, now: number): boolean {
    const at = this.transports.indexOf(transport);
    if (at < this.#level) this.#postpone(now);
    if (at === this.#proven && this.#chances > 0) {
      this.#chances -= 1;
      return false;
    }
    // without a network all transports fail alike; only a WebSocket does not say why
    const next = transport === 'websocket' || reached ? at + 1 : this.transports.length;
    const more = next < this.transports.length;
    this.#trying = more ? next : this.#level;
    return more;
  }

  /** It is time to try the best transport beside the one in use. */
  upward(now: number): boolean {
    return this.#level > 0 && now >= this.#upwardAt;
  }

  /** Another line was found to do with a better transport than this one. */
  behind(transport: Transport): boolean {
    return this.transports.indexOf(transport) > this.#level;
  }

  /** The result of a trial of the best transport. True: leave the present line and ask `next`. */
  tried(works: boolean, now: number): boolean {
    this.#postpone(now);
    // where WebSockets stay blocked, a poller still has streams to try
    this.#trying = works ? 0 : this.#level > 1 ? 1 : this.#level;
    return this.#trying !== this.#level;
  }

  #postpone(now: number): void {
    this.#wait = Math.min(this.#wait * 2, TRY_UPWARD_CAP);
    this.#upwardAt = now + this.#wait;
  }
}

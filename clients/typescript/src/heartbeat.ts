// Notices a dead connection: silence is answered by a ping, and 2.5 × `ping_ms` of it by giving up.
//
// The broker pings after `ping_ms` of its own; where both sides could be seen, this one would wait a quarter
// longer. A browser shows no pings, so this side always has to ask for itself. All times are milliseconds.

export class Heartbeat {
  /** When the other side was heard last. */
  last: number;
  #pinged = false;
  readonly #ping: number;

  /** `ping` is the broker's `ping_ms`. */
  constructor(ping: number, now: number) {
    this.#ping = Math.max(ping, 20);
    this.last = now;
  }

  /** Any frame from the other side. */
  heard(now: number): void {
    this.last = now;
    this.#pinged = false;
  }

  due(now: number): 'nothing' | 'ping' | 'dead' {
    const silence = now - this.last;
    if (silence >= this.#ping * 2.5) return 'dead';
    if (silence < this.#ping * 1.25 || this.#pinged) return 'nothing';
    this.#pinged = true;
    return 'ping';
  }

  /** When to ask `due` again. */
  next(): number {
    return this.last + this.#ping * (this.#pinged ? 2.5 : 1.25);
  }
}

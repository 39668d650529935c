// A WebSocket whose other end is a recorded conversation: what the client sends is kept, what the broker said is fed.
export class Scripted {
  /** All that were opened, the oldest first. */
  static sockets = [];
  sent = [];
  protocol = 'tidewire.v1.json';
  open = true;

  constructor() {
    Scripted.sockets.push(this);
    queueMicrotask(() => {
      this.onopen?.();
      this.feed({ op: 'welcome', session: 's', environment: 'e', limits: {}, ping_ms: 3_600_000 });
    });
  }

  static alive() {
    return Scripted.sockets.filter((socket) => socket.open);
  }

  feed(frame) {
    if (this.open) this.onmessage?.({ data: JSON.stringify(frame) });
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close() {
    this.end(1000);
  }

  end(code) {
    if (!this.open) return;
    this.open = false;
    this.onclose?.({ code, reason: '' });
  }
}

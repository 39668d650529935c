// A TCP proxy between a client and a broker that does what networks do: cut, stall, delay, reset, buffer, and
// block upgrades.
//
// Invariant: what is let through comes whole and in order, also where the delay or the buffering changes on the way.
import { createServer, connect } from 'node:net';
import { once } from 'node:events';

/** What is held back of an answer that is not over: `buffering` keeps all until the broker has ended it. */
const END_OF_CHUNKS = '\r\n0\r\n\r\n';
/** Where it buffers, a WebSocket has no end to wait for: its bytes come in bursts, this many milliseconds apart. */
const BURST = 300;

export class Proxy {
  /** @type {Set<Line>} */
  #lines = new Set();
  #stalled = false;
  #delay = 0;
  /** Refuse new connections. */
  down = false;
  refused = 0;
  /**
   * What happens to upgrades. `swallow`: they are never answered; `refuse`: they are answered with an error; `strip`:
   * the broker sees a plain request; `mute`: they succeed, and nothing comes through.
   */
  upgrades = 'pass';
  /** Answers come when they are over. */
  buffering = false;
  /** Requests seen, as `METHOD path`. */
  requests = [];

  static async start(t, port) {
    const proxy = new Proxy();
    proxy.server = createServer((client) => proxy.#accept(client, port));
    proxy.server.listen(0, '127.0.0.1');
    await once(proxy.server, 'listening');
    proxy.url = `http://127.0.0.1:${proxy.server.address().port}`;
    t.after(() => {
      proxy.server.close();
      proxy.cut();
    });
    return proxy;
  }

  get lines() {
    return this.#lines.size;
  }

  #accept(client, port) {
    if (this.down) {
      this.refused += 1;
      return client.destroy();
    }
    const line = new Line(client, connect(port, '127.0.0.1'));
    line.dead = this.#stalled;
    this.#lines.add(line);
    const end = () => {
      line.end();
      this.#lines.delete(line);
    };
    for (const socket of [line.client, line.broker]) socket.on('error', () => {}).setNoDelay(true);
    client.on('close', end);
    // where nothing comes through any more, an end does not either
    line.broker.on('close', () => line.dead || end());
    client.on('data', (data) => line.dead || this.#onRequest(line, data));
    line.broker.on('data', (data) => line.dead || line.answer(data, this.buffering, this.#delay));
  }

  #onRequest(line, data) {
    const head = data.toString('latin1');
    const request = /^(GET|POST|PUT|DELETE|OPTIONS) (\S+) HTTP/.exec(head);
    if (!request) return line.broker.write(data);
    this.requests.push(`${request[1]} ${request[2]}`);
    line.begin();
    if (/\r\nupgrade: websocket/i.test(head)) {
      if (this.upgrades === 'swallow') return void (line.dead = true);
      if (this.upgrades === 'refuse') return line.client.end('HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n');
      if (this.upgrades === 'strip') data = Buffer.from(head.replace(/\r\n(upgrade|connection): [^\r]*/gi, ''), 'latin1');
      else line.upgraded = true;
      line.mute = this.upgrades === 'mute';
    }
    line.broker.write(data);
  }

  /** Ends every connection, politely. */
  cut() {
    for (const { client } of this.#lines) client.destroy();
  }

  /** Ends every connection with RST. */
  reset() {
    for (const { client } of this.#lines) client.resetAndDestroy();
  }

  /** What is open stays open and carries nothing any more; what comes later does not either if `all`. */
  stall(all = false) {
    for (const line of this.#lines) line.dead = true;
    this.#stalled = all;
  }

  /** Everything towards the client comes so many milliseconds late. */
  delay(ms) {
    this.#delay = ms;
  }
}

/** One connection through the proxy. */
class Line {
  dead = false;
  upgraded = false;
  /** Of an upgraded line: only the answer to the handshake comes through. */
  mute = false;
  /** Of the answer under way: what is held back. */
  #held = [];
  /** What comes late, in order. */
  #late = [];
  #timer;

  constructor(client, broker) {
    this.client = client;
    this.broker = broker;
  }

  /** Another request, so another answer. */
  begin() {
    this.#held = [];
  }

  answer(data, buffering, delay) {
    if (this.mute) {
      const body = data.indexOf('\r\n\r\n') + 4;
      this.dead = true;
      return this.client.write(data.subarray(0, body));
    }
    if (this.upgraded) return this.#later(data, buffering ? BURST - (Date.now() % BURST) : delay);
    this.#held.push(data);
    const all = Buffer.concat(this.#held);
    if (buffering && !isOver(all)) return;
    this.#held = [];
    this.#later(all, delay);
  }

  #later(data, wait) {
    const before = this.#late.at(-1)?.due ?? 0;
    this.#late.push({ data, due: Math.max(before, Date.now() + wait) });
    this.#let();
  }

  #let() {
    clearTimeout(this.#timer);
    while (this.#late[0]?.due <= Date.now()) {
      const { data } = this.#late.shift();
      if (!this.dead && this.client.writable) this.client.write(data);
    }
    if (this.#late.length) this.#timer = setTimeout(() => this.#let(), this.#late[0].due - Date.now());
  }

  end() {
    clearTimeout(this.#timer);
    this.client.destroy();
    this.broker.destroy();
  }
}

/** `answer` is whole; what began before it was held back counts as the middle of one that is sent in chunks. */
function isOver(answer) {
  const text = answer.toString('latin1');
  if (/^HTTP\/1.1 204/.test(text)) return true;
  const length = /^HTTP[^]*?\r\ncontent-length: (\d+)/i.exec(text)?.[1];
  const body = text.indexOf('\r\n\r\n') + 4;
  return length === undefined ? text.endsWith(END_OF_CHUNKS) : answer.length >= body + Number(length);
}

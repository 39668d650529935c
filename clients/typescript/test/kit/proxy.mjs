// A TCP proxy between a client and a broker that does what networks do: cut, stall, delay, reset, buffer, and
// swallow upgrades.
import { createServer, connect } from 'node:net';
import { once } from 'node:events';

/** What is held back of an answer that is not over: `buffer` keeps all until the broker has ended it. */
const END_OF_CHUNKS = '\r\n0\r\n\r\n';

export class Proxy {
  /** @type {Set<{client: import('node:net').Socket, broker: import('node:net').Socket}>} */
  #lines = new Set();
  #stalled = false;
  #delay = 0;
  /** Refuse new connections. */
  down = false;
  refused = 0;
  /** `swallow`: an upgrade is never answered; `refuse`: it is answered with an error. */
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
    const broker = connect(port, '127.0.0.1');
    const line = { client, broker, dead: this.#stalled, mode: 'pass' };
    this.#lines.add(line);
    const end = () => {
      client.destroy();
      broker.destroy();
      this.#lines.delete(line);
    };
    for (const socket of [client, broker]) socket.on('error', end).on('close', end).setNoDelay(true);
    client.on('data', (data) => {
      if (line.dead) return;
      const head = data.toString('latin1');
      const request = /^(GET|POST|PUT|DELETE|OPTIONS) (\S+) HTTP/.exec(head);
      if (request) {
        this.requests.push(`${request[1]} ${request[2]}`);
        line.mode = 'pass';
        if (/\r\nupgrade: websocket/i.test(head)) {
          if (this.upgrades === 'swallow') return void (line.dead = true);
          if (this.upgrades === 'refuse') return client.end('HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n');
        } else if (this.buffering) line.mode = 'buffer';
      }
      broker.write(data);
    });
    let held = [];
    broker.on('data', (data) => {
      if (line.dead) return;
      if (line.mode === 'buffer') {
        held.push(data);
        const all = Buffer.concat(held);
        const text = all.toString('latin1');
        const length = /\r\ncontent-length: (\d+)/i.exec(text)?.[1];
        const body = text.indexOf('\r\n\r\n') + 4;
        const over = length === undefined ? text.endsWith(END_OF_CHUNKS) : all.length >= body + Number(length);
        if (!over) return;
        held = [];
        data = all;
      }
      if (this.#delay > 0) setTimeout(() => client.writable && client.write(data), this.#delay);
      else client.write(data);
    });
  }

  /** Ends every connection, politely. */
  cut() {
    for (const { client } of this.#lines) client.destroy();
  }

  /** Ends every connection with RST. */
  reset() {
    for (const { client } of this.#lines) client.resetAndDestroy();
  }

  /** What is open stays open and carries nothing any more; what comes later does if `all`. */
  stall(all = false) {
    for (const line of this.#lines) line.dead = true;
    this.#stalled = all;
  }

  /** Everything towards the client comes so many milliseconds late. */
  delay(ms) {
    this.#delay = ms;
  }
}

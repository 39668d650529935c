// A real broker for a test: started on a free port, killed with the test, restarted at the same address.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import path from 'node:path';

const root = fileURLToPath(new URL('../..', import.meta.url));
export const binary = path.resolve(root, process.env.BROKER_BIN ?? '../../target/release/tidewire');
if (!existsSync(binary)) throw new Error(`there is no broker at ${binary}: build it, or set BROKER_BIN`);

export const SECRET = 'a secret of at least thirty-two bytes';

/** A folder that goes with the test. */
export function folder(t) {
  const dir = mkdtempSync(path.join(tmpdir(), 'tidewire-ts-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

export class Broker {
  /** `host`: where it listens; it is spoken to over loopback all the same. */
  static async start(t, { args = [], env = {}, host = '127.0.0.1' } = {}) {
    const broker = new Broker(args, env);
    t.after(() => broker.kill());
    await broker.#run(`${host}:0`);
    return broker;
  }

  constructor(args, env) {
    this.args = args;
    this.env = env;
  }

  async #run(listen) {
    const child = spawn(binary, ['serve', '--listen', listen, ...this.args], { env: { ...process.env, ...this.env } });
    this.child = child;
    let out = '';
    let err = '';
    child.stderr.on('data', (data) => (err = (err + data).slice(-4000)));
    this.url = await new Promise((resolve, reject) => {
      child.stdout.on('data', (data) => {
        out += data;
        const url = /listening on (http:\/\/\S+)/.exec(out)?.[1];
        if (url) resolve(url.replace('0.0.0.0', '127.0.0.1'));
      });
      child.once('exit', (code) => reject(new Error(`the broker ended (${code}): ${err}`)));
    });
    this.port = Number(new URL(this.url).port);
  }

  /** Ends it at once, as a crash does; or with SIGTERM, as an update does. */
  async kill(signal = 'SIGKILL') {
    const { child } = this;
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill(signal);
    await once(child, 'exit');
  }

  async restart(signal) {
    await this.kill(signal);
    await this.#run(`127.0.0.1:${this.port}`);
  }

  /** All that a topic keeps, as it was published. */
  async log(topic) {
    const events = [];
    for (let from = 'start'; ; ) {
      const query = new URLSearchParams({ topic, from, limit: '1000' });
      const answer = await fetch(`${this.url}/v1/events?${query}`, { headers: this.#authorization() });
      const page = await answer.json();
      events.push(...page.events);
      if (!page.more) return events;
      from = page.position;
    }
  }

  #authorization() {
    return this.token ? { authorization: `Bearer ${this.token}` } : {};
  }

  async publish(topic, ...events) {
    const answer = await fetch(`${this.url}/v1/publish`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...this.#authorization() },
      body: JSON.stringify({ topic, events }),
    });
    const body = await answer.json();
    if (!answer.ok) throw new Error(JSON.stringify(body));
    return body;
  }
}

/** A token of `tidewire token create`. */
export async function token(...args) {
  const child = spawn(binary, ['token', 'create', '--subject', 'ada', ...args], {
    env: { ...process.env, TIDEWIRE_AUTH_SECRET: SECRET },
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  let out = '';
  child.stdout.on('data', (data) => (out += data));
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error('no token');
  return out.trim();
}

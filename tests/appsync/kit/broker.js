// Brokers with a configuration of their own, and those who may do what there.

import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { BINARY, startBroker } from '../../browser/kit/process.js';
import { BOUND_MS } from '../../browser/kit/until.js';

const run = promisify(execFile);

/** The endpoint as it stands in Amplify's configuration: in lower case it would make wss:// of http://. */
export const endpointOf = (url) => `${url.replace(/^http:/, 'HTTP:')}/event`;

/** A broker whose configuration is `toml`; `again()` starts it another time, on the same port and directory. */
export async function configuredBroker(toml, ...args) {
  const folder = await mkdtemp(join(tmpdir(), 'tidewire-appsync-'));
  const config = join(folder, 'tidewire.toml');
  await writeFile(config, toml);
  const settings = ['--config', config, ...args.map((arg) => (arg === 'FOLDER' ? join(folder, 'data') : arg))];
  let broker = await startBroker('serve', ...settings);
  const { url } = broker;
  return {
    url,
    endpoint: endpointOf(url),
    get log() { return broker.log.join('\n'); },
    end: (signal) => broker.stop(signal),
    async again() { broker = await startBroker('serve', '--listen', new URL(url).host, ...settings); },
    async stop() {
      await broker.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** A new API key: the `key` itself, and the `table` that a broker's configuration needs of it. */
export async function makeKey(name, ...grants) {
  const { stdout, stderr } = await run(BINARY, ['key', 'create', '--name', name, ...grants]);
  return { key: stdout.trim(), table: stderr.slice(stderr.indexOf('[auth.key.')) };
}

/** A secret for tokens, and what makes tokens with it. */
export function makeIssuer() {
  const secret = randomBytes(48).toString('base64');
  return {
    secret,
    async token(subject, ...grants) {
      const { stdout } = await run(BINARY, ['token', 'create', '--subject', subject, ...grants], { env: { ...process.env, TIDEWIRE_AUTH_SECRET: secret } });
      return stdout.trim();
    },
  };
}

/** Tidewire's own API, as a backend without Amplify uses it. */
export function native(url, key) {
  const headers = { 'content-type': 'application/json', ...(key && { authorization: `Bearer ${key}` }) };
  const ask = async (path, options) => {
    const response = await fetch(`${url}${path}`, { headers, signal: AbortSignal.timeout(BOUND_MS), ...options });
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return response.json();
  };
  return {
    publish: (topic, ...events) => ask('/v1/publish', { method: 'POST', body: JSON.stringify({ topic, events }) }),
    /** Everything that a topic keeps. */
    events: async (topic) => (await ask(`/v1/events?${new URLSearchParams({ topic, from: 'start', limit: '1000' })}`)).events,
  };
}

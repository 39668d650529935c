// The real binary: brokers on free ports, and `tidewire pipe`.
//
// Nothing outlives the test process: what it did not stop itself is killed when it exits (the demo's agent
// ends with the demo).

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { BOUND_MS } from './until.js';

// not TIDEWIRE_…: the broker refuses variables of that prefix that it does not know
export const BINARY = process.env.BROKER_BIN || fileURLToPath(new URL('../../../target/release/tidewire', import.meta.url));
const READY = /^tidewire listening on (http:\/\/\S+)$/;
const LOG_LINES = 40;

const running = new Set();
process.on('exit', () => { for (const child of running) child.kill('SIGKILL'); });

function start(args) {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('TIDEWIRE_')));
  const child = spawn(BINARY, args, { env, stdio: ['pipe', 'pipe', 'pipe'] });
  const log = [];
  running.add(child);
  child.on('exit', () => running.delete(child));
  child.on('error', (error) => { running.delete(child); log.push(error.message); });
  child.stdin.on('error', () => {}); // it may end before it has read all
  createInterface({ input: child.stderr }).on('line', (line) => { log.push(line); if (log.length > LOG_LINES) log.shift(); });
  return { child, log };
}

/** `serve` or `demo` with these arguments, on a free port unless they name one. `stop` kills it, or ends it by another signal. */
export async function startBroker(command, ...args) {
  const where = args.includes('--listen') ? [] : ['--listen', '127.0.0.1:0'];
  const { child, log } = start([command, ...where, ...args]);
  const lines = createInterface({ input: child.stdout });
  const url = await new Promise((resolve, reject) => {
    const fail = (why) => reject(new Error(`${BINARY} ${command} ${why}\n${log.join('\n')}`));
    const bound = setTimeout(() => fail('printed no ready line'), BOUND_MS);
    child.once('error', (error) => fail(`did not start: ${error.message}`));
    child.once('exit', (code) => { clearTimeout(bound); fail(`ended (${code})`); });
    lines.on('line', (line) => {
      const ready = READY.exec(line);
      if (ready) { clearTimeout(bound); resolve(ready[1]); }
    });
  });
  return { url, log, stop: (signal) => end(child, signal) };
}

/** `tidewire pipe`: what goes into `stdin` is published; `ended` is its exit code. */
export function startPipe(topic, url, ...args) {
  const { child, log } = start(['pipe', topic, '--url', url, ...args]);
  child.stdout.resume();
  return { stdin: child.stdin, log, ended: once(child, 'exit').then(([code]) => code), stop: () => end(child) };
}

/** Gives the exit code, null where a signal ended it. */
async function end(child, signal = 'SIGKILL') {
  if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
  const gone = once(child, 'exit');
  child.kill(signal);
  const [code] = await gone;
  return code;
}

// Starts agents: each has an Amplify of its own, which keeps its configuration and its one socket for life.
//
// An agent has `call(name, ...args)`, with the operations of agent.js, and `stop()`, which fails if anything was thrown
// that nobody caught.

import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

import { build } from 'esbuild';

import { startAppPage } from '../../browser/kit/app-page.js';
import { BOUND_MS } from '../../browser/kit/until.js';
import { launch } from './chromium.js';

const local = (name) => fileURLToPath(new URL(name, import.meta.url));

/** Agents that are processes of Node, with its own WebSocket or the one of the package `ws`. */
export function nodeAgents(socket = 'own') {
  // Node 20 has it behind a flag
  const execArgv = globalThis.WebSocket ? [] : ['--experimental-websocket', '--no-warnings'];
  return {
    async start({ env } = {}) {
      const child = fork(local('node-agent.js'), [socket], { execArgv, env: { ...process.env, ...env }, serialization: 'advanced', stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
      const waiting = new Map();
      let calls = 0;
      let said = '';
      child.stderr.setEncoding('utf8').on('data', (text) => { said = (said + text).slice(-4_000); });
      const gone = once(child, 'exit').then(() => {
        for (const { reject } of waiting.values()) reject(new Error(`the agent is gone: ${said}`));
      });
      const [greeting] = await Promise.race([once(child, 'message'), gone.then(() => [null])]);
      if (greeting !== 'here') throw new Error(`the agent did not start: ${said}`);
      child.on('message', ({ id, ...answer }) => { waiting.get(id).resolve(answer); waiting.delete(id); });
      const ask = (name, args) => new Promise((resolve, reject) => {
        if (!child.connected) { reject(new Error(`the agent is gone: ${said}`)); return; }
        const id = calls += 1;
        waiting.set(id, { resolve, reject });
        child.send({ id, name, args });
      });
      return agent(ask, async () => {
        const crashed = child.exitCode !== null || child.signalCode !== null;
        child.kill('SIGKILL');
        await gone;
        if (crashed) throw new Error(`the agent crashed: ${said}`);
      });
    },
    async stop() {},
  };
}

/** Agents that are pages of an application on another port than the broker's. */
export async function pageAgents() {
  const [browser, app, { outputFiles: [script] }] = await Promise.all([
    launch(),
    startAppPage(),
    build({ entryPoints: [local('page-agent.js')], bundle: true, format: 'iife', write: false, logLevel: 'error' }),
  ]);
  return {
    async start() {
      const context = await browser.newContext({ ignoreHTTPSErrors: true }); // for the certificate of the TLS test
      const page = await context.newPage();
      page.setDefaultTimeout(BOUND_MS);
      const faults = [];
      page.on('pageerror', (error) => faults.push(error.stack ?? String(error)));
      await page.goto(app.url);
      await page.addScriptTag({ content: script.text });
      const ask = (name, args) => page.evaluate(([operation, given]) => window.operate(operation, given), [name, args]);
      return agent(ask, async () => {
        await context.close();
        if (faults.length > 0) throw new Error(`uncaught in the page: ${faults.join('\n')}`);
      });
    },
    stop: () => Promise.all([browser.close(), app.stop()]),
  };
}

function agent(ask, stop) {
  return {
    async call(name, ...args) {
      let timer;
      const late = new Promise((_, reject) => { timer = setTimeout(reject, BOUND_MS, new Error(`\`${name}\` has no answer`)); });
      const { value, error } = await Promise.race([ask(name, args), late]).finally(() => clearTimeout(timer));
      if (error) throw Object.assign(new Error(error.message), error);
      return value;
    },
    stop,
  };
}

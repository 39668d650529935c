// The package as it would be published: packed, installed into an empty folder, its README and examples run from there;
// its size, and whether its types are those of the schemas.
import assert from 'node:assert/strict';
import { execFile, execFileSync, spawn } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import path from 'node:path';
import test from 'node:test';
import { build } from 'esbuild';
import { Broker, folder } from './kit/broker.mjs';
import { until } from './kit/wait.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const run = promisify(execFile);
const WRITTEN = 'http://127.0.0.1:7070';

/** The first block of code under a heading of the README. */
function snippet(heading) {
  const readme = readFileSync(path.join(root, 'README.md'), 'utf8');
  const found = readme.split(`## ${heading}`)[1]?.match(/```js\n([\s\S]*?)```/)?.[1];
  assert.ok(found?.includes(WRITTEN), `the README has no code under "${heading}"`);
  return found;
}

/** Packs and installs; `ws` is linked from here, so nothing is fetched. */
function install(t) {
  const dir = folder(t);
  const [{ filename }] = JSON.parse(execFileSync('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', dir], { cwd: root, stdio: ['ignore', 'pipe', 'ignore'] }));
  writeFileSync(path.join(dir, 'package.json'), '{"private":true,"type":"module"}');
  execFileSync('npm', ['install', '--offline', '--no-audit', '--no-fund', path.join(dir, filename)], { cwd: dir, stdio: 'ignore' });
  mkdirSync(path.join(dir, 'node_modules/ws'), { recursive: true });
  cpSync(path.join(root, 'node_modules/ws'), path.join(dir, 'node_modules/ws'), { recursive: true });
  return dir;
}

test('packed and installed, the quick starts of the README run as they are written', async (t) => {
  const broker = await Broker.start(t);
  const dir = install(t);
  for (const [file, heading] of [['read.mjs', 'Quick start: show a live answer'], ['agent.mjs', 'Quick start: an agent that publishes']]) {
    // only the address is that of the test's broker
    writeFileSync(path.join(dir, file), snippet(heading).replaceAll(WRITTEN, broker.url));
  }
  const reader = spawn(process.execPath, ['read.mjs'], { cwd: dir });
  t.after(() => reader.kill());
  let out = '';
  reader.stdout.on('data', (data) => (out += data));
  await run(process.execPath, ['agent.mjs'], { cwd: dir, timeout: 20_000 });
  await until('the answer', () => out.trimEnd().endsWith('Hello, world'));

  const { stdout } = await run(process.execPath, ['node_modules/tidewire/examples/agent.mjs', broker.url, '/chat/43'], { cwd: dir, timeout: 20_000 });
  assert.equal(stdout, 'done\n');
  const page = await (await fetch(`${broker.url}/v1/events?topic=/chat/43&replay=compact`)).json();
  assert.match(page.events.at(-1).parts[0].text, /^This answer is written .* cancel it\.$/);
});

test('its types check in an application', async (t) => {
  const dir = install(t);
  writeFileSync(
    path.join(dir, 'app.ts'),
    `import { connect, TerminalError, type Message, type TopicEvent } from 'tidewire';
import { connectAgent } from 'tidewire/agent';
import type { EventsTokenDelta } from 'tidewire/schema';
const tide = connect({ url: 'http://x', getToken: async () => 'token', storage: sessionStorage });
const shown: readonly Message[] = tide.messages('/chat/1').current;
for await (const event of tide.subscribe(['/chat/1'], { from: 'start', replay: 'compact', coalesceMs: 40, types: ['token.*'] })) {
  const one: TopicEvent = event;
  const delta: EventsTokenDelta = one.data;
  console.log(delta.text, shown.length);
}
// @ts-expect-error a url is needed
connect({});
// @ts-expect-error there is no such replay
tide.subscribe('/chat/1', { replay: 'all' });
const message = await connectAgent({ url: 'http://x', producer: 'p' }).message('/chat/1');
await message.delta('x', { kind: 'reasoning' });
export { TerminalError };
`,
  );
  const args = ['--noEmit', '--strict', '--target', 'es2022', '--module', 'nodenext', '--moduleResolution', 'nodenext', '--lib', 'es2023,dom,dom.iterable', '--types', '', 'app.ts'];
  await run(path.join(root, 'node_modules/.bin/tsc'), args, { cwd: dir }).catch((error) => assert.fail(error.stdout));
});

/** Bundles what `import { connect } from 'tidewire'` brings, as a page's build does; `splitting`: what is loaded later apart. */
function bundled(splitting) {
  return build({
    stdin: { contents: `export { connect } from './dist/index.js'`, resolveDir: root },
    bundle: true, minify: true, splitting, metafile: true, write: false,
    format: 'esm', target: 'es2022', platform: 'browser', outdir: 'bundle',
  });
}
const gzipped = (files) => files.reduce((sum, file) => sum + gzipSync(file.contents, { level: 9 }).length, 0);

test('what a page loads at first is under 8,000 bytes gzipped, and no trace of Node is in it', async (t) => {
  const { outputFiles, metafile, warnings } = await bundled(true);
  // the entry and what it imports, but for what is loaded later
  const first = new Set();
  const add = (file) => {
    if (first.has(file)) return;
    first.add(file);
    for (const { path: next, kind } of metafile.outputs[file].imports) if (kind === 'import-statement') add(next);
  };
  add(Object.keys(metafile.outputs).find((file) => metafile.outputs[file].entryPoint === '<stdin>'));
  const isFirst = (file) => [...first].some((name) => file.path.endsWith(`/${name}`));
  const bytes = gzipped(outputFiles.filter(isFirst));
  t.diagnostic(`a page loads ${bytes} bytes at first, ${gzipped(outputFiles)} in all`);
  assert.ok(bytes > 5000 && bytes < 8000, `a page loads ${bytes} bytes at first`);
  assert.ok(outputFiles.some((file) => !isFirst(file)), 'what goes over HTTP is loaded later');
  assert.deepEqual(warnings, []);
  for (const { text } of outputFiles) assert.doesNotMatch(text, /\bprocess\.|require\(|node:/);
});

test('all of it in one bundle is under 10,000 bytes gzipped', async (t) => {
  const { outputFiles } = await bundled(false);
  const bytes = gzipped(outputFiles);
  t.diagnostic(`one bundle has ${bytes} bytes`);
  assert.equal(outputFiles.length, 1);
  assert.ok(bytes < 10_000, `one bundle has ${bytes} bytes`);
});

test('the demo of the broker has this client', async () => {
  await run(process.execPath, ['scripts/bundle-demo.mjs', '--check'], { cwd: root });
});

test('everything that can be imported has a doc comment', async () => {
  await run(process.execPath, ['scripts/docs.mjs', '--check'], { cwd: root }).catch((error) => assert.fail(error.stderr));
});

test('the types are those of the schemas', async () => {
  await run(process.execPath, ['scripts/generate-types.mjs', '--check'], { cwd: root });
});

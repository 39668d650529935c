// Bundles the client for the page of `tidewire demo`: one module, checked in, so that the broker builds without Node.
// `--check` fails when the checked-in one is stale.
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const target = fileURLToPath(new URL('../../../src/cli/demo/tidewire.js', import.meta.url));

const { outputFiles } = await build({
  stdin: { contents: `export { connect } from './src/index.js'`, resolveDir: root },
  absWorkingDir: root,
  bundle: true, minify: true, write: false,
  format: 'esm', target: 'es2022', platform: 'browser', charset: 'utf8',
  banner: { js: '// The TypeScript client (clients/typescript), bundled by its scripts/bundle-demo.mjs. Do not edit: npm run bundle-demo.' },
});
const made = outputFiles[0].text;
if (!process.argv.includes('--check')) writeFileSync(target, made);
else if (readFileSync(target, 'utf8') !== made) {
  console.error('src/cli/demo/tidewire.js is stale: npm run bundle-demo in clients/typescript');
  process.exit(1);
}

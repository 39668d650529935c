// An application's own web server: the packed package, unpacked under /node_modules/tidewire/; the pages of page/,
// bundled with it as an application would be; and what else a test puts there.
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';
import path from 'node:path';
import { build } from 'esbuild';
import { folder } from './broker.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const PAGES = fileURLToPath(new URL('page/', import.meta.url));
const TYPES = { '.html': 'text/html', '.js': 'text/javascript' };

/** Packs the package as it would be published into `dir`: the path of the archive. */
export function pack(dir) {
  const args = ['pack', '--json', '--ignore-scripts', '--pack-destination', dir];
  const [{ filename }] = JSON.parse(execFileSync('npm', args, { cwd: root, stdio: ['ignore', 'pipe', 'ignore'] }));
  return path.join(dir, filename);
}

export class Site {
  /** Paths to what is served there: `{ body, headers }`. */
  #pages = new Map();

  static async start(t) {
    const site = new Site();
    const dir = folder(t);
    execFileSync('tar', ['-xzf', pack(dir), '-C', dir]);
    site.unpacked = path.join(dir, 'package');
    const server = createServer((request, response) => site.#serve(request, response)).listen(0, '127.0.0.1');
    await once(server, 'listening');
    site.url = `http://127.0.0.1:${server.address().port}`;
    t.after(() => (server.close(), server.closeAllConnections()));
    for (const name of ['reader', 'many']) {
      site.put(`/${name}.html`, readFileSync(`${PAGES}${name}.html`, 'utf8'));
      await site.bundle({ entryPoints: [`${PAGES}${name}.js`] });
    }
    return site;
  }

  /** Serves `body` at `at`; its type goes by the name. Gives the address. */
  put(at, body, headers = {}) {
    this.#pages.set(at, { body, headers });
    return this.url + at;
  }

  /** Serves a bundle of what esbuild is given and the package, under the name of the entry. */
  async bundle(options) {
    const { outputFiles } = await build({
      alias: { tidewire: path.join(this.unpacked, 'dist/index.js') },
      bundle: true, splitting: true, minify: true, format: 'esm', outdir: '/', write: false, ...options,
    });
    for (const file of outputFiles) this.put(file.path, file.text);
  }

  #serve(request, response) {
    const { pathname } = new URL(request.url, this.url);
    const [, file] = /^\/node_modules\/tidewire\/((?:\w[\w.-]*\/)*\w[\w.-]*)$/.exec(pathname) ?? [];
    let page = this.#pages.get(pathname);
    try {
      page ??= file && { body: readFileSync(path.join(this.unpacked, file)) };
    } catch {
      // no such file
    }
    if (!page) return response.writeHead(404).end();
    response.writeHead(200, { 'content-type': `${TYPES[path.extname(pathname)]}; charset=utf-8`, ...page.headers }).end(page.body);
  }
}

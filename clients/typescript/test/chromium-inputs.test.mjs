// Bad input in a browser, which tells a page little of what went wrong: each ends in one typed error that says what to
// do. And good input as people write it: the README's quick start, the example, a strict content security policy.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { WebSocketServer } from 'ws';
import { Broker, SECRET, token } from './kit/broker.mjs';
import { launch, newPage } from './kit/chromium.mjs';
import { quickStart } from './kit/readme.mjs';
import { Site } from './kit/site.mjs';
import { DOWN_FROM, QUICK, Tab, TIMEOUTS } from './kit/tab.mjs';
import { typed } from './kit/typist.mjs';
import { until } from './kit/wait.mjs';

const TOPIC = '/chat/42';
const PORTAL = '<!doctype html><title>Log in</title><form><input name="user"></form>';
const FROM_ANYWHERE = {
  'access-control-allow-origin': '*',
  'access-control-allow-headers': 'content-type, authorization, last-event-id',
};

/** A server that is no broker, or a very different one. `upgrade` of a WebSocket, or they are refused. */
async function serve(t, answer, upgrade = (_, socket) => socket.end('HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n')) {
  const server = createServer(answer).on('upgrade', upgrade).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => (server.close(), server.closeAllConnections()));
  return `http://127.0.0.1:${server.address().port}`;
}

/** An address where nobody listens. */
async function nobody() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return `http://127.0.0.1:${port}`;
}

function newer(t) {
  const body = JSON.stringify({ title: 'No such resource', status: 404, code: 'not_found', detail: 'the calls stand under /v2' });
  return serve(t, (request, response) => {
    if (request.method === 'OPTIONS') return response.writeHead(204, FROM_ANYWHERE).end();
    response.writeHead(404, { ...FROM_ANYWHERE, 'content-type': 'application/problem+json' }).end(body);
  });
}

function newerWithin(t) {
  const sockets = new WebSocketServer({ noServer: true });
  sockets.on('connection', (socket) => socket.send('{"op":"hello","version":2}'));
  return serve(t, (_, response) => response.writeHead(404).end(), (...upgrade) => {
    sockets.handleUpgrade(...upgrade, (socket) => sockets.emit('connection', socket));
  });
}

test('input', { concurrency: 6, timeout: 400_000 }, async (t) => {
  const site = await Site.start(t);
  const browser = await launch(t);
  const cases = [];
  const each = (what, run) => {
    for (const [name, transports] of Object.entries(DOWN_FROM)) cases.push([`${name}: ${what}`, (t) => run(t, transports)]);
  };

  /** It ends in one error for each reader, and nothing is tried any more. */
  const endsIn = async (t, read, kind, code, says) => {
    const tab = await Tab.open(await newPage(t, browser), site, { topic: TOPIC, ...read });
    await tab.closed();
    const [errors, statuses] = await tab.ask(() => [reader.errors, reader.statuses]);
    for (const told of Object.values(errors)) {
      assert.deepEqual(told.map((error) => [error.kind, error.code]), [[kind, code]]);
      assert.match(told[0].message, says);
    }
    return statuses;
  };
  const quick = { ...TIMEOUTS, firstConnect: 1500 };

  each('nobody at the address', async (t, transports) => {
    const statuses = await endsIn(t, { url: await nobody(), transports, timeouts: quick }, 'RetryableError', 'unreachable', /cannot reach .* check the url, the network and the broker/);
    assert.ok(statuses.some(({ state }) => state === 'waiting'), 'it was not silent');
  });

  each('an address that swallows everything', async (t, transports) => {
    const url = await serve(t, () => {}, () => {});
    await endsIn(t, { url, transports, timeouts: { ...quick, open: 1000 } }, 'RetryableError', 'silent', /check the url/);
    await endsIn(t, { url, transports: transports.slice(0, 1), timeouts: { ...quick, open: 1000 } }, 'RetryableError', transports[0] === 'websocket' ? 'timeout' : 'silent', /check the url/);
  });

  each('a captive portal before the own origin', async (t, transports) => {
    // WebSockets end there; what is asked over HTTP is a page
    site.put('/behind/v1/sse', PORTAL, { 'content-type': 'text/html' });
    await endsIn(t, { url: `${site.url}/behind`, transports }, 'TerminalError', 'not_tidewire', /check the url, and whether the network wants a log-in/);
  });

  each('a captive portal before another origin, which a page may not read', async (t, transports) => {
    const url = await serve(t, (_, response) => response.writeHead(200, { 'content-type': 'text/html' }).end(PORTAL));
    await endsIn(t, { url, transports, timeouts: quick }, 'RetryableError', 'unreachable', /answers, but not to this page: .* log-in/);
  });

  each('a broker that does not admit the origin', async (t, transports) => {
    // on loopback alone it would admit every page of this machine
    const broker = await Broker.start(t, { host: '0.0.0.0', args: ['--allow-anonymous', '--allowed-origins', 'https://app.example.com'] });
    await endsIn(t, { url: broker.url, transports, timeouts: quick }, 'RetryableError', 'unreachable', /answers, but not to this page: .* allowed_origins/);
  });

  each('a wrong token', async (t, transports) => {
    const broker = await Broker.start(t, { env: { TIDEWIRE_AUTH_SECRET: SECRET } });
    await endsIn(t, { url: broker.url, transports, token: 'no.token.atall' }, 'TerminalError', 'unauthenticated', /bring another token/);
    await endsIn(t, { url: broker.url, transports, token: await token('--subscribe', '/other/*') }, 'TerminalError', 'forbidden', /subscribe/);
  });

  each('a server of a newer version', async (t, transports) => {
    await endsIn(t, { url: await newer(t), transports }, 'TerminalError', 'unsupported_version', /update this client/);
  });

  cases.push(['a server of a newer version that says so on the WebSocket', async (t) => {
    await endsIn(t, { url: await newerWithin(t) }, 'TerminalError', 'unsupported_version', /update this client/);
  }]);

  each('a strict content security policy', async (t, transports) => {
    const broker = await Broker.start(t, { args: QUICK });
    const csp = `default-src 'none'; script-src 'self'; connect-src ${broker.url} ${broker.url.replace('http', 'ws')}`;
    const strict = { url: `${site.url}/strict` };
    site.put(`/strict${broker.port}/reader.html`, readFileSync(new URL('kit/page/reader.html', import.meta.url), 'utf8').replace(/<link.*/, ''), { 'content-security-policy': csp });
    const page = await newPage(t, browser);
    await page.addInitScript(() => {
      globalThis.violations = [];
      document.addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) => violations.push(`${violatedDirective} ${blockedURI}`));
    });
    const tab = await Tab.open(page, { url: `${strict.url}${broker.port}` }, { url: broker.url, topic: TOPIC, transports });
    await tab.connected(transports[0]);
    await tab.hasExactly(broker, await typed(t, broker, TOPIC, { count: 300 }));
    const violations = () => tab.ask(() => violations.filter((one) => !one.endsWith('/favicon.ico')));
    assert.deepEqual(await violations(), []);
    // and the policy is in force
    await tab.ask((url) => fetch(url).catch(() => {}), site.url);
    assert.equal((await violations()).length, 1);
  });

  for (const way of ['without a build', 'bundled']) {
    cases.push([`the README's quick start, ${way}`, async (t) => {
      const broker = await Broker.start(t);
      const code = quickStart('Quick start: show a live answer', broker.url);
      let script = `<script type="importmap">{"imports":{"tidewire":"/node_modules/tidewire/dist/index.js"}}</script><script type="module">${code}</script>`;
      if (way === 'bundled') {
        await site.bundle({ stdin: { contents: code, resolveDir: site.unpacked }, entryNames: 'quick' });
        script = '<script type="module" src="/quick.js"></script>';
      }
      const page = await newPage(t, browser);
      const said = [];
      page.on('console', (message) => said.push(message.text()));
      await page.goto(site.put(`/quick-${way.length}.html`, `<!doctype html><title>quick start</title>${script}`));
      const text = await typed(t, broker, TOPIC, { count: 200 });
      await until('the text', () => said.at(-1) === text);
    }]);
  }

  cases.push(['the example, opened as it says', async (t) => {
    const broker = await Broker.start(t);
    const page = await newPage(t, browser);
    await page.goto(`${site.url}/node_modules/tidewire/examples/page.html?url=${broker.url}&topic=${TOPIC}`);
    const shown = () => page.evaluate(() => document.querySelector('#messages').innerText);
    let grew = 0;
    const looks = async () => {
      const now = (await shown()).length;
      assert.ok(now > grew, 'it grows while it is written');
      grew = now;
    };
    const text = await typed(t, broker, TOPIC, { at: { 400: looks, 800: looks } });
    await until('the whole answer', async () => (await shown()).trim() === text.trim());
    await page.click('#cancel');
    await until('the cancel', async () => (await broker.log(TOPIC)).at(-1).type === 'run.cancel');
  }]);

  await Promise.all(cases.map(([name, run]) => t.test(name, run)));
});

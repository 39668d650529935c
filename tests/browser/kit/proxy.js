// The line between a page and the broker: a TCP proxy that can be cut.
//
// After a cut new connections are accepted and held, so that a test decides what happens while the reader is
// away, without a clock. `requests` keeps the head of every request that went through.

import { createServer, connect } from 'node:net';

export async function startProxy(brokerUrl) {
  const lines = new Set();     // { client, upstream }: without an upstream it is held
  const requests = [];
  let target = new URL(brokerUrl);
  let held = false;            // new connections wait
  let refuse = false;          // the next connection is closed at once
  let budget = Infinity;       // bytes to the page until the line is cut
  let whenCut = null;

  const server = createServer((client) => {
    client.on('error', () => {});
    if (refuse) { refuse = false; client.resetAndDestroy(); return; }
    const line = { client, upstream: null };
    lines.add(line);
    client.on('close', () => { lines.delete(line); line.upstream?.destroy(); });
    if (!held) join(line);
  });

  function join(line) {
    const { client } = line;
    const upstream = line.upstream = connect(target.port, target.hostname);
    upstream.on('error', () => client.destroy());
    upstream.on('close', () => client.destroy());
    client.on('data', (bytes) => {
      const head = bytes.toString('latin1').split('\r\n\r\n')[0];
      if (/^(GET|POST) \S+ HTTP/.test(head)) requests.push(head);
    });
    client.pipe(upstream);
    upstream.on('data', (bytes) => {
      if (bytes.length <= budget) {
        budget -= bytes.length;
        if (!client.write(bytes)) { upstream.pause(); client.once('drain', () => upstream.resume()); }
        return;
      }
      const rest = bytes.subarray(0, budget);
      const tell = whenCut;
      budget = Infinity;
      whenCut = null;
      held = true;
      // these bytes arrive, then the line ends; all others are gone
      client.end(rest);
      cutAll(client);
      upstream.removeAllListeners('data').destroy();
      tell?.();
    });
  }

  function cutAll(except) {
    for (const { client } of lines) if (client !== except) client.resetAndDestroy();
  }

  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    requests,
    /** Ends all connections with a reset; new ones wait until `release`. */
    cut() { held = true; cutAll(); },
    /** Cuts in the middle of what is sent to the page, after so many further bytes; resolves then. */
    cutAfter(bytes) { budget = bytes; return new Promise((resolve) => { whenCut = resolve; }); },
    /** Closes a connection that waits, otherwise the next one as soon as it is made. */
    refuseOnce() {
      const waiting = [...lines].find((line) => !line.upstream);
      if (waiting) waiting.client.resetAndDestroy();
      else refuse = true;
    },
    get refused() { return !refuse; },
    release() { held = false; for (const line of lines) if (!line.upstream) join(line); },
    /** Where new connections lead from now on. */
    lead(brokerUrl) { target = new URL(brokerUrl); },
    async stop() {
      cutAll();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

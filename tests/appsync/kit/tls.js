// A proxy that ends TLS in front of a broker, with a certificate for localhost that was made for one test.

import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer } from 'node:tls';
import { promisify } from 'node:util';

export async function startTls(brokerUrl) {
  const folder = await mkdtemp(join(tmpdir(), 'tidewire-tls-'));
  const [keyFile, certificate] = ['key.pem', 'certificate.pem'].map((name) => join(folder, name));
  await promisify(execFile)('openssl', [
    'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2',
    '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost', '-keyout', keyFile, '-out', certificate,
  ]);
  const { port, hostname } = new URL(brokerUrl);
  const clients = new Set();
  const server = createServer({ key: await readFile(keyFile), cert: await readFile(certificate) }, (client) => {
    const upstream = connect(port, hostname);
    clients.add(client);
    client.on('error', () => upstream.destroy()).on('close', () => { clients.delete(client); upstream.destroy(); });
    upstream.on('error', () => client.destroy()).on('close', () => client.destroy());
    client.pipe(upstream).pipe(client);
  });
  server.on('tlsClientError', () => {});   // the client's to tell
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    endpoint: `https://localhost:${server.address().port}/event`,
    certificate,
    async stop() {
      for (const client of clients) client.destroy();
      await new Promise((resolve) => server.close(resolve));
      await rm(folder, { recursive: true, force: true });
    },
  };
}

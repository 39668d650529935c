// Headless Chromium, and what every page is watched for: errors, and requests to anybody but its own origin.

import { chromium } from 'playwright-core';

import { BOUND_MS } from './until.js';

export function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    args: [
      '--no-sandbox', '--disable-background-networking', '--disable-gpu',
      '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1', // no test may depend on anything outside
    ],
  });
}

/** A page in a context, with `faults`: what it complained about and whom else it asked. */
export async function newPage(context) {
  const page = await context.newPage();
  page.setDefaultTimeout(BOUND_MS);
  const faults = [];
  page.on('pageerror', (error) => faults.push(`uncaught ${error.stack ?? error}`));
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) faults.push(`console ${message.type()}: ${message.text()}`);
  });
  const asked = (url) => {
    const { protocol, host } = new URL(url);
    if (['data:', 'about:'].includes(protocol)) return;
    own ??= host; // the page itself is the first request
    if (host !== own) faults.push(`asked another origin: ${url}`);
  };
  let own;
  page.on('request', (request) => asked(request.url()));
  page.on('websocket', (socket) => asked(socket.url()));
  return { page, faults };
}

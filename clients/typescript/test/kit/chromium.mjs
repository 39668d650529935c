// Headless Chromium, in two kinds.
//
// `launch`: each case has a context of its own. Its pages count as shown and in front, whatever happens.
// `desktop`: one profile, as a person has it; a page has a window of its own, which can be minimised, and what is
// hidden is throttled and can be frozen.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chromium } from 'playwright-core';
import { folder } from './broker.mjs';

const executablePath = process.env.CHROMIUM || '/usr/bin/chromium';
const args = [
  '--no-sandbox', '--disable-background-networking', '--disable-gpu',
  '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1', // no test may depend on anything outside
];

export async function launch(t) {
  const browser = await chromium.launch({ executablePath, args });
  t.after(() => browser.close());
  return browser;
}

/** A page in a context of its own. What nobody caught in it, or an application was told by the client, fails the test. */
export async function newPage(t, browser) {
  const context = await browser.newContext();
  t.after(() => context.close());
  return watched(t, await context.newPage());
}

/** `page`, failing the test where something is thrown in it. */
export function watched(t, page) {
  const faults = [];
  page.on('pageerror', (error) => faults.push(`uncaught ${error.stack ?? error}`));
  page.on('console', (message) => /tidewire/.test(message.text()) && faults.push(message.text()));
  t.after(() => assert.deepEqual(faults, []));
  return page;
}

export class Desktop {
  static async start(t) {
    const profile = folder(t);
    const child = spawn(
      executablePath,
      ['--headless', ...args, '--no-first-run', '--remote-debugging-port=0', `--user-data-dir=${profile}`, 'about:blank'],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    let said = '';
    const address = await new Promise((resolve, reject) => {
      child.stderr.on('data', (data) => {
        said = (said + data).slice(-10_000);
        const found = /listening on (ws:\S+)/.exec(said)?.[1];
        if (found) resolve(found);
      });
      child.once('exit', (code) => reject(new Error(`Chromium ended (${code}): ${said}`)));
    });
    const desktop = new Desktop();
    // the defaults would make every page believe that it is shown
    desktop.browser = await chromium.connectOverCDP(address, { noDefaults: true });
    desktop.context = desktop.browser.contexts()[0];
    t.after(async () => {
      child.kill();
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    });
    desktop.cdp = await desktop.browser.newBrowserCDPSession();
    return desktop;
  }

  /** One after the other: a window does not say who opened it. */
  #opening = Promise.resolve();

  /** A page in a window of its own. It goes with the desktop: one that is frozen cannot be closed. */
  open(t) {
    const opened = this.#opening.then(async () => {
      const [page] = await Promise.all([
        this.context.waitForEvent('page'),
        this.cdp.send('Target.createTarget', { url: 'about:blank', newWindow: true }),
      ]);
      const cdp = await this.context.newCDPSession(page);
      const { windowId } = await cdp.send('Browser.getWindowForTarget');
      return new Window(watched(t, page), cdp, windowId);
    });
    this.#opening = opened.catch(() => {});
    return opened;
  }
}

class Window {
  #cdp;
  #id;

  constructor(page, cdp, id) {
    this.page = page;
    this.#cdp = cdp;
    this.#id = id;
  }

  #become(windowState) {
    return this.#cdp.send('Browser.setWindowBounds', { windowId: this.#id, bounds: { windowState } });
  }

  /** It is minimised: the page is hidden, and throttled. */
  hide() {
    return this.#become('minimized');
  }

  show() {
    return this.#become('normal');
  }

  /** Nothing runs in the page any more, as after the lid was closed. Only a hidden page can be frozen. */
  async sleep() {
    await this.hide();
    await this.#cdp.send('Page.setWebLifecycleState', { state: 'frozen' });
  }

  async wake() {
    await this.#cdp.send('Page.setWebLifecycleState', { state: 'active' });
    await this.show();
  }
}

// The demo as a person meets it: `tidewire demo` with a text, and its page in a tab.

import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { newPage } from './chromium.js';
import { startBroker } from './process.js';
import { POLL_MS, until } from './until.js';

export const TOPIC = '/chat/demo';

/** The demo broker with its agent writing `text`. */
export async function startDemo(text, rate = 200) {
  const folder = await mkdtemp(join(tmpdir(), 'tidewire-demo-'));
  const file = join(folder, 'text.md');
  await writeFile(file, text);
  const broker = await startBroker('demo', '--text', file, '--rate', String(rate));
  return {
    url: broker.url,
    /** How many events its topic has had. */
    head: async () => (await (await fetch(`${broker.url}/v1/topic?topic=${TOPIC}`)).json()).head,
    async stop() {
      await broker.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** What the broker has of an ended message, { text, reasoning, … }, from the end event of a compact page. */
async function keptText(url, messageId) {
  for (let from = 'start', more = true; more;) {
    const query = new URLSearchParams({ topic: TOPIC, from, replay: 'compact', limit: '1000' });
    const page = await (await fetch(`${url}/v1/events?${query}`)).json();
    const end = page.events.find(({ type, data }) => type === 'message.completed' && data.message_id === messageId);
    if (end) return end.parts.reduce((whole, { kind, text }) => ({ ...whole, [kind]: (whole[kind] ?? '') + text }), {});
    ({ position: from, more } = page);
  }
  return null;
}

/** A tab with the demo's page. `texts`: what a message has to become, by the beginning of its id; null: anything. */
export async function openTab(context, url, texts) {
  const { page, faults } = await newPage(context);
  await page.addInitScript(watch, texts);
  const tab = lookingAt(page);
  /** For the report of a test that failed. */
  const describe = async () => {
    const state = await page.evaluate(() => document.querySelector('body > header').innerText).catch((error) => error.message);
    return [url, ...state.split('\n'), ...faults].join('\n  ').slice(0, 2_000);
  };
  try {
    await page.goto(url);
    await page.waitForFunction(() => window.tidewire);
  } catch (error) {
    error.message += `\n${await describe()}`;
    throw error;
  }
  return { page, faults, describe, ...tab };
}

let presses = 0;

/** What can be asked and done in a tab, or in the frame of its second reader. */
export function lookingAt(frame) {
  const ask = (what, argument) => frame.evaluate(what, argument);
  const tab = {
    frame,
    /** Every answer: { id, state, text } as the page holds it. */
    messages: () => ask(() => window.tidewire.messages()),
    stats: () => ask(() => window.tidewire.stats),
    /** How often the shown text of a message changed in this life of the page, and how long it was first. */
    shown: (id) => ask((key) => window.shown[key], id),
    /** The same of a message that a reader who is live has, as soon as it is drawn; null where there is none. */
    async shownSoon(id) {
      if (!(await tab.messages()).some((message) => message.id === id)) return null;
      return until(`${id} to be drawn`, async () => (await tab.shown(id))?.first > 0 && tab.shown(id));
    },
    notice: () => ask(() => document.getElementById('notice').textContent),
    /** The text in the document itself, nothing but the characters. */
    textOf: (id) => ask((key) => document.querySelector(`#answers [data-message-id="${key}"] .text`)?.textContent, id),
    reasoningOf: (id) => ask((key) => document.querySelector(`#answers [data-message-id="${key}"] [data-kind="reasoning"] div`)?.textContent, id),

    /**
     * Presses a button, or none, the moment an answer of the demo is open and has so many characters. Gives its id
     * and its length then. In the page, because from outside the answer could be over before the button is pressed;
     * kept in the session storage, because the button may reload the page.
     */
    async inTheMiddle(characters, button = null) {
      const key = `pressed ${presses += 1}`;
      const handle = await frame.waitForFunction(([name, enough, press]) => {
        const pressed = JSON.parse(sessionStorage.getItem(name));
        if (pressed) return press !== 'reload' || pressed.life !== performance.timeOrigin ? pressed : null;
        const answer = window.tidewire?.messages().find(({ id, state }) => id.startsWith('demo-') && state === 'open');
        if (!answer || answer.text.length < enough) return null;
        sessionStorage.setItem(name, JSON.stringify({ id: answer.id, length: answer.text.length, life: performance.timeOrigin }));
        if (press) document.getElementById(press).click();
        return null;
      }, [key, characters, button], { polling: POLL_MS });
      return handle.jsonValue();
    },
    click: (button) => ask((id) => document.getElementById(id).click(), button),
    live: (transport) => frame.waitForFunction((name) => document.getElementById('state').dataset.state === 'live'
      && (!name || document.getElementById('transport').textContent === name), transport, { polling: POLL_MS }),
    ended: (id) => frame.waitForFunction((key) => {
      const message = window.tidewire.messages().find((one) => one.id === key);
      return message && message.state !== 'open';
    }, id, { polling: POLL_MS }),
  };
  return tab;
}

/** An answer is complete here: in the page's memory and in the document, and as the broker has it. */
export async function assertShows(tab, url, id, text) {
  await tab.ended(id);
  const message = (await tab.messages()).find((one) => one.id === id);
  assert.equal(message.state, 'completed');
  assert.equal(message.text, text, 'what the page holds');
  await until('the page to draw it', async () => (await tab.textOf(id))?.length === text.length);
  assert.equal(await tab.textOf(id), text, 'what the page shows');
  const kept = await keptText(url, id);
  assert.equal(kept.text, text, 'what the broker has');
  assert.equal(await tab.reasoningOf(id), kept.reasoning, 'the reasoning before it');
}

export async function assertNothingLost(tab) {
  const { outOfOrder, gaps, resets } = await tab.stats();
  assert.deepEqual({ outOfOrder, gaps, resets }, { outOfOrder: 0, gaps: 0, resets: 0 });
}

/** In the page, before its own script: whatever is shown, at any moment, is a beginning of what it has to become. */
function watch(texts) {
  window.shown = {};
  const look = () => {
    for (const element of document.querySelectorAll('.text[data-message-id]')) {
      const id = element.dataset.messageId, text = element.textContent;
      const whole = Object.entries(texts).find(([beginning]) => id.startsWith(beginning))?.[1];
      const record = window.shown[id] ??= { changes: 0, first: 0, length: 0 };
      if (text.length === record.length) continue;
      if (whole === undefined) console.error(`a message nobody wrote: ${id}`);
      else if (whole !== null && !whole.startsWith(text)) console.error(`${id} shows ${text.length} characters that are no beginning of its text: … ${text.slice(-60)}`);
      if (text.length < record.length) console.error(`${id} shrank from ${record.length} to ${text.length} characters`);
      record.first ||= text.length;
      record.length = text.length;
      record.changes += 1;
    }
  };
  new MutationObserver(look).observe(document, { subtree: true, childList: true, characterData: true });
}

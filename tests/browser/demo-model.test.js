// What a visitor does: writes to the agent, sees its answer come, stops it, and reads why there is none.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { launch } from './kit/chromium.js';
import { openTab } from './kit/demo.js';
import { startModel } from './kit/model.js';
import { startBroker } from './kit/process.js';
import { until } from './kit/until.js';

const PROMPT = 'What is a tide?\nIn two lines, 🌊 please.';
const ANSWER = 'The sea rises and falls, twice a day, because the moon pulls at it.';
const ENDLESS = 'and on ';

let browser;
before(async () => { browser = await launch(); });
after(() => browser?.close());

describe('the demo with a model', { concurrency: 3, timeout: 120_000 }, () => {
  for (const transport of ['ws', 'sse']) {
    test(`answers a prompt that is sent while it reads over ${transport}`, () => withModel(async ({ model, tab }) => {
      const texts = { 'prompt-': PROMPT, 'answer-': ANSWER };
      const [asking, watching] = [await tab(`?transport=${transport}`, texts), await tab('?coalesce_ms=100', texts)];
      await until('the model to be named', async () => (await asking.page.locator('#prompt').getAttribute('placeholder')) === 'Ask test-model');
      await ask(asking, PROMPT);
      for (const here of [asking, watching]) {
        const [prompt, answer] = [await ended(here, 'prompt-'), await ended(here, 'answer-')];
        assert.deepEqual([prompt.state, prompt.text], ['completed', PROMPT]);
        assert.deepEqual([answer.state, answer.text], ['completed', ANSWER]);
        await until('the answer to be drawn', async () => (await here.textOf(answer.id)) === ANSWER);
        assert.equal(await here.textOf(prompt.id), PROMPT);
        assert.equal(await here.reasoningOf(answer.id), 'Thinking of it.');
        assert.deepEqual(here.faults, []);
      }
      assert.deepEqual(model.prompts, [PROMPT]);
      assert.equal(await asking.page.locator('#prompt').inputValue(), '', 'the field is free again');
    }));

    test(`stops an answer over ${transport}`, () => withModel(async ({ model, tab }) => {
      const here = await tab(`?transport=${transport}`);
      await ask(here, 'endless');
      const id = await until('some of the answer', async () => (await here.messages()).find((one) => one.id.startsWith('answer-') && one.text)?.id);
      await here.page.getByRole('button', { name: `Stop ${id}` }).click();
      const answer = await ended(here, 'answer-');
      assert.deepEqual([answer.state, answer.reason], ['interrupted', 'cancelled']);
      await until('the badge', async () => (await here.page.locator(`[data-message-id="${id}"] .badge`).textContent()) === 'interrupted: cancelled');
      assert.equal(await here.page.getByRole('button', { name: `Stop ${id}` }).count(), 0, 'nothing is left to stop');
      await until('the request to the model to end', () => model.hungUp() === 1);
      assert.ok(answer.text.startsWith(ENDLESS));
      assert.deepEqual(here.faults, []);
    }));
  }

  test('says why there is no answer', () => withModel(async ({ tab }) => {
    const here = await tab('');
    await ask(here, 'fail');
    const answer = await ended(here, 'answer-');
    assert.deepEqual([answer.state, answer.reason], ['interrupted', 'error']);
    await until('the reason on the page', async () => (await here.page.locator(`[data-message-id="${answer.id}"] .why`).textContent())
      === "the model's server failed (500)");
    assert.deepEqual(here.faults, []);
  }));
});

describe('the demo with its script', { timeout: 60_000 }, () => {
  test('stops, answers, and goes on', async () => {
    const context = await browser.newContext({ reducedMotion: 'reduce' });
    const demo = await startBroker('demo', '--rate', '100');
    try {
      const here = await openTab(context, `${demo.url}/`, { '': null });
      const id = await until('an answer', async () => (await here.messages()).find((one) => one.id.startsWith('demo-') && one.text)?.id);
      await here.page.getByRole('button', { name: `Stop ${id}` }).click();
      const stopped = await ended(here, id);
      assert.deepEqual([stopped.state, stopped.reason], ['interrupted', 'cancelled']);
      await ask(here, 'Hello?');
      const answer = await ended(here, 'answer-');
      assert.equal(answer.state, 'completed');
      assert.match(answer.text, /--openai-base-url/);
      await until('the next text', async () => (await here.messages()).some((one) => one.id.startsWith('demo-') && one.id !== id));
    } finally {
      await context.close();
      await demo.stop();
    }
  });
});

/** Types it, line by line, and sends it with Enter. */
async function ask({ page }, text) {
  const field = page.locator('#prompt');
  for (const [at, line] of text.split('\n').entries()) {
    if (at > 0) await field.press('Shift+Enter');
    await field.pressSequentially(line);
  }
  await field.press('Enter');
}

/** The first message whose id begins so, when it has ended. */
function ended(here, beginning) {
  return until(`the end of ${beginning}`, async () => (await here.messages()).find(({ id, state }) => id.startsWith(beginning) && state !== 'open'));
}

function* endless() { for (;;) yield ENDLESS; }

async function withModel(run) {
  const context = await browser.newContext({ reducedMotion: 'reduce' });
  const model = await startModel((prompt) => {
    if (prompt === 'endless') return endless();
    if (prompt === 'fail') return null;
    return ANSWER.split(/(?<= )/);
  });
  const demo = await startBroker('demo', '--openai-base-url', model.url, '--model', 'test-model');
  const tabs = [];
  const tab = async (query, texts = { 'prompt-': null, 'answer-': null }) => {
    tabs.push(await openTab(context, `${demo.url}/${query}`, texts));
    return tabs.at(-1);
  };
  try {
    await run({ model, tab });
  } catch (error) {
    for (const { describe } of tabs) error.message += `\n${await describe()}`;
    throw error;
  } finally {
    await context.close();
    await demo.stop();
    await model.stop();
  }
}

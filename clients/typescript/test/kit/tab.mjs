// A tab with the page of `page/reader.js`, and what has to hold of what it was told.
import assert from 'node:assert/strict';
import { until } from './wait.mjs';

/**
 * Silence is found within a second or two here, so that a stall does not take a test a minute. To open a line may take
 * as long as it does by default: on a busy machine it does.
 */
export const TIMEOUTS = { silence: 1200, wait: 1000 };
/** The same of the broker's side. */
export const QUICK = ['--limits-ping-interval', '400ms', '--limits-sse-heartbeat', '400ms'];
/** For lines that are late: a ping may take a while. */
export const PATIENT = ['--limits-ping-interval', '4s', '--limits-sse-heartbeat', '400ms'];
/** From the best transport on, as the application may choose. */
export const DOWN_FROM = { websocket: ['websocket', 'sse', 'poll'], sse: ['sse', 'poll'], poll: ['poll'] };

export class Tab {
  /** Where the statuses begin that count. */
  #begun = 0;
  /** Events, and characters of the last message, when it was asked last. */
  #read = [0, 0];

  /** Opens the reader in `page`; `read` as described there. */
  static async open(page, site, read) {
    const tab = new Tab();
    tab.page = page;
    tab.topic = read.topic;
    await page.goto(`${site.url}/reader.html?read=${encodeURIComponent(JSON.stringify({ timeouts: TIMEOUTS, ...read }))}`);
    return tab;
  }

  ask(what, argument) {
    return this.page.evaluate(what, argument);
  }

  statuses() {
    return this.ask((begun) => reader.statuses.slice(begun), this.#begun);
  }

  /** Until `what` is so in the page; fails with all that the page was told of its connection. */
  async until(what, reached, argument) {
    try {
      return await until(what, () => this.ask(reached, argument), 40_000);
    } catch (error) {
      const told = await this.ask(() => [reader.shown.map(({ text, state }) => [state, text.length]), reader.events.length, reader.errors, reader.statuses]);
      error.message += `\n${JSON.stringify(told)}`;
      throw error;
    }
  }

  /** Both of its lines work, over the transport that the case is about: what is told from here on counts. */
  async connected(transport) {
    await this.until('both lines', (wanted) => {
      const last = [...new Map(reader.statuses.map((status) => [status.line, status])).values()];
      return last.length === 2 && last.every(({ state, transport }) => state === 'connected' && transport === wanted);
    }, transport);
    this.#begun = await this.ask(() => reader.statuses.length - 1);
  }

  /** Both lines have brought something since this was asked last, or all there is. */
  async readsOn() {
    await this.until('both lines to go on', ([events, length]) => {
      const shown = reader.shown.at(-1);
      const over = shown?.state === 'completed' && reader.events.at(-1)?.type === 'message.completed';
      return over || (reader.events.length > events && shown?.text.length > length);
    }, this.#read);
    this.#read = await this.ask(() => [reader.events.length, reader.shown.at(-1).text.length]);
  }

  /** Both lines were given up: nothing is tried behind the application's back. */
  closed() {
    return this.until('both ends', () => reader.statuses.filter(({ state }) => state === 'closed').length === 2);
  }

  /** How often an attempt ended, and why. */
  async endings() {
    return (await this.statuses()).filter(({ state }) => state === 'waiting').map(({ error }) => error.code);
  }

  /** What it was connected over, in order, without repeats. */
  async transports() {
    const all = (await this.statuses()).filter(({ state }) => state === 'connected').map(({ transport }) => transport);
    return all.filter((transport, n) => transport !== all[n - 1]);
  }

  /** Both as messages and as events, the answer has ended; `text` is all of it, and nothing came twice or is missing. */
  async hasExactly(broker, text) {
    await this.until('the end', () => reader.shown.at(-1)?.state === 'completed' && reader.events.at(-1)?.type === 'message.completed');
    const [shown, lives, now, errors, positions] = await this.ask(() => [reader.shown, reader.lives, reader.events, reader.errors, reader.positions()]);
    assert.equal(shown.at(-1).text, text);
    assert.deepEqual(errors, { messages: [], events: [] });
    const log = await broker.log(this.topic);
    const end = log.at(-1);
    assert.equal(textIn(log, end.data.message_id), text, 'the log itself');
    if (lives.length === 0) sameEvents(now, log);
    else coveredBy([...lives, now], log, text);
    assert.ok(positions[this.topic].endsWith(`:${end.seq}`), `${positions[this.topic]} is the end, ${end.seq}`);
  }
}

function textIn(events, id) {
  return events.filter(({ type, data }) => type === 'token.delta' && data.message_id === id).map(({ data }) => data.text).join('');
}

/** Every event of the log, once, in order; and no position was ahead of what had been handed over. */
function sameEvents(events, log) {
  const said = ({ seq, type, data }) => `${seq} ${type} ${JSON.stringify(data)}`;
  assert.deepEqual(events.map(said), log.map(said));
  for (const [n, { stood }] of events.entries()) {
    const handed = n === 0 ? 0 : events[n - 1].seq;
    if (stood) assert.ok(seqOf(stood) <= handed, `${stood} while ${handed} was the last that had come`);
  }
}

/**
 * A page that was loaded again goes on without the text: what is no delta comes once over all lives; a delta comes once
 * or is covered by a snapshot; and the last life has the whole text.
 */
function coveredBy(lives, log, text) {
  const all = lives.flat();
  const numbered = (events) => events.filter(({ type }) => type !== 'token.delta' && type !== 'message.snapshot').map(({ seq, type }) => `${seq} ${type}`);
  assert.deepEqual(numbered(all), numbered(log));
  let covered = 0;
  for (const { type, seq, first_seq = seq, data } of all) {
    if (type === 'message.snapshot') {
      assert.ok(data.upto >= covered, `a snapshot up to ${data.upto} after ${covered}`);
      covered = data.upto;
    } else {
      assert.ok(first_seq > covered || type !== 'token.delta', `the delta ${first_seq} came again after ${covered}`);
      if (type === 'token.delta') {
        const between = log.filter((event) => event.type === 'token.delta' && event.seq > covered && event.seq < first_seq);
        assert.deepEqual(between, [], 'no delta is missing');
        covered = seq;
      }
    }
  }
  let folded = '';
  for (const { type, data } of lives.at(-1)) {
    if (type === 'message.snapshot') folded = data.parts[0].text;
    if (type === 'token.delta') folded += data.text;
  }
  assert.equal(folded, text, 'the last life has the whole text');
}

const seqOf = (position) => Number(/:(\d+)/.exec(position)[1]);

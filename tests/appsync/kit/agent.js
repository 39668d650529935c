// Amplify as an application uses it: what a test may have it do, by name, the same in Node and in a page.
//
// Nothing of Amplify is replaced. It makes its sockets and requests with classes of this platform that also write
// down what passes, because much of the protocol cannot be seen from Amplify's own results.

import { Amplify } from 'aws-amplify';
import { events } from 'aws-amplify/data';
import { Hub } from 'aws-amplify/utils';

const channels = new Map();
const subscriptions = new Map();   // name → { subscription, events, errors }
const states = [];
const sockets = [];                // { protocol, sent, got, close }: frames as they are on the wire, for the length of one test
let posts = 0;

globalThis.WebSocket = class extends globalThis.WebSocket {
  constructor(...where) {
    super(...where);
    const record = { protocol: null, sent: [], got: [], close: null };
    this.record = record;
    sockets.push(record);
    this.addEventListener('open', () => { record.protocol = this.protocol; });
    this.addEventListener('message', ({ data }) => record.got.push(data));
    this.addEventListener('close', ({ code, reason, wasClean }) => { record.close = { code, reason, wasClean }; });
  }

  send(frame) {
    this.record.sent.push(frame);
    super.send(frame);
  }
};

const plainFetch = globalThis.fetch;
globalThis.fetch = (...request) => { posts += 1; return plainFetch(...request); };

Hub.listen('api', ({ payload: { event, data } }) => { if (event === 'ConnectionStateChange') states.push(data.connectionState); });

const operations = {
  configure: (api) => Amplify.configure({ API: { Events: { region: 'eu-central-1', ...api } } }),
  async connect(path, options) { channels.set(path, await events.connect(path, options)); },
  /** `name` is the subscription's from now on. */
  subscribe(path, name, options) {
    const record = { events: [], errors: [] };
    subscriptions.set(name, record);
    record.subscription = channels.get(path).subscribe({
      next: (data) => record.events.push(data.event),
      error: (error) => record.errors.push(error.errors?.[0]?.message ?? String(error)),
    }, options);
  },
  ready: async (name) => (await subscriptions.get(name).subscription.ready).subscriptionId,
  count: (name) => subscriptions.get(name).events.length,
  /** All events, or those from that place on, from the end where it is negative. */
  received: (name, from = 0) => subscriptions.get(name).events.slice(from),
  errors: (name) => subscriptions.get(name).errors,
  publish: (path, event, options) => channels.get(path).publish(event, options),
  post: (path, event, options) => events.post(path, event, options),
  unsubscribe: (name) => subscriptions.get(name).subscription.unsubscribe(),
  close: (path) => channels.get(path).close(),
  closeAll: () => events.closeAll(),
  states: () => states,
  sockets: () => sockets,
  posts: () => posts,
};

/** The answer to one call: `value`, or `error` with what an application can read of it. */
export async function operate(name, args) {
  try {
    return { value: await operations[name](...args) };
  } catch (error) {
    return { error: { message: error.message, name: error.name, status: error.response?.statusCode ?? null } };
  }
}

// A page that reads a topic, as messages and as events, and remembers all it was told, over reloads too.
//
// What it reads is in its address: `?read=` and a JSON object of the options of `connect` with a `topic`. With
// `bringsTokens` the token comes from `window.bringToken`; with `storage` positions are kept in the session; with `waits`
// it begins when it is told to.
import { connect } from 'tidewire';

const { topic, storage, bringsTokens, waits, ...options } = JSON.parse(new URLSearchParams(location.search).get('read'));
const at = () => Math.round(performance.now());
const plain = (error) => error && { kind: error.name, code: error.code, message: error.message, at: at() };

const reader = {
  statuses: [],
  /** Each event, and `stood`: the position of the subscription when it came. */
  events: [],
  /** What `onError` was told, of the messages and of the events. */
  errors: { messages: [], events: [] },
  shown: [],
  /** How often the page was loaded before, and the events of those lives. */
  lives: JSON.parse(sessionStorage.getItem('lives') ?? '[]'),
};
globalThis.reader = reader;
addEventListener('pagehide', () => sessionStorage.setItem('lives', JSON.stringify([...reader.lives, reader.events])));

/** Begins; `more` options. */
reader.begin = (more) => {
  const tide = connect({
    ...options,
    ...more,
    storage: storage ? sessionStorage : undefined,
    getToken: bringsTokens ? () => globalThis.bringToken() : undefined,
    onStatus: ({ error, ...status }) => reader.statuses.push({ ...status, at: at(), error: plain(error) }),
  });
  tide.messages(topic, {
    onChange: (messages) => (reader.shown = messages),
    onError: (error) => reader.errors.messages.push(plain(error)),
  });
  const subscription = tide.subscribe(topic, {
    from: 'start',
    coalesceMs: 0,
    onEvent: (event) => reader.events.push({ ...event, stood: subscription.positions[topic] }),
    onError: (error) => reader.errors.events.push(plain(error)),
  });
  reader.positions = () => subscription.positions;
};
if (!waits) reader.begin();

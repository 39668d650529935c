// A page that shows all messages of some topics as they grow, and times itself.
import { connect } from 'tidewire';

const { url, topics } = JSON.parse(new URLSearchParams(location.search).get('read'));
const box = document.querySelector('main');
const shown = new Map();
const tasks = [];
let connected = 0;
let frame = 0;
let updates = 0;
let crowded = 0;
let blocked = 0;
let last;

/** What an application does: one paragraph for each message, changed where its text has changed. */
function show(topic, messages) {
  for (const message of messages) {
    const key = `${topic} ${message.id}`;
    let held = shown.get(key);
    if (!held) shown.set(key, (held = { paragraph: box.appendChild(document.createElement('p')) }));
    if (held.message === message) continue;
    held.message = message;
    held.paragraph.textContent = message.text;
  }
}

const tide = connect({ url, onStatus: ({ state }) => (connected += state === 'connected' ? 1 : 0) });
for (const topic of topics) {
  let updated = { frame: -1, at: 0 };
  tide.messages(topic, {
    onChange(messages) {
      updates += 1;
      const now = performance.now();
      // where no frame comes for a quarter of a second, what is shown is brought up to date all the same
      if (updated.frame === frame && now - updated.at < 240) crowded += 1;
      updated = { frame, at: now };
      show(topic, messages);
    },
    onError: (error) => console.error(`tidewire: ${error.message}`),
  });
}

globalThis.many = {
  // a line takes a hundred topics
  ready: () => connected >= Math.ceil(topics.length / 100),
  begin() {
    new PerformanceObserver((list) => list.getEntries().forEach(({ duration }) => tasks.push(duration))).observe({ type: 'longtask' });
    const count = () => {
      frame += 1;
      requestAnimationFrame(count);
    };
    requestAnimationFrame(count);
    // how long whatever else wanted to run had to wait: a message to itself, again and again
    const { port1, port2 } = new MessageChannel();
    last = performance.now();
    port1.onmessage = () => {
      const now = performance.now();
      blocked = Math.max(blocked, now - last);
      last = now;
      setTimeout(() => port2.postMessage(0), 0);
    };
    port2.postMessage(0);
  },
  ended: () => [...shown.values()].filter(({ message }) => message.state === 'completed').length,
  seen: () => ({ tasks, blocked: Math.round(blocked), updates, frames: frame, crowded, texts: [...shown.values()].map(({ message }) => message.text) }),
};

// A client that says the protocol's words itself, and so may choose its subscription ids.

import { WebSocket } from 'ws';

import { until } from '../../browser/kit/until.js';

export async function rawClient(url, key) {
  const { host } = new URL(url);
  const authorization = { host, 'x-api-key': key };
  const encoded = Buffer.from(JSON.stringify(authorization)).toString('base64url');
  const socket = new WebSocket(`ws://${host}/event/realtime`, ['aws-appsync-event-ws', `header-${encoded}`]);
  const frames = [];
  socket.on('message', (data) => frames.push(JSON.parse(data)));
  socket.on('error', (error) => frames.push({ type: 'failed', error }));
  socket.on('open', () => socket.send('{"type":"connection_init"}'));
  const frame = (type, id) => until(
    () => `${type} ${id ?? ''} in ${JSON.stringify(frames).slice(0, 1_000)}`,
    () => frames.find((one) => one.type === type && (id === undefined || one.id === id)),
  );
  await frame('connection_ack');
  return {
    frame,
    async subscribe(id, channel) {
      socket.send(JSON.stringify({ type: 'subscribe', id, channel, authorization }));
      await frame('subscribe_success', id);
    },
    async unsubscribe(id) {
      socket.send(JSON.stringify({ type: 'unsubscribe', id }));
      await frame('unsubscribe_success', id);
    },
    /** What has come for a subscription. */
    events: (id) => frames.filter((one) => one.type === 'data' && one.id === id).map(({ event }) => JSON.parse(event)),
    /** Ends without a word, as a line that breaks. */
    cut() { socket.terminate(); },
  };
}

// An agent that writes an answer word by word, and stops when a client asks it to.
//
//   node agent.mjs [URL] [TOPIC]
import { connectAgent } from 'tidewire/agent';

const [url = 'http://127.0.0.1:7070', topic = '/chat/42'] = process.argv.slice(2);
// Node 22 and later have a WebSocket
const WebSocket = globalThis.WebSocket ?? (await import('ws')).WebSocket;
const agent = connectAgent({ url, producer: 'example-agent', WebSocket, token: process.env.TIDEWIRE_TOKEN });

const message = await agent.message(topic, { role: 'assistant' });
const words = 'This answer is written word by word, and whoever reads it can cancel it.'.split(/(?<= )/);
try {
  for (const word of words) {
    message.signal.throwIfAborted();
    await message.delta(word);
    await new Promise((resolve) => setTimeout(resolve, 60));
  }
  await message.complete({ finish_reason: 'stop' });
} catch (error) {
  if (!message.signal.aborted || message.error) throw error;
  await message.interrupt('cancelled');
}
await agent.close();
console.log('done');

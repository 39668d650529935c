// A language model's server, as OpenAI-compatible ones speak: what it says is decided by the prompt.

import { createServer } from 'node:http';
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';

/** `answer(prompt)` gives a list of pieces, or an endless iterator; `null` refuses with 500. */
export async function startModel(answer, paceMs = 5) {
  const prompts = [];
  let hungUp = 0;
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    const prompt = JSON.parse(body).messages.at(-1).content;
    prompts.push(prompt);
    response.on('close', () => { if (!response.writableFinished) hungUp += 1; });
    const pieces = answer(prompt);
    if (pieces === null) {
      response.writeHead(500, { 'Content-Type': 'application/json' }).end('{"error":{"message":"of the server"}}');
      return;
    }
    response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    const say = (choice, more) => response.write(`data: ${JSON.stringify({ choices: [{ index: 0, ...choice }], ...more })}\n\n`);
    say({ delta: { reasoning_content: 'Thinking of it.' } });
    for (const content of pieces) {
      if (response.destroyed) return;
      say({ delta: { content } });
      await pause(paceMs);
    }
    say({ delta: {}, finish_reason: 'stop' });
    response.end('data: [DONE]\n\n');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${server.address().port}/v1`,
    prompts,
    /** Answers whose reader left before their end. */
    hungUp: () => hungUp,
    async stop() {
      server.closeAllConnections();
      await new Promise((closed) => { server.close(closed); });
    },
  };
}

// One request over HTTP.
import { refused, unreachable } from '../refusals.js';
import type { LineSettings } from './line.js';

/** Sends JSON. An answer that is no success is thrown as the error that it is. */
export async function post(s: LineSettings, path: string, body: object, signal: AbortSignal): Promise<Response> {
  const headers: Record<string, string> = { 'content-type': 'application/json' };
  if (s.token) headers.authorization = `Bearer ${s.token}`;
  const request = { method: 'POST', headers, body: JSON.stringify(body), signal, cache: 'no-store' } as const;
  const { fetch = globalThis.fetch } = s;
  const answer = await fetch(s.base + path, request).catch(async (error) => {
    if (signal.aborted) throw signal.reason;
    throw unreachable(s.base, String(error?.cause?.code ?? error?.message ?? error), await answers(fetch, s.base, signal));
  });
  const type = answer.headers.get('content-type') ?? '';
  const expected = path.startsWith('v1/sse') ? 'text/event-stream' : 'json';
  if (answer.ok && type.includes(expected)) return answer;
  const text = await answer.text().catch(() => '');
  throw refused(answer.status, text);
}

/** A page is not told what it was refused for (CORS); that something answers, it can see. */
function answers(fetch: typeof globalThis.fetch, base: string, signal: AbortSignal): Promise<boolean> {
  return fetch(`${base}healthz`, { mode: 'no-cors', cache: 'no-store', signal }).then(
    () => true,
    () => false,
  );
}

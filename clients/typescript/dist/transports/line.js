import { refused, unreachable } from '../endings.js';
/** The largest frame or answer that is read, in characters: the snapshots of a topic arrive as one. */
export const MAX_FRAME = 64 << 20;
export function life(more) {
    const abort = new AbortController();
    const { signal } = abort;
    let timer;
    let open;
    const end = (why) => {
        clearTimeout(timer);
        // only the first reason counts
        abort.abort(why);
    };
    const ended = new Promise((resolve) => signal.addEventListener('abort', () => resolve(signal.reason)));
    const opened = new Promise((resolve, reject) => {
        open = () => resolve({ ...more, ended, close: end });
        void ended.then(reject);
    });
    const after = (wait, due) => {
        clearTimeout(timer);
        if (!signal.aborted)
            timer = setTimeout(due, wait);
    };
    return { opened, signal, over: () => signal.aborted, open, end, after };
}
/** Sends JSON. An answer that is no success is thrown as the error that it is. */
export async function post(s, path, body, signal) {
    const headers = { 'content-type': 'application/json' };
    if (s.token)
        headers.authorization = `Bearer ${s.token}`;
    const request = { method: 'POST', headers, body: JSON.stringify(body), signal, cache: 'no-store' };
    const answer = await s.fetch(s.base + path, request).catch((error) => {
        throw signal.aborted ? signal.reason : unreachable(s.base, String(error?.cause?.code ?? error?.message ?? error));
    });
    const type = answer.headers.get('content-type') ?? '';
    const expected = path.startsWith('v1/sse') ? 'text/event-stream' : 'json';
    if (answer.ok && type.includes(expected))
        return answer;
    const text = await answer.text().catch(() => '');
    throw refused(answer.status, text);
}

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

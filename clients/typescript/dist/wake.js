// What tells a page that time passed unnoticed or that the network is back.
/** Calls `wake` whenever that may be so; the answer ends it. */
export function onWake(wake) {
    const target = globalThis;
    const seen = () => target.document?.visibilityState === 'hidden' || wake();
    const listens = [
        [target, 'online', wake],
        [target, 'pageshow', wake],
        [target.document, 'visibilitychange', seen],
        [target.document, 'resume', wake],
    ];
    for (const [on, name, call] of listens)
        on?.addEventListener?.(name, call);
    return () => {
        for (const [on, name, call] of listens)
            on?.removeEventListener?.(name, call);
    };
}

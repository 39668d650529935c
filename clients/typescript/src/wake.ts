// What tells a page that time passed unnoticed or that the network is back.

/** Calls `wake` whenever that may be so; the answer ends it. */
export function onWake(wake: () => void): () => void {
  const target: any = globalThis;
  const seen = () => target.document?.visibilityState === 'hidden' || wake();
  const listens: [any, string, () => void][] = [
    [target, 'online', wake],
    [target, 'pageshow', wake],
    [target.document, 'visibilitychange', seen],
    [target.document, 'resume', wake],
  ];
  for (const [on, name, call] of listens) on?.addEventListener?.(name, call);
  return () => {
    for (const [on, name, call] of listens) on?.removeEventListener?.(name, call);
  };
}

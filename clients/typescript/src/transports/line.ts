// An open line to a broker, whatever carries it, and what opening one needs.
import type { Block } from '../blocks.js';
import type { TidewireError } from '../errors.js';

/** The largest frame or answer that is read, in characters: the snapshots of a topic arrive as one. */
export const MAX_FRAME = 64 << 20;

/** Times in milliseconds. */
export interface Timeouts {
  /** From the first packet to the first word of the broker. Beyond it a transport counts as blocked. */
  open: number;
  /** Silence of a stream of server-sent events, or beyond the wait of a long poll, after which it is dead. */
  silence: number;
  /** How long a long poll waits for events: 0 to 30,000. */
  wait: number;
  /** How long the very first connection is tried for before `RetryableError` is thrown. */
  firstConnect: number;
}

/** What a WebSocket implementation has to look like: that of the platform, or of `ws`. */
export type WebSocketConstructor = new (url: string, protocols: string[]) => WebSocket;

export interface LineSettings {
  /** Ends with a slash. */
  base: string;
  token: string | undefined;
  timeouts: Timeouts;
  /** Undefined: that of the platform. */
  fetch: typeof fetch | undefined;
  WebSocket: WebSocketConstructor | undefined;
}

export interface Line {
  /** Why it ended. Nothing is handed out after that. */
  readonly ended: Promise<TidewireError>;
  /** Ends it from this side. */
  close(why: TidewireError): void;
  /** Frames out, where the transport takes any. */
  send?(frame: object): void;
  /** Something suggests that time passed unnoticed: make sure that it lives. */
  check(): void;
}

/** What a streaming or polling line asks, and to whom it hands what came. */
export interface Asking {
  /** The body of the request. */
  body(): object;
  /** Throws: the line ends with that. */
  block(block: Block, size: number): void;
}

/** The life of a line: it opens at most once and ends once, with the first reason. */
export interface Life<L extends Line> {
  /** The line, once it opened; rejected if it ended before. */
  opened: Promise<L>;
  /** Aborted with the end. */
  signal: AbortSignal;
  /** Nothing may be handed out any more. */
  over(): boolean;
  open(): void;
  end(why: TidewireError): void;
  /** Calls `due` after so many milliseconds, unless it is called again or the line ends. */
  after(wait: number, due: () => void): void;
}

export function life<L extends Line>(more: Omit<L, 'ended' | 'close'>): Life<L> {
  const abort = new AbortController();
  const { signal } = abort;
  let timer: ReturnType<typeof setTimeout>;
  let open!: () => void;
  const end = (why: TidewireError) => {
    clearTimeout(timer);
    // only the first reason counts
    abort.abort(why);
  };
  const ended = new Promise<TidewireError>((resolve) => signal.addEventListener('abort', () => resolve(signal.reason)));
  const opened = new Promise<L>((resolve, reject) => {
    open = () => resolve({ ...more, ended, close: end } as unknown as L);
    void ended.then(reject);
  });
  const after = (wait: number, due: () => void) => {
    clearTimeout(timer);
    if (!signal.aborted) timer = setTimeout(due, wait);
  };
  return { opened, signal, over: () => signal.aborted, open, end, after };
}

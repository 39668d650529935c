// One WebSocket to a broker: frames out, frames in, and the notice that it is dead.
//
// Invariants: nothing is handed out before `welcome` nor after the end; the line ends once, with the first reason.
import { closed, notTidewire } from '../endings.js';
import { asError, RetryableError, TerminalError, type TidewireError } from '../errors.js';
import { Heartbeat } from '../heartbeat.js';
import type { FramesServer, FramesServerWelcome } from '../schema.js';
import { deferred, MAX_FRAME, type Line, type LineSettings } from './line.js';

export const SUBPROTOCOL = 'tidewire.v1.json';
/** After a wake a living line answers within this time, in milliseconds. */
const CHECK = 5_000;

export interface WebSocketLine extends Line {
  readonly welcome: FramesServerWelcome;
  send(frame: object): void;
}

/** `frame` throws: the line ends with that. */
export function openWebSocket(s: LineSettings, frame: (frame: FramesServer, size: number) => void): Promise<WebSocketLine> {
  const opened = deferred<WebSocketLine>();
  const ended = deferred<TidewireError>();
  const protocols = s.token ? [SUBPROTOCOL, `bearer.${s.token}`] : [SUBPROTOCOL];
  let timer: ReturnType<typeof setTimeout> | undefined;
  let heartbeat: Heartbeat | undefined;
  let over = false;

  function end(why: TidewireError): void {
    if (over) return;
    over = true;
    clearTimeout(timer);
    opened.reject(why);
    ended.resolve(why);
    try {
      socket.close(1000);
    } catch {
      // it never opened
    }
  }
  function beat(): void {
    clearTimeout(timer);
    const due = heartbeat!.due(Date.now());
    if (due === 'dead') return end(new RetryableError('silent', 'the broker has been silent for too long'));
    if (due === 'ping') socket.send('{"op":"ping"}');
    timer = setTimeout(beat, Math.max(heartbeat!.next() - Date.now(), 1));
  }
  function take(text: unknown): void {
    if (typeof text !== 'string') throw new RetryableError('disagreement', 'the broker sent a binary frame');
    if (text.length > MAX_FRAME) throw new RetryableError('too_large', 'the broker sent a frame beyond all bounds');
    const parsed = parse(text);
    if (heartbeat) {
      heartbeat.heard(Date.now());
      return frame(parsed, text.length);
    }
    if (parsed.op !== 'welcome') {
      throw new TerminalError('unsupported_version', 'the broker does not begin with a welcome; update this client');
    }
    heartbeat = new Heartbeat(parsed.ping_ms || 25_000, Date.now());
    beat();
    opened.resolve({
      welcome: parsed,
      ended: ended.promise,
      close: end,
      send: (out) => over || socket.send(JSON.stringify(out)),
      check() {
        if (over) return;
        const before = heartbeat!.last;
        socket.send('{"op":"ping"}');
        clearTimeout(timer);
        timer = setTimeout(() => {
          if (heartbeat!.last !== before) beat();
          else end(new RetryableError('silent', 'the line did not survive the pause'));
        }, CHECK);
      },
    });
  }

  const socket = new s.WebSocket!(`${s.base.replace(/^http/, 'ws')}v1/ws`, protocols);
  timer = setTimeout(() => end(new RetryableError('timeout', 'no WebSocket within the time for it')), s.timeouts.open);
  socket.onopen = () => {
    if (socket.protocol !== SUBPROTOCOL) end(notTidewire(`it does not speak ${SUBPROTOCOL}`));
  };
  socket.onmessage = ({ data }) => {
    if (over) return;
    try {
      take(data);
    } catch (error) {
      end(asError(error, 'disagreement'));
    }
  };
  // what an error was, a close says; `ws` gives one for refusals that pages cannot see
  socket.onerror = () => {};
  socket.onclose = ({ code, reason }) => end(closed(code, reason));
  return opened.promise;
}

function parse(text: string): FramesServer {
  try {
    return JSON.parse(text);
  } catch {
    throw new RetryableError('disagreement', 'the broker sent a frame that is not JSON');
  }
}

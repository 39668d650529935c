// One WebSocket to a broker: frames out, frames in, and the notice that it is dead.
//
// Invariants: nothing is handed out before `welcome` nor after the end; the line ends once, with the first reason.
import { closed } from '../endings.js';
import { asError, RetryableError } from '../errors.js';
import { Heartbeat } from '../heartbeat.js';
import { notTidewire, unsupported } from '../problems.js';
import type { FramesServer } from '../schema.js';
import { life, MAX_FRAME, type Line, type LineSettings } from './line.js';

export const SUBPROTOCOL = 'tidewire.v1.json';
/** After a wake a living line answers within this time, in milliseconds. */
const CHECK = 5_000;

export interface WebSocketLine extends Line {
  send(frame: object): void;
}

/** `frame` throws: the line ends with that. */
export function openWebSocket(s: LineSettings, frame: (frame: FramesServer, size: number) => void): Promise<WebSocketLine> {
  let heartbeat: Heartbeat | undefined;
  const socket = new s.WebSocket!(
    `${s.base.replace(/^http/, 'ws')}v1/ws`,
    s.token ? [SUBPROTOCOL, `bearer.${s.token}`] : [SUBPROTOCOL],
  );
  const send = (out: object) => over() || socket.send(JSON.stringify(out));
  const ping = () => send({ op: 'ping' });
  const { opened, signal, over, open, end, after } = life<WebSocketLine>({
    send,
    check() {
      const { last } = heartbeat!;
      ping();
      after(CHECK, () => (heartbeat!.last === last ? silent() : beat()));
    },
  });
  const silent = () => end(new RetryableError('silent', 'the broker is silent'));

  function beat(): void {
    const due = heartbeat!.due(Date.now());
    if (due === 'dead') return silent();
    if (due === 'ping') ping();
    after(heartbeat!.next() - Date.now(), beat);
  }
  function take(text: unknown): void {
    if (typeof text !== 'string' || text.length > MAX_FRAME) throw new Error('a frame that is no text or too large');
    const parsed: FramesServer = JSON.parse(text);
    if (heartbeat) {
      heartbeat.heard(Date.now());
      return frame(parsed, text.length);
    }
    if (parsed.op !== 'welcome') throw unsupported();
    heartbeat = new Heartbeat(parsed.ping_ms || 25_000, Date.now());
    beat();
    frame(parsed, text.length);
    open();
  }

  after(s.timeouts.open, () => end(new RetryableError('timeout', 'no WebSocket in time; check the url and the network')));
  socket.onopen = () => socket.protocol === SUBPROTOCOL || end(notTidewire(`it does not speak ${SUBPROTOCOL}`));
  socket.onmessage = ({ data }) => {
    try {
      over() || take(data);
    } catch (error) {
      end(asError(error, 'disagreement'));
    }
  };
  // what an error was, the close says
  socket.onerror = () => {};
  socket.onclose = ({ code, reason }) => end(closed(code, reason));
  signal.addEventListener('abort', () => socket.close());
  return opened;
}

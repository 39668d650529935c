import type { FramesServer } from '../schema.js';
import { type Line, type LineSettings } from './line.js';
export declare const SUBPROTOCOL = "tidewire.v1.json";
export interface WebSocketLine extends Line {
    send(frame: object): void;
}
/** `frame` throws: the line ends with that. */
export declare function openWebSocket(s: LineSettings, frame: (frame: FramesServer, size: number) => void): Promise<WebSocketLine>;

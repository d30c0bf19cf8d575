/**
 * What we use of engine.io and `ws` beyond their documented interfaces: they keep it where their types do not show it.
 * The tests of this folder and of the limits fail when that changes.
 */
import { Duplex } from "node:stream";
import type { Socket as EngineSocket } from "engine.io";
import { LinkSocket } from "../../links/link-socket.ts";

/** What is used of the `ws` package's object behind a transport. */
export interface WebSocketControl {
  /** Stops reading, so that TCP slows the sender down. */
  pause(): void;
  resume(): void;
  /** Sends a text frame. */
  send(text: string): void;
  /** Closes at once, without sending what is queued. */
  terminate(): void;
}

/** The WebSocket of a connection; undefined while it polls. */
export function webSocketOf(conn: EngineSocket): WebSocketControl | undefined {
  if (conn.transport.name !== "websocket") return undefined;
  const socket: unknown = Reflect.get(conn.transport, "socket");
  return isWebSocket(socket) ? socket : undefined;
}

/** The TCP or TLS stream below a WebSocket. */
export function streamOf(webSocket: WebSocketControl): Duplex | undefined {
  const stream: unknown = Reflect.get(webSocket, "_socket");
  return stream instanceof Duplex ? stream : undefined;
}

function isWebSocket(value: unknown): value is WebSocketControl {
  return (
    typeof value === "object" &&
    value !== null &&
    "pause" in value &&
    "resume" in value &&
    "send" in value &&
    "terminate" in value
  );
}

/** How often an upgrade to a WebSocket, which has no event for its failure, is checked for its end. */
export const UPGRADE_POLL_MS = 10;

/**
 * Closes an engine.io connection so that its client reconnects; output that was not sent is dropped, because it went back
 * to the peer. Not during an upgrade: a client whose WebSocket closes after the probe was answered and before it has
 * stopped polling continues with neither (engine.io-client 6.6, `_probe`), until its heartbeat fails after 45 s. An
 * upgrade that fails ends by itself.
 */
export function closeConnection(conn: EngineSocket): void {
  if (!conn.upgrading) {
    conn.close(true);
    return;
  }
  // Otherwise the end of the upgrade would send it.
  const unsent: unknown = Reflect.get(conn, "writeBuffer");
  if (Array.isArray(unsent)) unsent.length = 0;
  setTimeout(closeConnection, UPGRADE_POLL_MS, conn).unref();
}

/** Limits polled request bodies. Each polling transport has its own limit; a WebSocket has another one. */
export function limitPolling(conn: EngineSocket, maxBytes: number): void {
  if (conn.transport.name === "polling") Reflect.set(conn.transport, "maxHttpBufferSize", maxBytes);
}

/** Whether `error` is that of `ws` for a frame beyond its limit. */
export function isTooLarge(error: unknown): boolean {
  return error instanceof Error && error.message.includes("Max payload size exceeded");
}

/**
 * Options of engine.io's `write` by which `frames` go out as they are: socket.io's adapter sends broadcasts this way. One
 * or two buffers.
 */
export function preEncoded(frames: readonly Buffer[]): { compress: boolean } {
  return { compress: false, wsPreEncodedFrame: frames } as { compress: boolean };
}

/**
 * The stream of a link that carries a connection's WebSocket, if everything written so far has left for it: what is written
 * to it directly then follows that. Undefined for a TCP connection.
 */
export function idleLinkOf(conn: EngineSocket): LinkSocket | undefined {
  if (conn.readyState !== "open" || conn.upgrading || !conn.transport.writable) return undefined;
  const waiting: unknown = Reflect.get(conn, "writeBuffer");
  if (!Array.isArray(waiting) || waiting.length > 0) return undefined;
  const webSocket: unknown = Reflect.get(conn.transport, "socket");
  if (typeof webSocket !== "object" || webSocket === null) return undefined;
  const stream: unknown = Reflect.get(webSocket, "_socket");
  if (!(stream instanceof LinkSocket)) return undefined;
  // Of the `ws` package: what it and the stream have not passed on yet.
  return Reflect.get(webSocket, "bufferedAmount") === 0 ? stream : undefined;
}

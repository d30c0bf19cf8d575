/**
 * What we use of engine.io and `ws` beyond their documented interfaces: they keep it where their types do not show it.
 * The tests of this folder and of the limits fail when that changes.
 */
import { Duplex } from "node:stream";
import type { Socket as EngineSocket } from "engine.io";
import { WebSocket } from "ws";

/** The WebSocket of a connection; undefined while it polls. */
export function webSocketOf(conn: EngineSocket): WebSocket | undefined {
  if (conn.transport.name !== "websocket") return undefined;
  const socket: unknown = Reflect.get(conn.transport, "socket");
  return socket instanceof WebSocket ? socket : undefined;
}

/** The TCP or TLS stream below a WebSocket. */
export function streamOf(webSocket: WebSocket): Duplex | undefined {
  const stream: unknown = Reflect.get(webSocket, "_socket");
  return stream instanceof Duplex ? stream : undefined;
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
 * Gives `reader` what comes over a connection from now on, instead of socket.io: its decoder hands packets on a turn later, when
 * another connection may have taken over.
 */
export function readPackets(
  conn: EngineSocket,
  reader: { read(packet: string): void; readArgument(bytes: Buffer): void },
): void {
  conn.removeAllListeners("data");
  conn.on("data", (data: unknown) => {
    if (typeof data === "string") reader.read(data);
    else if (Buffer.isBuffer(data)) reader.readArgument(data);
  });
}

/**
 * Counts the messages that come over a connection's WebSocket, from the first one on. Returns a function that tells how many
 * there have been, with the one that is being handled.
 */
export function countMessages(conn: EngineSocket): () => number {
  let count = 0;
  const follow = (): void => {
    // Before engine.io's own listener.
    const webSocket = webSocketOf(conn);
    webSocket?.prependListener("message", () => {
      count++;
      releaseRead(webSocket);
    });
  };
  follow();
  conn.on("upgrade", () => {
    // The two by which engine.io's clients upgrade (`2probe`, `5`).
    count = 2;
    follow();
  });
  return () => count;
}

/**
 * Takes the WebSocket of a connection over: engine.io and socket.io count the connection as closed from then on. Undefined
 * when there is none, or when something that they were given has not been written to it yet.
 */
export function takeWebSocket(
  conn: EngineSocket,
): { readonly webSocket: WebSocket; readonly stream: Duplex } | undefined {
  const webSocket = webSocketOf(conn);
  const stream = webSocket && streamOf(webSocket);
  if (webSocket === undefined || stream === undefined) return undefined;
  if (conn.readyState !== "open" || conn.upgrading || webSocket.readyState !== webSocket.OPEN) {
    return undefined;
  }
  const waiting: unknown = Reflect.get(conn, "writeBuffer");
  if (!Array.isArray(waiting) || waiting.length > 0) return undefined;
  webSocket.removeAllListeners();
  // As if the WebSocket had closed: then engine.io does not close it.
  const { transport } = conn;
  const onClose: unknown = Reflect.get(transport, "onClose");
  if (typeof onClose !== "function") throw new Error("engine.io's transport has no `onClose`");
  onClose.call(transport);
  return { webSocket, stream };
}

/**
 * To be called while a message is handled. `ws` keeps the mask of the last frame as a view of what was read: of one connection
 * to a balancer, which carries many clients, up to 64 KiB for each of them until it sends something again.
 */
export function releaseRead(webSocket: WebSocket): void {
  const receiver: unknown = Reflect.get(webSocket, "_receiver");
  if (typeof receiver === "object" && receiver !== null) Reflect.set(receiver, "_mask", undefined);
}

/** Bytes of a client that have come for its WebSocket and are not a whole message yet. */
export function unfinishedBytes(webSocket: WebSocket): number {
  const receiver: unknown = Reflect.get(webSocket, "_receiver");
  if (typeof receiver !== "object" || receiver === null) return 0;
  const stream = streamOf(webSocket);
  const counts = [
    Reflect.get(receiver, "_bufferedBytes"),
    Reflect.get(receiver, "_messageLength"),
    stream?.readableLength,
  ];
  return counts.reduce<number>((sum, count) => sum + (typeof count === "number" ? count : 0), 0);
}

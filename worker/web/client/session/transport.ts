/**
 * The protocol package's transport over socket.io, like the package's own, with three differences. The page sees each
 * interruption at once. The transport never gives up: after a long absence the server decides whether the peer may return,
 * and a refusal is final. The credentials are also in socket.io's CONNECT packet, because a browser cannot add headers to a
 * WebSocket, so `websocket` alone works where polling does not.
 */
import { signal } from "@preact/signals";
import { Emitter } from "open-collaboration-protocol";
import { io } from "socket.io-client";

export type TransportStatus =
  | "connecting"
  | "open"
  /** Reconnects by itself. */
  | "interrupted"
  /** The server does not accept this peer, or no longer. */
  | "refused";

export type TransportNames = readonly ("polling" | "websocket")[];

/** Of `baseUrl`: with WebSocket alone, the path names the session for the balancer, because there is no header to do it. */
function socketUrl(baseUrl: string, roomId: string, transports: TransportNames): URL {
  const url = new URL(baseUrl);
  const isRouted = transports.includes("polling") || /^\/k\//.test(url.pathname);
  const path = url.pathname.replace(/\/$/, "");
  url.pathname = isRouted ? `${path}/socket.io` : `${path}/k/${roomId}/socket.io`;
  return url;
}

export function createTransport(options: {
  readonly baseUrl: string;
  readonly roomId: string;
  readonly roomToken: string;
  readonly publicKey: string;
  readonly transports: TransportNames;
  /** Sees each message before it is handled. */
  readonly tap?: ((message: Uint8Array) => void) | undefined;
}) {
  const credentials = {
    "x-oct-jwt": options.roomToken,
    "x-oct-public-key": options.publicKey,
    "x-oct-client": "CodeTogether edge web client",
    "x-oct-compression": "gzip",
  };
  const url = socketUrl(options.baseUrl, options.roomId, options.transports);
  const socket = io(url.origin, {
    path: url.pathname,
    transports: [...options.transports],
    extraHeaders: credentials,
    auth: credentials,
    forceNew: true,
    // The first attempt comes soon, because the worker that takes a session over is ready within a second.
    reconnectionDelay: 300,
    // Not a page that is being unloaded: it closes its connection itself, and the server waits for its return.
    closeOnBeforeunload: false,
  });
  const status = signal<TransportStatus>("connecting");
  const reconnected = new Emitter<void>();
  const disconnected = new Emitter<void>();
  const failed = new Emitter<string>();
  let receive: ((data: Uint8Array) => void) | undefined;

  socket.on("connect", () => {
    const isReturn = status.peek() !== "connecting";
    status.value = "open";
    if (isReturn) reconnected.fire();
  });
  socket.on("disconnect", (reason) => {
    status.value = reason === "io server disconnect" ? "refused" : "interrupted";
  });
  socket.on("message", (data: ArrayBuffer | Uint8Array) => deliver(new Uint8Array(data)));

  function deliver(message: Uint8Array): void {
    options.tap?.(message);
    receive?.(message);
  }

  return {
    id: "socket.io",
    status,
    onReconnect: reconnected.event,
    onDisconnect: disconnected.event,
    onError: failed.event,
    // socket.io keeps what is sent while the connection is interrupted.
    async write(data: Uint8Array): Promise<void> {
      socket.send(data);
    },
    read(callback: (data: Uint8Array) => void): void {
      receive = callback;
    },
    /** Delivers messages as if they had arrived, in order. */
    inject(messages: readonly Uint8Array[]): void {
      for (const message of messages) deliver(message);
    },
    dispose(): void {
      disconnected.dispose();
      socket.close();
    },
  };
}

/**
 * A peer that sends arbitrary messages: socket.io and msgpack without the client package, for input that unmodified clients
 * never send.
 */
import {
  BroadcastMessage,
  Encoding,
  Encryption,
  type Message,
  type Peer,
} from "open-collaboration-protocol";
import { io } from "socket.io-client";
import { atEnd } from "./at-end.ts";
import { initializeProtocolWithPooledKeys } from "./rsa-keys.ts";
import { until } from "./until.ts";

initializeProtocolWithPooledKeys();

export interface RawPeer {
  /** Its own peer, as received from the server. */
  readonly self: Peer;
  readonly messages: readonly Message[];
  readonly disconnectReason: string | undefined;
  send(message: unknown): void;
  /** Sends bytes that need not be a message. */
  sendBytes(bytes: Uint8Array): void;
  close(): void;
}

/** Connects with a room token and resolves when `peer/info` has arrived. */
export async function connectRawPeer(options: {
  readonly baseUrl: string;
  readonly roomToken: string;
}): Promise<RawPeer> {
  const messages: Message[] = [];
  let disconnectReason: string | undefined;
  const { publicKey } = await Encryption.generateKeyPair();
  const socket = io(options.baseUrl, {
    forceNew: true,
    extraHeaders: handshakeHeaders(options.roomToken, publicKey),
  });
  atEnd(() => socket.close());
  socket.on("message", (data: Uint8Array) => {
    messages.push(Encoding.decode(new Uint8Array(data)) as Message);
  });
  socket.on("disconnect", (reason) => {
    disconnectReason = reason;
  });
  const self = await until("the raw peer receives peer/info", () => findSelf(messages));
  return {
    self,
    messages,
    get disconnectReason() {
      return disconnectReason;
    },
    send: (message) => socket.send(Encoding.encode(message)),
    sendBytes: (bytes) => socket.send(bytes),
    close: () => socket.close(),
  };
}

/** Connects with the given headers; resolves with the reason of the refusal or disconnect. */
export function tryHandshake(
  baseUrl: string,
  headers: Readonly<Record<string, string>>,
): Promise<string> {
  const socket = io(baseUrl, { forceNew: true, reconnection: false, extraHeaders: headers });
  return new Promise<string>((resolve) => {
    socket.once("disconnect", (reason) => resolve(reason));
    socket.once("connect_error", (error) => resolve(`refused: ${error.message}`));
  }).finally(() => socket.close());
}

/** The headers of a handshake, as the package sends them. */
export function handshakeHeaders(roomToken: string, publicKey: string): Record<string, string> {
  return {
    "x-oct-jwt": roomToken,
    "x-oct-public-key": publicKey,
    "x-oct-client": "ct-edge-raw-test@1.0.0",
    "x-oct-compression": "gzip",
  };
}

/** A chat broadcast with a forged `origin`, encrypted for `readers` only. */
export function chatFor(readers: readonly Peer[], origin: string, text: string): Promise<Message> {
  const keys = readers.map(({ id, metadata }) => ({
    peerId: id,
    publicKey: metadata.encryption.publicKey,
    supportedCompression: metadata.compression.supported,
  }));
  const message = BroadcastMessage.create("chat/message", origin, [text]);
  return Encryption.encrypt(message, { symmetricKey: Encryption.generateSymKey() }, ...keys);
}

function findSelf(messages: readonly Message[]): Peer | undefined {
  for (const message of messages) {
    const { content } = message as Message & { content?: { method?: string; params?: [Peer] } };
    if (content?.method === "peer/info") return content.params?.[0];
  }
  return undefined;
}

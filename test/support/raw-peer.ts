/**
 * A peer that says what it likes: socket.io and msgpack by hand, for what unmodified clients never send.
 */
import {
  BroadcastMessage,
  Encoding,
  Encryption,
  type Message,
  type Peer,
} from "open-collaboration-protocol";
import { io } from "socket.io-client";
import { initializeProtocolWithPooledKeys } from "./rsa-keys.ts";
import { until } from "./until.ts";

initializeProtocolWithPooledKeys();

export interface RawPeer {
  /** Its own peer, as the server told it. */
  readonly self: Peer;
  /** Every message that came, decoded. */
  readonly messages: readonly Message[];
  /** The reason of the last disconnect; undefined while connected. */
  readonly disconnectReason: string | undefined;
  /** Sends any value as a message. */
  send(message: unknown): void;
  /** Sends bytes that may be no message at all. */
  sendBytes(bytes: Uint8Array): void;
  close(): void;
}

/** Connects with a room token and resolves when the server has told the peer who it is. */
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
  socket.on("message", (data: Uint8Array) => {
    messages.push(Encoding.decode(new Uint8Array(data)) as Message);
  });
  socket.on("disconnect", (reason) => {
    disconnectReason = reason;
  });
  try {
    const self = await until("the raw peer is told who it is", () => findSelf(messages));
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
  } catch (error) {
    socket.close();
    throw error;
  }
}

/** Connects with whatever headers; resolves with what the server makes of it. */
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

/** A chat broadcast that pretends to come from `origin`, encrypted for `readers` only. */
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

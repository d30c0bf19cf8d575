/**
 * A host and a guest of the unmodified protocol package, connected in memory: between them is only what a server does to
 * messages.
 */
import {
  BroadcastMessage,
  createConnection,
  Emitter,
  Encoding,
  Encryption,
  type Message,
  Messages,
  type MessageTransport,
  NotificationMessage,
  type Peer,
  type ProtocolBroadcastConnection,
} from "open-collaboration-protocol";
import { initializeProtocolWithPooledKeys } from "../../support/rsa-keys.ts";

export const HOST_ID = "host-peer";
export const GUEST_ID = "guest-peer";

export interface ProtocolPair {
  readonly host: ProtocolBroadcastConnection;
  readonly guest: ProtocolBroadcastConnection;
}

export async function connectPair(): Promise<ProtocolPair> {
  initializeProtocolWithPooledKeys();
  const [hostKeys, guestKeys] = await Promise.all([
    Encryption.generateKeyPair(),
    Encryption.generateKeyPair(),
  ]);
  const hostPeer = peerOf(HOST_ID, hostKeys.publicKey);
  const guestPeer = peerOf(GUEST_ID, guestKeys.publicKey);
  const hostEnd = createEnd();
  const guestEnd = createEnd();
  hostEnd.deliver = (data) => guestEnd.receive(relayed(data, HOST_ID, GUEST_ID));
  guestEnd.deliver = (data) => hostEnd.receive(relayed(data, GUEST_ID, HOST_ID));
  const host = createConnection({ privateKey: hostKeys.privateKey, transport: hostEnd.transport });
  const guest = createConnection({
    privateKey: guestKeys.privateKey,
    host: hostPeer,
    transport: guestEnd.transport,
  });
  hostEnd.receive(
    Encoding.encode(BroadcastMessage.create(Messages.Room.Joined, GUEST_ID, [guestPeer])),
  );
  const init = {
    protocol: "0.3.1",
    host: hostPeer,
    guests: [guestPeer],
    permissions: { readonly: false },
    capabilities: {},
    workspace: { name: "work", folders: ["work"] },
  };
  guestEnd.receive(
    Encoding.encode(NotificationMessage.create(Messages.Peer.Init, HOST_ID, GUEST_ID, [init])),
  );
  return { host, guest };
}

interface End {
  readonly transport: MessageTransport;
  receive(data: Uint8Array): void;
  deliver(data: Uint8Array): void;
}

function createEnd(): End {
  const disconnect = new Emitter<void>();
  const error = new Emitter<string>();
  const reconnect = new Emitter<void>();
  let reader: ((data: Uint8Array) => void) | undefined;
  const end: End = {
    transport: {
      id: "memory",
      write: async (data) => end.deliver(data),
      read(callback) {
        reader = callback;
      },
      dispose() {
        reader = undefined;
      },
      onDisconnect: disconnect.event,
      onError: error.event,
      onReconnect: reconnect.event,
    },
    receive: (data) => reader?.(data),
    deliver() {},
  };
  return end;
}

/** A server writes the sender's id into every message, and leaves the receiver's own keys in it. */
function relayed(data: Uint8Array, origin: string, target: string): Uint8Array {
  const message = Encoding.decode(data) as Message;
  const { metadata } = message;
  const keys = metadata.encryption.keys.filter((key) => key.target === target);
  return Encoding.encode({ ...message, origin, metadata: { ...metadata, encryption: { keys } } });
}

function peerOf(id: string, publicKey: string): Peer {
  const metadata = { encryption: { publicKey }, compression: { supported: ["gzip"] } };
  return { id, host: id === HOST_ID, name: id, metadata };
}

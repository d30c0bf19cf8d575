/**
 * What is sent to peers: their messages passed on, and the few that a worker says itself. Passing on splices the pieces
 * of the sender's bytes; a content is never copied more often than it must be.
 */
import { encode } from "@msgpack/msgpack";
import type { PeerId } from "../../../shared/base/ids.ts";
import type { PeerRecord, UserRecord } from "../../../shared/store/store.ts";
import type { WirePeer } from "./join-answer.ts";
import { mapHeader, type Span, textValue } from "./msgpack.ts";
import { type Message, PROTOCOL_VERSION, type WrappedKey } from "./protocol.ts";

/** One message as bytes: `head`, then `content` when it is large enough to be shared between receivers. */
export interface OutboundMessage {
  readonly head: Buffer;
  readonly content: Buffer | undefined;
  readonly byteLength: number;
  /** Said by the worker itself (who came, who left): never dropped for lack of room. */
  readonly own: boolean;
}

/** Contents from this size on are shared by all receivers of a broadcast instead of copied for each. */
const SHARED_CONTENT_BYTES = 16 * 1024;

// --- passing on ---

/**
 * Prepares a broadcast: the function makes the parcel for one receiver, with that receiver's key alone, because clients
 * demand exactly one. `origin` is who really sent it.
 */
export function forwardBroadcast(
  message: Message,
  origin: PeerId,
): (key: WrappedKey) => OutboundMessage {
  const { metadata, bytes } = message;
  const before = Buffer.concat([
    mapHeader(message.others.length + 3),
    ...cut(bytes, message.others),
    NAME.origin,
    textValue(origin),
    NAME.metadata,
    mapHeader(metadata.others.length + 1),
    ...cut(bytes, metadata.others),
    NAME.encryption,
    mapHeader(metadata.encryptionOthers.length + 1),
    ...cut(bytes, metadata.encryptionOthers),
    NAME.keys,
    ONE_ITEM,
  ]);
  const content = piece(bytes, message.content);
  return (key) => seal([before, piece(bytes, key.span), NAME.content], content);
}

export function forwardNotification(message: Message, origin: PeerId): OutboundMessage {
  return forward(message, [NAME.origin, textValue(origin)], 1);
}

/** A request under the id by which its answer is known again. */
export function forwardRequest(message: Message, origin: PeerId, id: string): OutboundMessage {
  return forward(message, [NAME.id, textValue(id), NAME.origin, textValue(origin)], 2);
}

/** An answer under the id that the asker gave its request, byte for byte. */
export function forwardResponse(message: Message, id: Buffer): OutboundMessage {
  return forward(message, [NAME.id, id], 1);
}

function forward(
  message: Message,
  replaced: readonly Buffer[],
  replacedCount: number,
): OutboundMessage {
  const { bytes, others, metadata, content } = message;
  return seal(
    [
      mapHeader(others.length + replacedCount + 2),
      ...cut(bytes, others),
      ...replaced,
      NAME.metadata,
      piece(bytes, metadata.span),
      NAME.content,
    ],
    piece(bytes, content),
  );
}

function seal(parts: Buffer[], content: Buffer): OutboundMessage {
  if (content.length < SHARED_CONTENT_BYTES) {
    // Copied, so that a small message in a buffer does not keep the whole chunk alive that it came in.
    parts.push(content);
    const head = Buffer.concat(parts);
    return { head, content: undefined, byteLength: head.length, own: false };
  }
  const head = Buffer.concat(parts);
  return { head, content, byteLength: head.length + content.length, own: false };
}

function cut(bytes: Buffer, spans: readonly Span[]): Buffer[] {
  return spans.map((span) => piece(bytes, span));
}

function piece(bytes: Buffer, { start, end }: Span): Buffer {
  return bytes.subarray(start, end);
}

const NAME = {
  id: textValue("id"),
  origin: textValue("origin"),
  metadata: textValue("metadata"),
  encryption: textValue("encryption"),
  keys: textValue("keys"),
  content: textValue("content"),
};
const ONE_ITEM = Buffer.from([0x91]);

// --- the worker's own ---

/** A peer as clients know it. IntelliJ shows "Name (null)" of one without an email, and "Name" when that is empty. */
export function toWirePeer(peer: PeerRecord): WirePeer {
  return {
    id: peer.id,
    host: peer.host,
    name: peer.user.name,
    email: peer.user.email ?? "",
    metadata: {
      encryption: { publicKey: peer.publicKey },
      compression: { supported: [...peer.compression] },
    },
  };
}

/** Tells a peer who it is. */
export function peerInfo(peer: PeerRecord): OutboundMessage {
  const content = { method: "peer/info", params: [toWirePeer(peer)] };
  return own({ kind: "notification", origin: "", target: peer.id, content });
}

export function roomJoined(peer: PeerRecord): OutboundMessage {
  return announcement("room/joined", peer.id, [toWirePeer(peer)]);
}

export function roomLeft(peer: PeerRecord): OutboundMessage {
  return announcement("room/left", peer.id, [toWirePeer(peer)]);
}

/** `host`: empty when it was never known. */
export function roomClosed(host: PeerId | ""): OutboundMessage {
  return announcement("room/closed", host, []);
}

/** Asks the host whether `user` may come in. */
export function joinRequest(id: string, host: PeerId, user: UserRecord): OutboundMessage {
  const content = { method: "peer/join", params: [{ ...user, email: user.email ?? "" }] };
  return own({ kind: "request", id, origin: "", target: host, content });
}

/** Answers a request for which no answer came. `id`: as the asker wrote it. */
export function requestFailure(id: Buffer): OutboundMessage {
  const head = Buffer.concat([FAILURE, NAME.id, id]);
  return { head, content: undefined, byteLength: head.length, own: true };
}

function announcement(method: string, origin: PeerId | "", params: unknown[]): OutboundMessage {
  return own({ kind: "broadcast", origin, content: { method, params } });
}

function own(message: Record<string, unknown>): OutboundMessage {
  const head = Buffer.from(encode({ ...ENVELOPE, ...message }));
  return { head, content: undefined, byteLength: head.length, own: true };
}

const ENVELOPE = {
  version: PROTOCOL_VERSION,
  metadata: { encryption: { keys: [] }, compression: { algorithm: "none" } },
};

/** All of a failure but its id, as a map that is one entry larger. */
const FAILURE: Buffer = withRoomForOneMore(
  Buffer.from(
    encode({
      ...ENVELOPE,
      kind: "response-error",
      content: { message: "Failed to retrieve the requested data." },
    }),
  ),
);

function withRoomForOneMore(map: Buffer): Buffer {
  map.writeUInt8(map.readUInt8(0) + 1, 0);
  return map;
}

/**
 * Messages to peers: relayed ones, spliced from the sender's bytes with as few copies of the content as possible, and the
 * worker's own.
 */
import { encode } from "@msgpack/msgpack";
import type { PeerId } from "../../../shared/base/ids.ts";
import type { DeliveryMark } from "../../../shared/resume/frames.ts";
import type { PeerRecord, UserRecord } from "../../../shared/store/store.ts";
import type { WirePeer } from "./join-answer.ts";
import { mapHeader, type Span, textValue } from "./msgpack.ts";
import { type Message, PROTOCOL_VERSION, type WrappedKey } from "./protocol.ts";

/** One message: its bytes are those of all parts, which receivers share. */
export interface OutboundMessage {
  readonly parts: readonly Buffer[];
  readonly byteLength: number;
  /** The worker's own (a peer joined or left): never dropped for lack of space. */
  readonly own: boolean;
  /** The message of a WebSocket that it came of; undefined for the worker's own, and of what cannot be resumed. */
  readonly source?: DeliveryMark | undefined;
}

// --- relayed messages ---

/**
 * Prepares a broadcast: the returned function makes one receiver's message, with that receiver's key alone, because
 * clients require exactly one. `origin` is the peer that sent it, whatever the message claims.
 */
export function forwardBroadcast(
  message: Message,
  origin: PeerId,
  source?: DeliveryMark,
): (key: WrappedKey) => OutboundMessage {
  const { metadata, bytes } = message;
  const before = Buffer.concat([
    mapHeader(message.others.length + 3),
    ...slices(bytes, message.others),
    NAME.origin,
    textValue(origin),
    NAME.metadata,
    mapHeader(metadata.others.length + 1),
    ...slices(bytes, metadata.others),
    NAME.encryption,
    mapHeader(metadata.encryptionOthers.length + 1),
    ...slices(bytes, metadata.encryptionOthers),
    NAME.keys,
    ONE_ITEM,
  ]);
  const content = slice(bytes, message.content);
  return (key) => relayed([before, slice(bytes, key.span), NAME.content, content], source);
}

export function forwardNotification(
  message: Message,
  origin: PeerId,
  source?: DeliveryMark,
): OutboundMessage {
  return forward(message, [NAME.origin, textValue(origin)], source);
}

/** A request under `id`, by which its response is routed back. */
export function forwardRequest(
  message: Message,
  origin: PeerId,
  id: string,
  source?: DeliveryMark,
): OutboundMessage {
  return forward(message, [NAME.id, textValue(id), NAME.origin, textValue(origin)], source);
}

/** A response under the id that the requester gave its request, byte for byte. */
export function forwardResponse(
  message: Message,
  id: Buffer,
  source?: DeliveryMark,
): OutboundMessage {
  return forward(message, [NAME.id, id], source);
}

/** `replaced`: names and values of the fields that the worker sets. */
function forward(
  message: Message,
  replaced: readonly Buffer[],
  source: DeliveryMark | undefined,
): OutboundMessage {
  const { bytes, others, metadata, content } = message;
  const parts = [
    mapHeader(others.length + replaced.length / 2 + 2),
    ...slices(bytes, others),
    ...replaced,
    NAME.metadata,
    slice(bytes, metadata.span),
    NAME.content,
    slice(bytes, content),
  ];
  return relayed(parts, source);
}

function relayed(parts: readonly Buffer[], source: DeliveryMark | undefined): OutboundMessage {
  let byteLength = 0;
  for (const part of parts) byteLength += part.length;
  return { parts, byteLength, own: false, source };
}

/** From this size on, a message that waits for several peers is shared by them. */
export const SHARED_BYTES = 16 * 1024;

/** For what is kept for long: a copy, so that a small message does not keep the whole chunk of input alive. */
export function compact(outbound: OutboundMessage): OutboundMessage {
  if (outbound.parts.length === 1 || outbound.byteLength >= SHARED_BYTES) return outbound;
  return { ...outbound, parts: [joined(outbound)] };
}

/** The bytes of a message as one buffer. */
export function joined({ parts }: OutboundMessage): Buffer {
  const [only] = parts;
  return parts.length === 1 && only !== undefined ? only : Buffer.concat(parts);
}

function slices(bytes: Buffer, spans: readonly Span[]): Buffer[] {
  return spans.map((span) => slice(bytes, span));
}

function slice(bytes: Buffer, { start, end }: Span): Buffer {
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

// --- the worker's own messages ---

/** A peer as clients know it. IntelliJ shows "Name (null)" without an email, and "Name" with an empty one. */
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

/** `host`: empty when the session has none. */
export function roomClosed(host: PeerId | ""): OutboundMessage {
  return announcement("room/closed", host, []);
}

/** What a person is to know about their session; editors show it. */
export function errorNotice(message: string): OutboundMessage {
  return own({ kind: "error", content: { message } });
}

/** Asks the host whether `user` may join. */
export function joinRequest(id: string, host: PeerId, user: UserRecord): OutboundMessage {
  const { signIn: _, email = "", ...shown } = user;
  const content = { method: "peer/join", params: [{ ...shown, email }] };
  return own({ kind: "request", id, origin: "", target: host, content });
}

/** An error response for a request that got none. `id`: the requester's own, byte for byte. */
export function requestFailure(id: Buffer): OutboundMessage {
  const bytes = Buffer.concat([FAILURE, NAME.id, id]);
  return { parts: [bytes], byteLength: bytes.length, own: true };
}

function announcement(method: string, origin: PeerId | "", params: unknown[]): OutboundMessage {
  return own({ kind: "broadcast", origin, content: { method, params } });
}

function own(message: Record<string, unknown>): OutboundMessage {
  const bytes = Buffer.from(encode({ ...ENVELOPE, ...message }));
  return { parts: [bytes], byteLength: bytes.length, own: true };
}

const ENVELOPE = {
  version: PROTOCOL_VERSION,
  metadata: { encryption: { keys: [] }, compression: { algorithm: "none" } },
};

/** An error response without its id, which follows as the map's last entry. */
const FAILURE: Buffer = withOneMoreEntry(
  Buffer.from(
    encode({
      ...ENVELOPE,
      kind: "response-error",
      content: { message: "Failed to retrieve the requested data." },
    }),
  ),
);

function withOneMoreEntry(map: Buffer): Buffer {
  map.writeUInt8(map.readUInt8(0) + 1, 0);
  return map;
}

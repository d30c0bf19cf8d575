/**
 * The undelivered messages of a session that is handed over: as bytes on the way from one worker to another, and the inbox
 * of those that arrive before their session.
 */
import { decode, encode } from "@msgpack/msgpack";
import { z } from "zod";
import type { Clock } from "../../shared/base/clock.ts";
import { peerIdSchema } from "../../shared/base/id-schemas.ts";
import type { PeerId, SessionId } from "../../shared/base/ids.ts";
import { joined, type OutboundMessage } from "./wire/outbound.ts";

/** Usually a few messages of the last milliseconds; those of a peer that was away for long may be megabytes. */
export const MAX_PENDING_BYTES = 64 * 1024 * 1024;
/** The session follows at once; messages that are not taken in time belong to a handover that failed. */
const KEPT_MS = 15_000;
const MAX_KEPT_BYTES = 256 * 1024 * 1024;

/** Messages that a session's owner could not deliver: the next owner sends them first. */
export interface PendingMessages {
  /** The session's epoch when they were collected. */
  readonly epoch: number;
  /** Oldest first. */
  readonly waiting: readonly {
    readonly id: PeerId;
    readonly messages: readonly OutboundMessage[];
  }[];
  /** Peers whose last connections were cut off (`Peer.isCut`). */
  readonly cut: readonly PeerId[];
}

const messagesSchema = z.array(
  z.object({
    own: z.boolean(),
    bytes: z.custom<Uint8Array>((v) => v instanceof Uint8Array),
    // Not from a worker of the version before.
    source: z
      .object({ stream: z.number(), message: z.number(), isReplayed: z.boolean() })
      .exactOptional(),
  }),
);

const pendingMessagesSchema = z.object({
  epoch: z.number(),
  // Not from a worker of the version before.
  cut: z.array(peerIdSchema).exactOptional(),
  waiting: z.array(
    z
      .object({
        id: peerIdSchema,
        messages: messagesSchema.exactOptional(),
        // The name in the version before.
        parcels: messagesSchema.exactOptional(),
      })
      .refine(({ messages, parcels }) => (messages ?? parcels) !== undefined),
  ),
});

/**
 * At most `MAX_PENDING_BYTES`: if not all fit, the peers with the most bytes are left out, each with all its messages. `key`:
 * the name of a peer's messages in the body; a worker of the version before expects `parcels` (for one version).
 */
export function packPendingMessages(
  { epoch, waiting, cut }: PendingMessages,
  key: "messages" | "parcels" = "messages",
): Uint8Array {
  const bySize = [...waiting].sort((a, b) => bytesOf(a.messages) - bytesOf(b.messages));
  let room = MAX_PENDING_BYTES / 2;
  const fitting = bySize.filter(({ messages }) => {
    room -= bytesOf(messages);
    return room >= 0;
  });
  return encode({
    epoch,
    cut,
    waiting: fitting.map(({ id, messages }) => ({
      id,
      [key]: messages.map(packed),
    })),
  });
}

function packed(message: OutboundMessage) {
  const { own, source } = message;
  return { own, bytes: joined(message), ...(source !== undefined && { source }) };
}

/** Undefined when the bytes are invalid. */
export function unpackPendingMessages(bytes: Uint8Array): PendingMessages | undefined {
  let value: unknown;
  try {
    value = decode(bytes);
  } catch {
    return undefined;
  }
  const parsed = pendingMessagesSchema.safeParse(value);
  if (!parsed.success) return undefined;
  const { epoch, waiting, cut = [] } = parsed.data;
  return {
    epoch,
    cut,
    // `parcels`: the name in the version before.
    waiting: waiting.map(({ id, messages, parcels }) => ({
      id,
      messages: (messages ?? parcels ?? []).map(toOutbound),
    })),
  };
}

function toOutbound({
  own,
  bytes,
  source,
}: z.infer<typeof messagesSchema>[number]): OutboundMessage {
  const { buffer, byteOffset, byteLength } = bytes;
  return { parts: [Buffer.from(buffer, byteOffset, byteLength)], byteLength, own, source };
}

function bytesOf(messages: readonly OutboundMessage[]): number {
  return messages.reduce((sum, { byteLength }) => sum + byteLength, 0);
}

/** Pending messages that arrived before their session. */
export type HandoverInbox = ReturnType<typeof createHandoverInbox>;

export function createHandoverInbox(deps: { readonly clock: Clock }) {
  const { clock } = deps;
  const kept = new Map<
    SessionId,
    { pendingMessages: PendingMessages; bytes: number; untilMs: number }
  >();
  let keptBytes = 0;

  function drop(id: SessionId): void {
    keptBytes -= kept.get(id)?.bytes ?? 0;
    kept.delete(id);
  }

  return {
    put(id: SessionId, pendingMessages: PendingMessages): void {
      drop(id);
      for (const [old, { untilMs }] of kept) if (untilMs <= clock.nowMs()) drop(old);
      const bytes = pendingMessages.waiting.reduce(
        (sum, { messages }) => sum + bytesOf(messages),
        0,
      );
      if (keptBytes + bytes > MAX_KEPT_BYTES) return;
      keptBytes += bytes;
      kept.set(id, { pendingMessages, bytes, untilMs: clock.nowMs() + KEPT_MS });
    },
    /** Removes and returns the messages of the session that is resumed now under `epoch`, if any arrived. */
    take(id: SessionId, epoch: number): PendingMessages | undefined {
      const found = kept.get(id);
      if (found === undefined) return undefined;
      drop(id);
      const isFresh = clock.nowMs() < found.untilMs;
      // Messages of an old handover would repeat what the peers have received since.
      return isFresh && found.pendingMessages.epoch < epoch ? found.pendingMessages : undefined;
    },
  };
}

/**
 * What simulated clients and workers say to each other through a real balancer: heads of HTTP, and, in place of socket.io
 * on a WebSocket, small frames that say the same things.
 */
import { createHash } from "node:crypto";
import { encode } from "@msgpack/msgpack";
import { PROTOCOL_VERSION } from "../../worker/sessions/wire/protocol.ts";

// --- heads ---

export interface Head {
  /** Method and target, or the status. */
  readonly start: readonly string[];
  readonly fields: Readonly<Record<string, string>>;
}

/** Reads heads with the bodies that they announce, and hands over what follows an upgrade untouched. */
export function createHeadReader(onMessage: (head: Head, body: Buffer) => "go on" | "upgraded") {
  let kept: Buffer = Buffer.alloc(0);
  return {
    /** What came behind a message with which the connection was upgraded; undefined before that. */
    push(bytes: Buffer): Buffer | undefined {
      kept = kept.length === 0 ? bytes : Buffer.concat([kept, bytes]);
      for (;;) {
        const end = kept.indexOf("\r\n\r\n");
        if (end < 0) return undefined;
        const head = parseHead(kept.toString("latin1", 0, end));
        const bodyEnd = end + 4 + Number(head.fields["content-length"] ?? 0);
        if (kept.length < bodyEnd) return undefined;
        const body = kept.subarray(end + 4, bodyEnd);
        kept = kept.subarray(bodyEnd);
        if (onMessage(head, body) === "upgraded") return kept;
      }
    },
  };
}

function parseHead(text: string): Head {
  const [start = "", ...lines] = text.split("\r\n");
  const fields: Record<string, string> = {};
  for (const line of lines) {
    const colon = line.indexOf(":");
    fields[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
  }
  return { start: start.split(" "), fields };
}

export function writeHead(start: string, fields: Readonly<Record<string, string>>): string {
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${start}\r\n${lines.join("")}\r\n`;
}

/** `Sec-WebSocket-Accept` for a key (RFC 6455 §4.2.2). */
export function acceptOf(key: string): string {
  return createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
}

// --- frames ---

/**
 * Client to worker: `connect`, `message`, `pong`. Worker to client: `admitted`, `message` (with the epoch under which it
 * was relayed), `ping`, `over` (for good, with the reason).
 */
export type FrameKind = "connect" | "admitted" | "message" | "ping" | "pong" | "over";

export interface Frame {
  readonly kind: FrameKind;
  readonly epoch: number;
  readonly body: Buffer;
}

const KINDS: readonly FrameKind[] = ["connect", "admitted", "message", "ping", "pong", "over"];
const FRAME_HEAD_BYTES = 13;

export function writeFrame(kind: FrameKind, body: Buffer = Buffer.alloc(0), epoch = 0): Buffer {
  const head = Buffer.alloc(FRAME_HEAD_BYTES);
  head.writeUInt8(KINDS.indexOf(kind), 0);
  head.writeDoubleBE(epoch, 1);
  head.writeUInt32BE(body.length, 9);
  return Buffer.concat([head, body]);
}

export function createFrameReader(onFrame: (frame: Frame) => void) {
  let kept: Buffer = Buffer.alloc(0);
  return {
    push(bytes: Buffer): void {
      kept = kept.length === 0 ? Buffer.from(bytes) : Buffer.concat([kept, bytes]);
      while (kept.length >= FRAME_HEAD_BYTES) {
        const end = FRAME_HEAD_BYTES + kept.readUInt32BE(9);
        if (kept.length < end) return;
        const frame: Frame = {
          kind: KINDS[kept.readUInt8(0)] ?? "over",
          epoch: kept.readDoubleBE(1),
          body: kept.subarray(FRAME_HEAD_BYTES, end),
        };
        kept = kept.subarray(end);
        onFrame(frame);
      }
    },
  };
}

// --- the protocol's own messages ---

/** Something that a peer says to all others. `text` stands for what is encrypted. */
export function chat(text: string, to: readonly string[]): Buffer {
  const keys = to.map((target) => ({ target, key: "", iv: "" }));
  return pack("broadcast", { content: Buffer.from(text), keys });
}

/** The leave message, for the worker itself. */
export function leaving(): Buffer {
  return pack("notification", {
    target: "",
    content: { method: "room/leave", params: [] },
    keys: [],
  });
}

function pack(
  kind: "broadcast" | "notification",
  { target, content, keys }: { target?: string; content: unknown; keys: readonly unknown[] },
): Buffer {
  return Buffer.from(
    encode({
      version: PROTOCOL_VERSION,
      kind,
      ...(target !== undefined && { target }),
      metadata: { encryption: { keys }, compression: { algorithm: "none" } },
      content,
    }),
  );
}

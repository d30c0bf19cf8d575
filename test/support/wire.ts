/**
 * Records the encrypted messages of unmodified clients in the order of the wire. The package decrypts concurrently and changes
 * the order, so only here lost, duplicated and reordered messages can be detected. All encrypted broadcasts and notifications
 * count: chats, edits, awareness.
 */
import { createHash } from "node:crypto";
import { decode } from "@msgpack/msgpack";
import type { Socket } from "socket.io-client";
import { until } from "./until.ts";

export interface WireLog {
  /** Must be called for all clients of a session in one turn of the event loop; otherwise messages in transit are missed. */
  startRecording(): void;
  readonly sent: readonly SentMessage[];
  /** Digests of the contents received from a peer, in order of arrival. */
  receivedFrom(peerId: string): readonly string[];
}

export interface SentMessage {
  /** Digest of the encrypted content, which is the same for all receivers. */
  readonly digest: string;
  /** Undefined: to all. */
  readonly target: string | undefined;
}

/** Watches the client's socket during its whole lifetime, including reconnects. */
export function recordWire(socket: Socket): WireLog {
  let isRecording = false;
  const sent: SentMessage[] = [];
  const received = new Map<string, string[]>();
  const send = socket.send.bind(socket);
  // Without a connection, messages wait in the socket in this order.
  socket.send = (...args: unknown[]): Socket => {
    const message = isRecording ? readMessage(args[0]) : undefined;
    if (message !== undefined) sent.push({ digest: message.digest, target: message.target });
    return send(...args);
  };
  socket.on("message", (data: unknown) => {
    const message = isRecording ? readMessage(data) : undefined;
    if (message?.origin === undefined) return;
    const before = received.get(message.origin) ?? [];
    received.set(message.origin, before);
    before.push(message.digest);
  });
  return {
    startRecording() {
      isRecording = true;
    },
    sent,
    receivedFrom: (peerId) => received.get(peerId) ?? [],
  };
}

interface WireMessage extends SentMessage {
  readonly origin: string | undefined;
}

function readMessage(data: unknown): WireMessage | undefined {
  const bytes = data instanceof ArrayBuffer ? new Uint8Array(data) : data;
  if (!(bytes instanceof Uint8Array)) return undefined;
  const message = decode(bytes) as Record<string, unknown>;
  const { kind, content, origin, target } = message;
  if (kind !== "broadcast" && kind !== "notification") return undefined;
  // The server's own messages are not encrypted.
  if (!(content instanceof Uint8Array)) return undefined;
  return {
    digest: createHash("sha256").update(content).digest("base64"),
    origin: typeof origin === "string" ? origin : undefined,
    target: kind === "notification" && typeof target === "string" ? target : undefined,
  };
}

// --- comparison ---

export interface Recorded {
  readonly name: string;
  readonly id: string;
  readonly wire: WireLog;
}

export interface WireFigures {
  /** Messages that should have arrived, counted per receiver. */
  readonly expected: number;
  readonly lost: number;
  readonly doubled: number;
  readonly reordered: number;
  /** One line for each pair of clients with a fault. */
  readonly faults: readonly string[];
}

/**
 * Compares the messages that the clients of each team have sent so far with those that have arrived. Waits up to `timeoutMs`
 * for messages in transit.
 */
export async function compareWire(
  teams: readonly (readonly Recorded[])[],
  timeoutMs = 15_000,
): Promise<WireFigures> {
  const pairs = teams.flatMap((team) =>
    team.flatMap((from) =>
      team
        .filter((to) => to !== from)
        .map((to) => ({
          from,
          to,
          sent: from.wire.sent
            .filter(({ target }) => target === undefined || target === to.id)
            .map(({ digest }) => digest),
        })),
    ),
  );
  const compareAll = () =>
    pairs.map(({ from, to, sent }) => comparePair(from, to, sent, to.wire.receivedFrom(from.id)));
  await until(
    "all sent messages have arrived",
    () => compareAll().every(({ lost }) => lost === 0),
    timeoutMs,
  ).catch(() => {
    // The figures show it.
  });
  const compared = compareAll();
  const sum = (key: "expected" | "lost" | "doubled" | "reordered") =>
    compared.reduce((total, one) => total + one[key], 0);
  return {
    expected: sum("expected"),
    lost: sum("lost"),
    doubled: sum("doubled"),
    reordered: sum("reordered"),
    faults: compared.flatMap(({ faults }) => faults),
  };
}

function comparePair(
  from: Recorded,
  to: Recorded,
  sent: readonly string[],
  received: readonly string[],
): WireFigures {
  const counted = new Set(sent);
  // Messages from before the recording may still arrive.
  const arrived = received.filter((digest) => counted.has(digest));
  const first = [...new Set(arrived)];
  const has = new Set(arrived);
  const inOrder = sent.filter((digest) => has.has(digest));
  const lost = counted.size - first.length;
  const doubled = arrived.length - first.length;
  const reordered = first.filter((digest, at) => inOrder[at] !== digest).length;
  const isFine = lost + doubled + reordered === 0;
  const lostAt = sent.flatMap((digest, at) => (has.has(digest) ? [] : [at]));
  const detail = `${lost} lost (${lostAt.join()}), ${doubled} doubled, ${reordered} reordered of ${sent.length}`;
  return {
    expected: sent.length,
    lost,
    doubled,
    reordered,
    faults: isFine ? [] : [`${from.name} to ${to.name}: ${detail}`],
  };
}

/**
 * What unmodified clients send and receive below the package's encryption, message by message in the order of the wire.
 * Handlers of the package see messages in another order (it decrypts concurrently), so only here can be told whether any
 * was lost, delivered twice or reordered. All encrypted broadcasts and notifications count: chats, edits, awareness.
 */
import { createHash } from "node:crypto";
import { decode } from "@msgpack/msgpack";
import type { Socket } from "socket.io-client";
import { until } from "./until.ts";

/** One client's messages since `startRecording`. */
export interface WireLog {
  /** Call it for all clients of a session in one turn of the event loop, else what one sends is missed at another. */
  startRecording(): void;
  readonly sent: readonly SentMessage[];
  /** Digests of contents, by the peer id of the sender, in the order of their arrival. */
  receivedFrom(peerId: string): readonly string[];
}

export interface SentMessage {
  /** Of the encrypted content, which is the same for all receivers. */
  readonly digest: string;
  /** Undefined: to all. */
  readonly target: string | undefined;
}

/** Watches the client's socket for as long as it lives, over reconnections. */
export function recordWire(socket: Socket): WireLog {
  let isRecording = false;
  const sent: SentMessage[] = [];
  const received = new Map<string, string[]>();
  const send = socket.send.bind(socket);
  // Before the client has a connection messages wait in its socket, in this order.
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
  // What the server says itself is not encrypted.
  if (!(content instanceof Uint8Array)) return undefined;
  return {
    digest: createHash("sha256").update(content).digest("base64"),
    origin: typeof origin === "string" ? origin : undefined,
    target: kind === "notification" && typeof target === "string" ? target : undefined,
  };
}

// --- what became of them ---

/** A client whose messages are recorded. */
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
 * Compares what the clients of each team have sent each other until now with what has arrived. Waits for what is still
 * on its way, for up to `timeoutMs`.
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
    "everything that was sent has arrived",
    () => compareAll().every(({ lost }) => lost === 0),
    timeoutMs,
  ).catch(() => {
    // The figures say so.
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
  // What was sent before the recording began may still arrive.
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

/**
 * The transport alone, with a handler that writes slices of each read to several other connections, as strings and bytes
 * together, while some of these stall, are destroyed or are reset. What was delivered must reach each of the others as it
 * was in that moment, and memory must not grow with what was cut off.
 */
import { randomInt } from "node:crypto";
import { createServer, type Server, type Socket } from "node:net";
import { beforeEach, describe, expect, test } from "vitest";
import { createNetTransport } from "../../../balancer/transport/net.ts";
import {
  type Connection,
  type Listening,
  MAX_PENDING_BYTES,
  type Piece,
  type Transport,
} from "../../../balancer/transport/transport.ts";
import { createRandom, type Random } from "../../fuzz/random.ts";
import { bufferBytes } from "../../robustness/memory.ts";
import { atEnd } from "../../support/at-end.ts";
import { makeCertificate } from "../../support/certificates.ts";
import { listen as listenOn } from "../../support/servers.ts";
import { connectSocket } from "../../support/sockets.ts";
import { sendStamps } from "../../support/stamps.ts";
import { until } from "../../support/until.ts";

const MIB = 1024 * 1024;
/** More than the system takes for a peer that does not read. */
const STALLING_BYTES = 16 * MIB;
/** The longest read of the transport, with room for a larger buffer than today's. */
const MAX_READ_BYTES = 256 * 1024;
const WARM_UP = 6;
const ROUNDS = 30;

const certificate = await makeCertificate();
let transport: Transport;

beforeEach(() => {
  const bugs: unknown[] = [];
  atEnd(() => expect(bugs).toEqual([]));
  transport = createNetTransport({ reportBug: (error) => bugs.push(error) });
});

// --- connections of the transport, and their peers ---

interface Pair {
  readonly connection: Connection;
  /** The other end; reads nothing until it is resumed. */
  readonly peer: Socket;
}

async function listen(isSecure: boolean): Promise<Listening & { next(): Promise<Connection> }> {
  const accepted: Connection[] = [];
  const listening = await transport.listen({
    host: "127.0.0.1",
    port: 0,
    ...(isSecure && {
      tls: {
        certificates: [{ ...certificate, isFor: () => true }],
        handshakeTimeoutMs: 10_000,
        onHandshakeFailed() {},
        onPlainConnection() {},
      },
    }),
    admit: () => true,
    refusal: () => "",
    onGone() {},
    onConnection(connection) {
      connection.handler = idleHandler();
      accepted.push(connection);
    },
  });
  atEnd(() => listening.close());
  return { ...listening, next: () => until("a connection is accepted", () => accepted.shift()) };
}

function idleHandler(): Connection["handler"] {
  return { onData() {}, onEnd() {}, onDrain() {}, onClose() {} };
}

type Kind = "accepted" | "accepted over TLS" | "dialled";
const KINDS: readonly Kind[] = ["accepted", "accepted over TLS", "dialled"];

/** Opens connections of each kind, one at a time. */
async function createOpener(): Promise<(kind: Kind) => Promise<Pair>> {
  const plain = await listen(false);
  const secure = await listen(true);
  const peers: Socket[] = [];
  const server: Server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
    peers.push(socket);
  });
  const port = await listenOn(server);

  function dial(): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const onOpen = (connection: Connection): void => {
        connection.handler = idleHandler();
        resolve(connection);
      };
      transport.dial({ host: "127.0.0.1", port }, { onOpen, onFail: reject });
    });
  }

  async function accept(isSecure: boolean): Promise<Pair> {
    const listener = isSecure ? secure : plain;
    const tls = isSecure ? {} : undefined;
    const peer = await connectSocket({ port: listener.port, allowHalfOpen: !isSecure, tls });
    peer.pause();
    return { peer, connection: await listener.next() };
  }

  return async (kind) => {
    const pair: Pair =
      kind === "dialled"
        ? { connection: await dial(), peer: await until("a peer", () => peers.shift()) }
        : await accept(kind !== "accepted");
    pair.peer.on("error", () => {});
    atEnd(() => {
      pair.connection.destroy();
      pair.peer.destroy();
    });
    return pair;
  };
}

// --- receivers of slices ---

/** What happens to a receiver once bytes are queued for it. */
type Fate = "reads" | "stalls" | "is destroyed" | "is reset" | "goes away";
const FATES: readonly Fate[] = ["reads", "stalls", "is destroyed", "is reset", "goes away"];

interface Target extends Pair {
  readonly fate: Fate;
  /** Copies of what was written. */
  readonly expected: Buffer[];
  readonly received: Buffer[];
  isGone: boolean;
}

function createTarget(pair: Pair, fate: Fate): Target {
  const target: Target = { ...pair, fate, expected: [], received: [], isGone: false };
  pair.peer.on("data", (bytes: Buffer) => target.received.push(bytes));
  if (fate === "reads") pair.peer.resume();
  else pair.peer.pause();
  return target;
}

/** Lets its fate happen. */
function strike(target: Target): void {
  target.isGone = target.fate !== "stalls";
  if (target.fate === "stalls") target.peer.resume();
  else if (target.fate === "is destroyed") target.connection.destroy();
  else if (target.fate === "is reset") target.connection.reset();
  else target.peer.destroy();
}

function isFull({ connection, isGone }: Target): boolean {
  return !isGone && connection.pendingBytes >= MAX_PENDING_BYTES;
}

/** All of `bytes`, or slices of them with text between. */
function piecesOf(bytes: Buffer, random: Random): Piece[] {
  if (random.chance(0.5)) return [bytes];
  const pieces: Piece[] = [];
  for (let at = 0; at < bytes.length && pieces.length < 100; ) {
    const length = random.pick([1, 50, 16_000, bytes.length]);
    pieces.push(bytes.subarray(at, at + length));
    if (random.chance(0.3)) pieces.push(`\xff text ${at}\r\n`);
    at += random.pick([length, 2 * length]);
  }
  return pieces;
}

function copyOf(pieces: readonly Piece[]): Buffer {
  return Buffer.concat(
    pieces.map((piece) => (typeof piece === "string" ? Buffer.from(piece, "latin1") : piece)),
  );
}

/** Writes slices of what `source` receives to the targets; it is paused while one of them is full. */
class Relay {
  readonly targets: readonly Target[];
  /** The most bytes that were pending in a target. */
  mostPending = 0;
  received = 0;
  #isPaused = false;
  readonly #source: Connection;

  constructor(source: Connection, targets: readonly Target[], random: Random) {
    this.#source = source;
    this.targets = targets;
    const goOn = (): void => {
      if (!targets.some(isFull)) this.#resume();
    };
    for (const { connection } of targets) {
      connection.handler = { ...idleHandler(), onDrain: goOn, onClose: goOn };
    }
    source.handler = {
      ...idleHandler(),
      onData: (bytes) => {
        this.received += bytes.length;
        for (const target of targets) {
          if (!target.isGone && random.chance(0.8)) this.#write(target, piecesOf(bytes, random));
        }
        this.#isPaused = targets.some(isFull);
        if (this.#isPaused) source.pause();
      },
    };
  }

  #resume(): void {
    this.#isPaused = false;
    this.#source.resume();
  }

  /** Resolves with one of `targets` for which bytes are queued, while nothing more is read for it. */
  stalled(targets: Iterable<Target>): Promise<Target> {
    return until("a target has stalled", () =>
      this.#isPaused
        ? [...targets].find(({ connection, isGone }) => !isGone && connection.pendingBytes > 0)
        : undefined,
    );
  }

  #write(target: Target, pieces: readonly Piece[]): void {
    target.expected.push(copyOf(pieces));
    target.connection.write(pieces);
    this.mostPending = Math.max(this.mostPending, target.connection.pendingBytes);
  }

  /** Waits until each target that is meant to has stalled, and lets its fate happen then. */
  async strikeAll(bytes: number): Promise<void> {
    const waiting = new Set(this.targets.filter(({ fate }) => fate !== "reads"));
    while (waiting.size > 0) {
      const target = await this.stalled(waiting);
      waiting.delete(target);
      strike(target);
      this.#resume();
    }
    await until("all was relayed", () => this.received === bytes);
  }
}

/** Ends the connections of the targets that remain, and compares what their peers got. */
async function compare({ targets }: Relay): Promise<void> {
  for (const { connection, isGone } of targets) if (!isGone) connection.end();
  for (const { peer, isGone, fate, expected, received } of targets) {
    if (!isGone) await until(`the end of a peer that ${fate}`, () => peer.readableEnded);
    const got = Buffer.concat(received);
    const all = Buffer.concat(expected);
    if (!isGone) expect(got.length).toBe(all.length);
    expect(got.equals(all.subarray(0, got.length)), fate).toBe(true);
  }
}

describe("slices of a read", () => {
  test("slices of a read reach several connections unchanged while others stall, are destroyed, are reset or go away", async () => {
    const seed = randomInt(2 ** 31);
    const open = await createOpener();
    const relays: Relay[] = [];
    for (const [index, kind] of KINDS.entries()) {
      const random = createRandom(seed, index);
      const source = await open(kind);
      const targets: Target[] = [];
      for (const fate of FATES) targets.push(createTarget(await open(random.pick(KINDS)), fate));
      relays.push(new Relay(source.connection, targets, random));
      void sendStamps(source.peer, { id: index, bytes: STALLING_BYTES }, random);
    }
    await Promise.all(relays.map((relay) => relay.strikeAll(STALLING_BYTES)));
    for (const relay of relays) {
      await compare(relay);
      // One more read may come after the pause.
      expect(relay.mostPending, `seed ${seed}`).toBeLessThan(
        MAX_PENDING_BYTES + 2 * MAX_READ_BYTES,
      );
    }
  });

  test.each(KINDS)(
    "slices of a read that are queued in connections which are cut off leave no memory behind (source: %s)",
    async (kind) => {
      const seed = randomInt(2 ** 31);
      const open = await createOpener();
      async function round(index: number): Promise<void> {
        const random = createRandom(seed, index);
        const source = await open(kind);
        const fate = (["is destroyed", "is reset", "goes away"] as const)[index % 3] ?? "is reset";
        const target = createTarget(await open(KINDS[index % KINDS.length] ?? kind), fate);
        const relay = new Relay(source.connection, [target], random);
        const sending = sendStamps(source.peer, { id: index, bytes: STALLING_BYTES }, random);
        await relay.stalled([target]);
        strike(target);
        // What the test itself keeps.
        target.expected.length = 0;
        source.connection.destroy();
        source.peer.destroy();
        target.peer.destroy();
        await sending;
        expect(relay.mostPending).toBeLessThan(MAX_PENDING_BYTES + 2 * MAX_READ_BYTES);
      }
      for (let index = 0; index < WARM_UP; index++) await round(index);
      const before = bufferBytes();
      for (let index = 0; index < ROUNDS; index++) await round(index);
      // Less than one buffer per round.
      expect(bufferBytes() - before, `seed ${seed}`).toBeLessThan(ROUNDS * MAX_PENDING_BYTES);
    },
  );
});

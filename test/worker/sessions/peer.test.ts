/** What waits for a peer, and in which order it gets it; over connections that the test controls. */
import { expect, it } from "vitest";
import type { PeerId } from "../../../shared/base/ids.ts";
import { createCounters } from "../../../shared/metrics/metrics.ts";
import type { PeerRecord } from "../../../shared/store/store.ts";
import {
  type Connection,
  type ConnectionEvents,
  Peer,
} from "../../../worker/sessions/peers/peer.ts";
import { joined, type OutboundMessage } from "../../../worker/sessions/wire/outbound.ts";

const KIB = 1024;
const RECORD: PeerRecord = {
  id: "ABCDEFGHIJKLMNOPQRSTUVWX" as PeerId,
  host: false,
  user: { id: "u", name: "U" },
  publicKey: "key",
  client: "test",
  compression: [],
  tokenId: "t",
  settled: true,
};

/** A connection that keeps what it is given until `drain`. */
class HeldConnection implements Connection {
  readonly ordinal: number;
  readonly sent: string[] = [];
  state: "open" | "closed" | "ended" = "open";
  held: OutboundMessage[] = [];
  isMigrating = false;
  readonly isMovable = false;
  readonly isResumed = false;
  events: ConnectionEvents | undefined;

  constructor(ordinal: number) {
    this.ordinal = ordinal;
  }

  get pendingBytes(): number {
    return this.held.reduce((sum, { byteLength }) => sum + byteLength, 0);
  }

  get unsentBytes(): number {
    return this.pendingBytes;
  }

  open(events: ConnectionEvents): void {
    this.events = events;
  }

  stopInput = async () => "polling" as const;
  freeze = async () => "polling" as const;
  thaw(): void {}
  markRelayed(): void {}
  confirm(): void {}

  send(outbound: OutboundMessage): void {
    this.held.push(outbound);
  }

  drain(): void {
    this.sent.push(...this.held.map(nameOf));
    this.held = [];
    this.events?.drained();
  }

  migrate(): void {
    this.isMigrating = true;
  }

  close(): void {
    if (this.state !== "open") return;
    this.state = "closed";
    this.events?.closed(this.held);
  }

  end(): void {
    this.drain();
    this.state = "ended";
  }
}

function outbound(name: string, byteLength = 100, own = false): OutboundMessage {
  return { parts: [Buffer.from(name)], byteLength, own };
}

function nameOf(outbound: OutboundMessage): string {
  return joined(outbound).toString();
}

function setUp(maxBufferBytes = 1024 * KIB) {
  const counters = createCounters();
  const peer = new Peer(RECORD, { maxBufferBytes, counters, announced: "yes" });
  let awayCount = 0;
  const attach = (connection: HeldConnection) =>
    peer.attach(connection, {
      message: () => {},
      received() {},
      away: () => {
        awayCount++;
      },
    });
  return { counters, peer, attach, awayCount: () => awayCount };
}

it("messages that a connection did not send go first over the next one, before later ones", () => {
  const { peer, attach, awayCount } = setUp();
  const first = new HeldConnection(1);
  attach(first);
  peer.send(outbound("sent"));
  first.drain();
  peer.send(outbound("held 1"));
  peer.send(outbound("held 2"));
  first.close();
  expect(awayCount()).toBe(1);
  peer.send(outbound("while away"));
  const second = new HeldConnection(2);
  attach(second);
  peer.send(outbound("after"));
  second.drain();
  expect(first.sent).toEqual(["sent"]);
  expect(second.sent).toEqual(["held 1", "held 2", "while away", "after"]);
});

it("a newer connection takes over the unsent messages of the older one, and the peer was never away", () => {
  const { peer, attach, awayCount } = setUp();
  const [older, newer] = [new HeldConnection(1), new HeldConnection(2)];
  attach(older);
  peer.send(outbound("held"));
  expect(attach(newer)).toBe(true);
  newer.drain();
  expect(older.state).toBe("closed");
  expect(newer.sent).toEqual(["held"]);
  expect(awayCount()).toBe(0);
});

it("a connection that was slow to get here does not replace a newer one", () => {
  const { peer, attach } = setUp();
  const [older, newer] = [new HeldConnection(1), new HeldConnection(2)];
  attach(newer);
  expect(attach(older)).toBe(false);
  peer.send(outbound("for the newer"));
  newer.drain();
  expect(older.state).toBe("closed");
  expect(newer.state).toBe("open");
  expect(newer.sent).toEqual(["for the newer"]);
});

it("a connection gets a mebibyte at a time, and the rest in order when it has room again", () => {
  const { peer, attach } = setUp(64 * 1024 * KIB);
  const connection = new HeldConnection(1);
  attach(connection);
  for (let n = 0; n < 40; n++) peer.send(outbound(`${n}`, 100 * KIB));
  expect(connection.held).toHaveLength(11);
  for (let round = 0; round < 4; round++) connection.drain();
  expect(connection.sent).toEqual(Array.from({ length: 40 }, (_, n) => `${n}`));
});

it("beyond the limit an absent peer loses the messages of other peers, not those of the worker", () => {
  const { counters, peer, attach } = setUp(64 * KIB);
  peer.send(outbound("joined", 100, true));
  for (let n = 0; n < 7; n++) peer.send(outbound(`${n}`, 10 * KIB));
  peer.send(outbound("left", 100, true));
  const connection = new HeldConnection(1);
  attach(connection);
  connection.drain();
  expect(connection.sent).toEqual(["joined", "left"]);
  expect(counters.value("worker.buffer_overflows", "away")).toBe(1);
  expect(counters.value("worker.messages_dropped", "buffer")).toBe(7);
});

it("no more than 10,000 messages of the worker wait for an absent peer, the oldest ones", () => {
  const { counters, peer, attach } = setUp();
  for (let n = 0; n <= 10_000; n++) peer.send(outbound(`${n}`, 1, true));
  const connection = new HeldConnection(1);
  attach(connection);
  connection.drain();
  expect(connection.sent).toEqual(Array.from({ length: 10_000 }, (_, n) => `${n}`));
  expect(counters.value("worker.messages_dropped", "buffer")).toBe(1);
});

it("many small messages count with their overhead, not only with their bytes", () => {
  const { counters, peer } = setUp(64 * KIB);
  for (let n = 0; n < 300; n++) peer.send(outbound("x", 1));
  expect(counters.value("worker.buffer_overflows")).toBe(1);
});

it("a connected peer that reads too slowly is disconnected beyond the limit", () => {
  const { counters, peer, attach, awayCount } = setUp(64 * KIB);
  const connection = new HeldConnection(1);
  attach(connection);
  for (let n = 0; n < 200; n++) peer.send(outbound(`${n}`, 10 * KIB));
  expect(connection.state).toBe("closed");
  expect(awayCount()).toBe(1);
  expect(counters.value("worker.buffer_overflows", "slow")).toBe(1);
});

it("a single message beyond the limit is delivered", () => {
  const { counters, peer, attach } = setUp(64 * KIB);
  peer.send(outbound("large", 1024 * KIB));
  const connection = new HeldConnection(1);
  attach(connection);
  connection.drain();
  expect(connection.sent).toEqual(["large"]);
  expect(counters.value("worker.buffer_overflows")).toBe(0);
});

it("a peer gets everything that waits for it before its connection ends for good", () => {
  const { peer, attach, awayCount } = setUp(64 * 1024 * KIB);
  const connection = new HeldConnection(1);
  attach(connection);
  for (let n = 0; n < 30; n++) peer.send(outbound(`${n}`, 100 * KIB));
  peer.end();
  expect(connection.state).toBe("ended");
  expect(connection.sent).toHaveLength(30);
  expect(awayCount()).toBe(0);
});

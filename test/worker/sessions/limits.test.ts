/** Peers that send too much, too large or too fast, or read too slowly, do not affect the others. */
import { randomBytes } from "node:crypto";
import { encode } from "@msgpack/msgpack";
import { expect, it } from "vitest";
import { watchMachine } from "../../support/machine.ts";
import { until } from "../../support/until.ts";
import { startWithGuest, startWithHost } from "./fixture.ts";
import { sealed } from "./raw-peer.ts";

const machine = watchMachine();

const MIB = 1024 * 1024;

it("a message of just under 16 MiB passes, by WebSocket and by polling", {
  timeout: 60_000,
}, async () => {
  const { worker, host, sessionId, guest } = await startWithGuest();
  const polling = await worker
    .peer(await worker.invite(sessionId, host, { id: "user-p", name: "P" }), {
      transports: ["polling"],
    })
    .ready();
  const content = randomBytes(16 * MIB - 4096);
  const message = { kind: "broadcast", origin: "", ...sealed("", [host.id, guest.id, polling.id]) };
  const received = (peer: typeof host) =>
    peer.received.some(
      (m) => m.content instanceof Uint8Array && Buffer.compare(content, m.content) === 0,
    );
  host.send({ ...message, content });
  await until("the others get it", () => [guest, polling].every(received), 30_000);
  polling.send({ ...message, content });
  await until("the host gets it from the one that polls", () => received(host), 30_000);
  expect([host, guest, polling].flatMap((peer) => peer.disconnects)).toEqual([]);
});

it("a message beyond the limit closes its sender's connection, but the peer may come back", async () => {
  const { worker, host, guest } = await startWithGuest({ settings: { maxMessageBytes: 100_000 } });
  await until(
    "the guest has upgraded",
    () => guest.socket.io.engine.transport.name === "websocket",
  );
  guest.broadcast("x".repeat(200_000), [host.id]);
  await until("the guest is back", () => guest.connects === 2);
  guest.broadcast("smaller", [host.id]);
  await until("the host gets it", () => host.contents("broadcast").length === 1);
  expect(host.plain("room/left")).toEqual([]);
  expect(worker.counters.value("worker.messages_dropped", "oversized")).toBe(1);
});

it("a flood is slowed down to the rate limit and completely delivered, and other peers are served meanwhile", async () => {
  const settings = { maxMessagesPerSecond: 200 };
  const { worker, host, sessionId, guest: flooder } = await startWithGuest({ settings });
  const other = await worker.joinSession(sessionId, host, { id: "user-o", name: "O" });
  await until(
    "the flooder has upgraded",
    () => flooder.socket.io.engine.transport.name === "websocket",
  );
  const hostId = host.id;
  const startedMs = performance.now();
  // Large enough that a piece of what the system reads at once holds few of them.
  for (let n = 0; n < 1000; n++) flooder.broadcast(`${n} ${"x".repeat(8000)}`, [hostId]);
  await until("it is noticed", () => worker.counters.value("worker.floods_slowed") > 0);

  const answeredMs = await Promise.all(
    Array.from({ length: 5 }, async (_, n) => {
      const askedMs = performance.now();
      other.notify(hostId, `hello ${n}`);
      await until("the host gets it", () => host.contents("notification").includes(`hello ${n}`));
      return performance.now() - askedMs;
    }),
  );
  expect(Math.max(...answeredMs)).toBeLessThan(machine.limitMs(startedMs, { promisedMs: 1000 }));
  await until("all of it arrives", () => host.contents("broadcast").length === 1000);
  // 400 at once, 200 a second after that.
  expect(performance.now() - startedMs).toBeGreaterThan(2000);
  expect(flooder.disconnects).toEqual([]);
});

it("a flood over polling is slowed down too", async () => {
  const { worker, host, sessionId } = await startWithHost({
    settings: { maxMessagesPerSecond: 100 },
  });
  const token = await worker.invite(sessionId, host);
  const flooder = await worker.peer(token, { transports: ["polling"] }).ready();
  const hostId = host.id;
  const startedMs = performance.now();
  for (let n = 0; n < 300; n++) flooder.broadcast(`${n}`, [hostId]);
  await until("the first piece arrives", () => host.contents("broadcast").length > 0);
  flooder.broadcast("the last", [hostId]);
  await until("all of it arrives", () => host.contents("broadcast").includes("the last"));
  expect(performance.now() - startedMs).toBeGreaterThan(900);
  expect(flooder.disconnects).toEqual([]);
});

it("messages that wait for an absent peer are bounded, except the worker's own", async () => {
  const { worker, host, sessionId, guest, token } = await startWithGuest({
    settings: { maxBufferBytes: 1 * MIB },
  });
  const guestId = guest.id;
  const other = await worker.joinSession(sessionId, host, { id: "user-o", name: "O" });
  guest.close();
  await expect.poll(() => worker.registry.load.connections).toBe(2);
  other.leave();
  await until("the other has left", () => host.plain("room/left").length === 1);
  for (let n = 0; n < 30; n++) host.broadcast(`${n} ${"x".repeat(100_000)}`, [guestId]);
  await until("the limit is reached", () => worker.counters.value("worker.buffer_overflows") > 0);
  await expect.poll(() => worker.counters.value("worker.messages_relayed", "broadcast")).toBe(30);

  const back = worker.peer(token);
  await until("it gets room/left", () => back.plain("room/left").length === 1);
  await until("and gets the newest", () =>
    back.contents("broadcast").some((text) => text.startsWith("29 ")),
  );
  const count = back.contents("broadcast").length;
  expect(count + worker.counters.value("worker.messages_dropped", "buffer")).toBe(30);
  expect(back.contents("broadcast").map((text) => Number(text.split(" ")[0]))).toEqual(
    Array.from({ length: count }, (_, n) => 30 - count + n),
  );
});

it("a peer that does not read is disconnected, reconnects by itself, and delays no other peer", async () => {
  const settings = { maxBufferBytes: 4 * MIB };
  const { worker, host, sessionId, guest: slow } = await startWithGuest({ settings });
  const other = await worker.joinSession(sessionId, host, { id: "user-o", name: "O" });
  await until("all have upgraded", () =>
    [host, slow, other].every((p) => p.socket.io.engine.transport.name === "websocket"),
  );
  tcpOf(slow).pause();
  const [slowId, otherId] = [slow.id, other.id];
  for (let n = 0; n < 200; n++) {
    host.broadcast(`${n} ${"x".repeat(100_000)}`, [slowId, otherId]);
    // In chunks that the other has time to read, as both are in this process.
    if (n % 10 === 9) {
      await until("the other gets it", () => other.contents("broadcast").length === n + 1);
    }
  }
  expect(worker.counters.value("worker.buffer_overflows", "slow")).toBeGreaterThan(0);
  // Destroyed, not closed by a handshake: it would not read the close frame.
  await until("its connection is gone", () => worker.webSockets.size === 2);
  tcpOf(slow).resume();
  await until("the slow one is back", () => slow.connects === 2);
  host.broadcast("and now", [slowId]);
  await until("it goes on", () => slow.contents("broadcast").includes("and now"));
  expect(other.plain("room/left")).toEqual([]);
});

it("a full session admits no further peer", async () => {
  const { worker, host, sessionId } = await startWithHost({ settings: { maxPeersPerSession: 2 } });
  const spare = await worker.invite(sessionId, host, { id: "user-s", name: "S" });
  await worker.joinSession(sessionId, host);
  expect(await worker.registry.live(sessionId)?.requestJoin({ id: "x", name: "X" })).toEqual({
    outcome: "full",
  });
  const late = worker.peer(spare);
  await until("it is disconnected", () => late.disconnects.length === 1);
  expect(worker.counters.value("worker.connects_refused", "full")).toBe(1);
  expect((await worker.store.findSession(sessionId))?.peers).toHaveLength(2);
});

it("one user cannot take all places of waiting join requests", async () => {
  const { worker, sessionId } = await startWithHost();
  const session = worker.registry.live(sessionId);
  const ask = (id: string) => session?.requestJoin({ id, name: id });
  const outcomes = [];
  for (let n = 0; n < 7; n++) outcomes.push((await ask("pushy"))?.outcome);
  expect(outcomes).toEqual(["asked", "asked", "asked", "asked", "asked", "full", "full"]);
  expect((await ask("patient"))?.outcome).toBe("asked");
});

it("garbage is dropped and counted, and the session goes on", async () => {
  const { worker, host, guest } = await startWithGuest();
  const before = worker.counters.value("worker.messages_dropped");
  guest.sendBytes(Buffer.alloc(0));
  guest.sendBytes(Buffer.from([0xc1]));
  guest.sendBytes(randomBytes(100));
  guest.sendBytes(encode("text"));
  guest.send({ kind: "broadcast", version: "9.0.0", content: Buffer.from("x") });
  guest.send({ kind: "shout", content: Buffer.from("x") });
  guest.send({ kind: "broadcast", origin: "", content: { method: "room/closed" } });
  guest.send({ kind: "notification", target: host.id, content: { method: "peer/info" } });
  guest.send({ kind: "notification", target: "", content: { method: "room/closed" } });
  guest.send({ kind: "response", id: "r.made.up", content: Buffer.from("x") });
  guest.socket.emit("message", "no bytes");
  guest.socket.emit("other", Buffer.from("x"));
  await expect.poll(() => worker.counters.value("worker.messages_dropped")).toBe(before + 12);
  guest.broadcast("and on", [host.id]);
  await until("the host gets it", () => host.contents("broadcast").includes("and on"));
  expect(host.contents("broadcast")).toEqual(["and on"]);
  expect(host.plain("room/closed")).toEqual([]);
  expect(host.plain("peer/info")).toHaveLength(1);
});

it("a peer for whom a broadcast has no key gets nothing", async () => {
  const { worker, host, sessionId, guest: a } = await startWithGuest();
  const b = await worker.joinSession(sessionId, host, { id: "user-b", name: "B" });
  host.broadcast("for a", [a.id]);
  host.broadcast("for both", [a.id, b.id]);
  await until("both got their messages", () => b.contents("broadcast").length === 1);
  expect(a.contents("broadcast")).toEqual(["for a", "for both"]);
  expect(b.contents("broadcast")).toEqual(["for both"]);
  expect(worker.counters.value("worker.messages_dropped", "no key")).toBe(1);
});

/** The TCP connection below a raw peer's WebSocket. */
function tcpOf(peer: { socket: { io: { engine: { transport: unknown } } } }): {
  pause(): void;
  resume(): void;
} {
  const { ws } = peer.socket.io.engine.transport as { ws: { pause(): void; resume(): void } };
  return ws;
}

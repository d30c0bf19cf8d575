/**
 * Clients try to get into a session that is not theirs or that is over, also on a worker that has just taken it over: nothing
 * is created or stolen, and each attempt is counted.
 */
import { generateKeyPairSync } from "node:crypto";
import { expect, it } from "vitest";
import { newPeerId, newSessionId, type PeerId } from "../../../shared/base/ids.ts";
import { startStore } from "../../support/embedded-store.ts";
import { until } from "../../support/until.ts";
import { HOST_USER, rawPeer, startWorker, type WorkerFixture } from "./fixture.ts";
import { createSkipClock } from "./skip-clock.ts";

/** A second worker that takes over from the first, whose lease has expired, when a client asks for the session. */
async function successorOf(worker: WorkerFixture, clock: ReturnType<typeof createSkipClock>) {
  await worker.kill();
  const next = await startWorker({ store: worker.storeFixture, id: "worker-2", clock });
  for (let i = 0; i < 5; i++) {
    clock.skip(1000);
    await next.heartbeat();
  }
  return next;
}

async function firstWorker() {
  const clock = createSkipClock();
  const store = await startStore(clock);
  clock.skip(8000);
  return { clock, worker: await startWorker({ store, id: "worker-1", clock }) };
}

async function expectSentAway(worker: WorkerFixture, token: string, reason: string): Promise<void> {
  const before = worker.counters.value("worker.connects_refused", reason);
  const peer = worker.peer(token);
  await until("it is disconnected", () => peer.disconnects.length === 1);
  expect(peer.disconnects).toEqual(["io server disconnect"]);
  expect(worker.counters.value("worker.connects_refused", reason)).toBe(before + 1);
}

it("a valid signature for a session that never existed creates none", async () => {
  const { worker } = await firstWorker();
  const sessionId = newSessionId();
  const claims = { sessionId, clock: 0, peerId: newPeerId(), user: HOST_USER, host: true };
  await expectSentAway(worker, await worker.tokens.signRoom(claims), "unknown");
  expect(await worker.store.findSession(sessionId)).toBeUndefined();
  expect(await worker.store.owners()).toEqual([]);
});

it("a guest that left cannot come back and a host cannot reopen a closed session, on any worker", async () => {
  const { clock, worker } = await firstWorker();
  const { host, sessionId } = await worker.openSession();
  const leaversToken = await worker.invite(sessionId, host);
  const leaver = await worker.peer(leaversToken).ready();
  leaver.leave();
  await expect
    .poll(async () => (await worker.store.findSession(sessionId))?.revokedTokens.length)
    .toBe(1);
  const over = await worker.openSession();
  over.host.leave();
  await expect
    .poll(async () => (await worker.store.findSession(over.sessionId))?.state)
    .toBe("closed");
  host.close();

  const next = await successorOf(worker, clock);
  await expectSentAway(next, leaversToken, "left");
  await expectSentAway(next, over.hostToken, "closed");
  expect(next.registry.live(sessionId)).toBeDefined();
  expect(next.registry.knows(over.sessionId)).toBe(false);
  expect((await next.store.findSession(over.sessionId))?.state).toBe("closed");
  expect((await next.store.findSession(sessionId))?.peers).toHaveLength(1);
});

it("a second token for a peer and a second host are refused", async () => {
  const { clock, worker } = await firstWorker();
  const { host, sessionId } = await worker.openSession();
  const claims = { sessionId, clock: 0, user: HOST_USER, host: true };
  const hostId = host.id as PeerId;
  host.close();
  const next = await successorOf(worker, clock);
  await expectSentAway(next, await next.tokens.signRoom({ ...claims, peerId: hostId }), "token");
  await expectSentAway(
    next,
    await next.tokens.signRoom({ ...claims, peerId: newPeerId() }),
    "token",
  );
  expect((await next.store.findSession(sessionId))?.peers.map(({ id }) => id)).toEqual([hostId]);
});

it("a peer's token with another key does not take the peer's place", async () => {
  const { worker } = await firstWorker();
  const { host, hostToken } = await worker.openSession();
  const otherKey = generateKeyPairSync("rsa", { modulusLength: 2048 })
    .publicKey.export({ format: "der", type: "spki" })
    .toString("base64");
  const thief = rawPeer({
    url: worker.url,
    roomToken: hostToken,
    headers: { "x-oct-public-key": otherKey },
  });
  await until("it is disconnected", () => thief.disconnects.length === 1);
  expect(thief.disconnects).toEqual(["io server disconnect"]);
  expect(worker.counters.value("worker.connects_refused", "other key")).toBe(1);
  expect(host.disconnects).toEqual([]);
});

it("claims on a session of a live worker change nothing, however many there are", async () => {
  const { clock, worker } = await firstWorker();
  const { sessionId, hostToken } = await worker.openSession();
  const before = await worker.store.findSession(sessionId);
  const other = await startWorker({ store: worker.storeFixture, id: "worker-2", clock });
  for (let i = 0; i < 20; i++) {
    expect((await other.registry.claim(sessionId)).outcome).toBe("elsewhere");
  }
  other.peer(hostToken, { options: { reconnection: false } });
  await expect.poll(() => other.counters.value("worker.connects_refused", "elsewhere")).toBe(1);
  expect(await worker.store.findSession(sessionId)).toEqual(before);
});

/** The store is away: running sessions go on and are recorded later. */
import { expect, it } from "vitest";
import { type Clock, systemClock } from "../../../shared/base/clock.ts";
import { startStore } from "../../support/embedded-store.ts";
import { until } from "../../support/until.ts";
import { HOST_USER, startWithGuest, startWithHost, startWorker } from "./fixture.ts";

it("while the store is away a running session goes on, and its peers leave and come back", async () => {
  const { worker, host, sessionId, guest: a } = await startWithGuest();
  const b = await worker.joinSession(sessionId, host, { id: "user-b", name: "B" });
  await worker.storeFixture.stop();

  a.broadcast("still here", [host.id, b.id]);
  await until("b gets it", () => b.contents("broadcast").includes("still here"));
  a.socket.io.engine.close();
  await until("a is back", () => a.connects === 2);
  const bId = b.id;
  b.leave();
  await until("the host gets room/left", () => host.plain("room/left").length === 1);

  await worker.storeFixture.start();
  await expect
    .poll(async () => (await worker.store.findSession(sessionId))?.peers.map(({ id }) => id), {
      timeout: 10_000,
    })
    .toEqual([host.id, a.id]);
  expect((await worker.store.findSession(sessionId))?.revokedTokens).toHaveLength(1);
  expect(bId).toMatch(/^\w{24}$/);
});

it("a guest with a valid token is admitted while the store is away, and stored when it is back", async () => {
  const { worker, host, sessionId } = await startWithHost();
  const token = await worker.invite(sessionId, host);
  await worker.storeFixture.stop();
  const guest = await worker.peer(token).ready();
  guest.broadcast("hello", [host.id]);
  await until("the host gets it", () => host.contents("broadcast").includes("hello"));
  await worker.storeFixture.start();
  await expect
    .poll(
      async () =>
        (await worker.store.findSession(sessionId))?.peers.map(({ id, settled }) => [id, settled]),
      { timeout: 10_000 },
    )
    .toEqual([
      [host.id, true],
      [guest.id, true],
    ]);
});

it("a new session starts while the store is away, and is recorded when it is back", async () => {
  const worker = await startWorker();
  await worker.storeFixture.stop();
  await until("the worker notices", () => worker.store.health.state === "away");
  const { host, sessionId } = await worker.openSession();
  expect(await worker.registry.claim(sessionId)).toMatchObject({ outcome: "here" });
  await worker.storeFixture.start();
  await expect
    .poll(async () => (await worker.store.findSession(sessionId))?.state, { timeout: 10_000 })
    .toBe("open");
  const record = await worker.store.findSession(sessionId);
  expect(record?.peers.map(({ id }) => id)).toEqual([host.id]);
  expect(worker.registry.live(sessionId)?.epoch).toBe(record?.epoch);
  const guest = await worker.joinSession(sessionId, host);
  expect(guest.id).not.toBe(host.id);
});

it("a WebSocket that began before its session was recorded is not resumed on the same worker", async () => {
  const worker = await startWorker();
  await worker.storeFixture.stop();
  await until("the worker notices", () => worker.store.health.state === "away");
  const { host, sessionId } = await worker.openSession();
  const session = worker.registry.live(sessionId);
  const peer = [...(session?.peers ?? [])].find(({ id }) => id === host.id);
  if (session === undefined || peer === undefined) throw new Error("no session");
  const { epoch } = session;
  const { tokenId } = peer.record;
  const ticket = { sessionId, epoch, peerId: peer.id, tokenId, namespace: "/", stream: 1 };
  await worker.storeFixture.start();
  await until("it is recorded", () => session.epoch > epoch, 10_000);
  expect(session.findResumable(ticket)).toBe("same epoch");
});

it("the epoch of a session that was created without the store never falls, whatever the worker's clock is", async () => {
  const clock: Clock = { ...systemClock, wallMs: () => systemClock.wallMs() + 60_000 };
  const store = await startStore();
  const worker = await startWorker({ store, clock });
  await store.stop();
  await until("the worker notices", () => worker.store.health.state === "away");
  const { host, sessionId } = await worker.openSession();
  const epochBefore = worker.registry.live(sessionId)?.epoch ?? 0;
  await store.start();
  await expect
    .poll(async () => (await worker.store.findSession(sessionId))?.peers.map(({ id }) => id), {
      timeout: 10_000,
    })
    .toEqual([host.id]);
  await worker.registry.live(sessionId)?.settled();
  const record = await worker.store.findSession(sessionId);
  expect(worker.registry.live(sessionId)?.epoch).toBeGreaterThanOrEqual(epochBefore);
  expect(record?.epoch).toBe(worker.registry.live(sessionId)?.epoch);
  expect(record?.state).toBe("open");
});

it("a session that was closed while the store was away does not come back with it", async () => {
  const { worker, host, hostToken, sessionId } = await startWithHost();
  await worker.storeFixture.stop();
  host.leave();
  await until("the host has left", () => host.disconnects.length === 1);
  const again = worker.peer(hostToken);
  await until("it is disconnected", () => again.disconnects.length === 1);
  await worker.storeFixture.start();
  await expect
    .poll(async () => (await worker.store.findSession(sessionId))?.state, { timeout: 10_000 })
    .toBe("closed");
  await expect.poll(() => worker.registry.load.sessions, { timeout: 10_000 }).toBe(0);
});

it("a client of a session that is not here waits until the store is back", async () => {
  const store = await startStore();
  const before = await startWorker({ store });
  const { host, hostToken, sessionId } = await before.openSession();
  host.close();
  await before.kill();
  const worker = await startWorker({ store });
  await store.stop();
  await until("the worker notices", () => worker.store.health.state === "away");
  await expect(worker.registry.claim(sessionId)).rejects.toMatchObject({ code: "EDGE_STORE_AWAY" });

  const back = worker.peer(hostToken);
  await expect.poll(() => worker.sockets.connections).toBe(1);
  expect(back.connects).toBe(0);
  await store.start();
  await until("it is admitted", () => back.connects === 1);
  expect(back.disconnects).toEqual([]);
  expect(worker.registry.live(sessionId)).toBeDefined();
});

it("a user's quota applies while the store is away", async () => {
  const worker = await startWorker({ settings: { maxSessionsPerUser: 2 } });
  const outcomes = [];
  for (let i = 0; i < 3; i++) outcomes.push((await worker.registry.create(HOST_USER)).outcome);
  expect(outcomes).toEqual(["created", "created", "quota"]);
  await worker.storeFixture.stop();
  await until("the worker notices", () => worker.store.health.state === "away");
  expect((await worker.registry.create(HOST_USER)).outcome).toBe("quota");
});

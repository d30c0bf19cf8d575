/** A worker takes sessions over from one that is gone, and gives up those that were taken over from it. */

import { expect, it, onTestFinished, vi } from "vitest";
import type { SessionId, WorkerId } from "../../../shared/base/ids.ts";
import { readEvents } from "../../../shared/cluster/history.ts";
import { createLeaderElection } from "../../../shared/membership/leader-election.ts";
import { StoreRefusedError } from "../../../shared/store/embedded/client.ts";
import type { OwnerReport } from "../../../worker/sessions/owner-probe.ts";
import { startReaper } from "../../../worker/sessions/session-reaper.ts";
import { type StoreFixture, startStore } from "../../support/embedded-store.ts";
import { silentLog } from "../../support/logs.ts";
import { until } from "../../support/until.ts";
import {
  GUEST_USER,
  isJoinRequest,
  joinAnswer,
  recordOf,
  requestJoin,
  startWithGuest,
  startWithHost,
  startWorker,
  type WorkerFixture,
} from "./fixture.ts";
import { createSkipClock, type SkipClock } from "./skip-clock.ts";

/** Advances time; only `workers` send heartbeats. */
async function pass(
  clock: SkipClock,
  ms: number,
  workers: readonly WorkerFixture[],
): Promise<void> {
  for (let left = ms; left > 0; left -= 1000) {
    clock.skip(Math.min(left, 1000));
    for (const worker of workers) await worker.heartbeat();
  }
}

/** A store that has been up long enough to judge leases. */
async function settledStore(): Promise<{ clock: SkipClock; store: StoreFixture }> {
  const clock = createSkipClock();
  const store = await startStore(clock);
  clock.skip(8000);
  return { clock, store };
}

/** An owner with a session of a host and a guest, which both have sent something; then it is killed. */
async function killedOwner(store: StoreFixture, clock: SkipClock) {
  const owner = await startWorker({ store, id: "worker-1", clock });
  const { host, hostToken, sessionId } = await owner.openSession();
  const guestToken = await owner.invite(sessionId, host);
  const guest = await owner.peer(guestToken).ready();
  guest.broadcast("settled", [host.id]);
  await until("the host gets it", () => host.contents("broadcast").length === 1);
  await expect
    .poll(async () => (await owner.store.findSession(sessionId))?.peers.every((p) => p.settled))
    .toBe(true);
  for (const peer of [host, guest]) peer.close();
  const { incarnation } = (await owner.store.findSession(sessionId)) ?? {};
  await owner.kill();
  return { sessionId, hostToken, guestToken, hostId: host.id, guestId: guest.id, incarnation };
}

/** State of an owner's port, until a test changes it. */
function port(seen: OwnerReport["seen"]) {
  const report: { now: OwnerReport } = { now: { seen } };
  return { report, look: async () => report.now };
}

it("a client waits while its session's owner does not respond, and another worker admits it once the owner's lease has expired", async () => {
  const { clock, store } = await settledStore();
  const gone = await killedOwner(store, clock);
  const worker = await startWorker({ store, id: "worker-2", clock, owners: port("silent").look });
  expect(await worker.registry.claim(gone.sessionId)).toEqual({ outcome: "undecided" });

  // The guest before the host.
  const guest = worker.peer(gone.guestToken);
  await expect.poll(() => worker.counters.value("worker.claims_parked")).toBe(1);
  expect(worker.sockets.connections).toBe(1);
  await pass(clock, 5000, [worker]);
  await until("the guest is in", () => guest.connects === 1);
  const host = worker.peer(gone.hostToken);
  await until("the host is in", () => host.connects === 1);
  guest.broadcast("on the other side", [gone.hostId]);
  await until("the host gets it", () => host.contents("broadcast").includes("on the other side"));
  expect(host.received.find(({ kind }) => kind === "broadcast")?.origin).toBe(gone.guestId);
  expect(host.plain("room/joined")).toEqual([]);
  expect([...guest.plain("peer/info"), ...host.plain("peer/info")]).toEqual([]);
  expect([guest.disconnects, host.disconnects]).toEqual([[], []]);
  expect(worker.counters.value("worker.sessions_resumed", "lease-gone")).toBe(1);
  const events = await readEvents(worker.store, { limit: 10, sessionId: gone.sessionId });
  expect(events.filter(({ kind }) => kind === "resumed")).toMatchObject([
    { worker: "worker-2", cause: "lease-gone" },
  ]);
});

it("an owner that refuses connections counts as gone when its last heartbeat is 2.5 s old, long before its lease ends", async () => {
  const { clock, store } = await settledStore();
  const { sessionId, incarnation } = await killedOwner(store, clock);
  if (incarnation === undefined) throw new Error("no record");
  const report: OwnerReport = { seen: "refuses", evidence: "refused", incarnation };
  const worker = await startWorker({ store, id: "worker-2", clock, owners: async () => report });
  expect(await worker.registry.claim(sessionId)).toEqual({ outcome: "undecided" });
  await pass(clock, 2500, [worker]);
  expect((await worker.registry.claim(sessionId)).outcome).toBe("here");
  expect(worker.counters.value("worker.sessions_resumed", "refused")).toBe(1);
});

it("an owner whose exit was reported is replaced at once, but not in its next incarnation", async () => {
  const { clock, store } = await settledStore();
  const { sessionId, incarnation } = await killedOwner(store, clock);
  if (incarnation === undefined) throw new Error("no record");
  const report: OwnerReport = { seen: "refuses", evidence: "exited", incarnation };
  const again = await startWorker({ store, id: "worker-1", clock });
  const worker = await startWorker({ store, id: "worker-2", clock, owners: async () => report });
  expect((await again.registry.claim(sessionId)).outcome).toBe("here");
  expect(await worker.registry.claim(sessionId)).toEqual({ outcome: "undecided" });
  await again.kill();
  const { incarnation: second } = (await worker.store.findSession(sessionId)) ?? {};
  if (second === undefined) throw new Error("no record");
  const third = await startWorker({
    store,
    id: "worker-3",
    clock,
    owners: async () => ({ ...report, incarnation: second }),
  });
  expect((await third.registry.claim(sessionId)).outcome).toBe("here");
  expect(third.counters.value("worker.sessions_resumed", "exited")).toBe(1);
});

it("a waiting client is redirected when the owner responds again", async () => {
  const { clock, store } = await settledStore();
  const owner = await startWorker({ store, id: "worker-1", clock });
  const { sessionId, hostToken } = await owner.openSession();
  const { report, look } = port("silent");
  const other = await startWorker({ store, id: "worker-2", clock, owners: look });
  const stray = other.peer(hostToken, { options: { reconnection: false } });
  await expect.poll(() => other.counters.value("worker.claims_parked")).toBe(1);
  report.now = { seen: "answers" };
  await expect.poll(() => other.counters.value("worker.connects_refused", "elsewhere")).toBe(1);
  expect(stray.connects).toBe(0);
  expect(owner.registry.live(sessionId)).toBeDefined();
});

it("a join request that waits for the host is answered after the take-over", async () => {
  const { clock, store } = await settledStore();
  const owner = await startWorker({ store, id: "worker-1", clock });
  const { host, hostToken, sessionId } = await owner.openSession();
  const pollToken = await requestJoin(owner.registry, sessionId);
  await until("the host is asked", () => host.received.some(isJoinRequest));
  host.close();
  await owner.kill();
  const worker = await startWorker({ store, id: "worker-2", clock });
  await pass(clock, 5000, [worker]);
  const back = worker.peer(hostToken);
  const question = await until("the host is asked again", () => back.received.find(isJoinRequest));
  back.decide(question, true);
  const answer = await joinAnswer(worker.store, pollToken);
  if (!answer.accepted) throw new Error(answer.code);
  const guest = await worker.peer(answer.roomToken).ready();
  expect(guest.plain("peer/info")[0]?.[0]).toMatchObject({ name: GUEST_USER.name });
});

// --- the fence ---

it("a fenced worker relays nothing, disconnects all clients so that they reconnect, and goes on if it still owns the session", async () => {
  let isOpen = true;
  const { worker, host, sessionId, guest } = await startWithGuest({ fence: () => isOpen });
  isOpen = false;
  guest.broadcast("too late", [host.id]);
  await expect.poll(() => worker.counters.value("worker.messages_dropped", "fenced")).toBe(1);
  worker.registry.fence();
  await until("both are disconnected", () =>
    [host, guest].every((peer) => peer.disconnects[0] === "transport close"),
  );
  expect(worker.registry.live(sessionId)).toBeUndefined();

  isOpen = true;
  await worker.registry.confirm();
  await until("both are back", () => host.connects === 2 && guest.connects === 2);
  guest.broadcast("in time", [host.id]);
  await until("the host gets it", () => host.contents("broadcast").includes("in time"));
  expect(host.contents("broadcast")).not.toContain("too late");
  expect(host.plain("room/left")).toEqual([]);
});

it("a worker whose session was taken over gives it up and delivers no more of its messages", async () => {
  const { worker, host, sessionId } = await startWithHost({ id: "worker-1" });
  worker.registry.fence();
  const record = await recordOf(worker, sessionId);
  await worker.store.changeSession(
    { sessionId, owner: record.owner, epoch: record.epoch },
    { kind: "release" },
  );
  const thief = await startWorker({ store: worker.storeFixture, id: "worker-2" });
  expect((await thief.registry.claim(sessionId)).outcome).toBe("here");
  await worker.registry.confirm();
  expect(worker.registry.knows(sessionId)).toBe(false);
  expect(worker.counters.value("worker.sessions_closed", "lost")).toBe(1);
  await until("the host is disconnected", () => host.disconnects.length > 0);
  expect(host.disconnects[0]).toBe("transport close");
});

it("a session that the store refuses to confirm does not keep others from being confirmed, and admits no client", async () => {
  const worker = await startWorker();
  const first = await worker.openSession();
  const second = await worker.openSession();
  worker.registry.fence();
  const { store } = worker;
  const reassert = store.reassertSession.bind(store);
  vi.spyOn(store, "reassertSession").mockImplementation(async (reassertion) => {
    if (reassertion.id === first.sessionId)
      throw new StoreRefusedError("reassertSession", "a test");
    return reassert(reassertion);
  });
  await worker.registry.confirm();
  expect(worker.registry.live(first.sessionId)).toBeUndefined();
  expect(worker.registry.live(second.sessionId)).toBeDefined();
});

it("a session whose guests have come and gone a thousand times is restored in a store that has lost it", async () => {
  const clock = createSkipClock();
  const store = await startStore(clock);
  const { worker, host, sessionId } = await startWithHost({ store, clock });
  const record = await recordOf(worker, sessionId);
  const revokedTokens = Array.from({ length: 1000 }, (_, i) => `token-${i}`);
  await worker.store.reassertSession({
    ...record,
    state: "open",
    epoch: record.epoch + 1,
    revokedTokens,
    untilMs: (await worker.store.timeMs()) + 60_000,
  });
  await worker.kill();
  const next = await startWorker({ store, clock, port: worker.port });
  await next.registry.recover();
  await until("the host is back", () => host.connects === 2);
  const guest = await next.joinSession(sessionId, host);
  guest.leave();
  await until("it has left", () => host.plain("room/left").length === 1);
  await loseEverything(next);
  await next.registry.confirm();
  const known = await next.store.findSession(sessionId);
  expect(known?.revokedTokens).toHaveLength(1000);
  expect(known?.revokedTokens).not.toContain("token-0");
});

it("a store response from before the fence shut again does not confirm the session", async () => {
  const store = await startStore();
  const worker = await startWorker({ store, id: "worker-1" });
  const thief = await startWorker({ store, id: "worker-2" });
  const { sessionId } = await worker.openSession();
  const session = worker.registry.live(sessionId);
  worker.registry.fence();
  const { store: own } = worker;
  const reassert = own.reassertSession.bind(own);
  vi.spyOn(own, "reassertSession").mockImplementationOnce(async (reassertion) => {
    const answer = await reassert(reassertion);
    // As if this process were stopped for long enough that another one takes the session over.
    worker.registry.fence();
    const { owner, epoch } = reassertion;
    await own.changeSession({ sessionId, owner, epoch }, { kind: "release" });
    expect((await thief.registry.claim(sessionId)).outcome).toBe("here");
    return answer;
  });
  expect(await session?.confirm()).toBe("lost");
  expect(worker.registry.live(sessionId)).toBeUndefined();
});

// --- a store that has lost everything ---

async function loseEverything(worker: WorkerFixture): Promise<void> {
  await worker.storeFixture.stop();
  await until("the worker notices", () => worker.store.health.state === "away");
  await worker.storeFixture.wipe();
  await until("the store responds again", () => worker.store.health.state === "up");
  await worker.announce();
}

it("running sessions are restored in a store that has lost everything, and go on", async () => {
  const { worker, host, sessionId, guest } = await startWithGuest();
  const leaver = await worker.joinSession(sessionId, host, { id: "user-b", name: "B" });
  leaver.leave();
  guest.broadcast("before", [host.id]);
  await until("the host gets it", () => host.contents("broadcast").includes("before"));
  await expect
    .poll(async () => (await worker.store.findSession(sessionId))?.peers.map((p) => p.settled))
    .toEqual([true, true]);
  const before = await worker.store.findSession(sessionId);
  expect(before?.revokedTokens).toHaveLength(1);
  await loseEverything(worker);
  expect(await worker.store.findSession(sessionId)).toBeUndefined();

  await worker.registry.confirm();
  await expect.poll(() => worker.store.findSession(sessionId)).toEqual(before);
  expect(worker.counters.value("worker.sessions_reasserted")).toBe(1);
  expect([host, guest].map(({ disconnects }) => disconnects)).toEqual([[], []]);
});

it("a write that finds the store empty does not end the session", async () => {
  const { worker, host, sessionId } = await startWithHost();
  const token = await worker.invite(sessionId, host);
  await loseEverything(worker);
  // The admission is a write.
  const guest = await worker.peer(token).ready();
  guest.broadcast("hello", [host.id]);
  await until("the host gets it", () => host.contents("broadcast").includes("hello"));
  await expect
    .poll(async () => (await worker.store.findSession(sessionId))?.peers.map(({ id }) => id))
    .toEqual(expect.arrayContaining([host.id, guest.id]));
  expect(host.disconnects).toEqual([]);
});

it("a waiting join request is restored in a store that has lost everything, and is answered", async () => {
  const { worker, host, sessionId } = await startWithHost();
  const pollToken = await requestJoin(worker.registry, sessionId);
  const question = await until("the host is asked", () => host.received.find(isJoinRequest));
  await loseEverything(worker);
  expect(await worker.store.readTicket("join", pollToken)).toBeUndefined();
  await worker.registry.confirm();
  host.decide(question, true);
  expect((await joinAnswer(worker.store, pollToken)).accepted).toBe(true);
});

it("a closed session stays closed when the store has lost everything", async () => {
  const { worker, host, sessionId } = await startWithHost();
  host.leave();
  await expect.poll(() => worker.registry.knows(sessionId)).toBe(false);
  await loseEverything(worker);
  await worker.registry.confirm();
  await expect.poll(async () => (await worker.store.findSession(sessionId))?.state).toBe("closed");
});

// --- abandoned sessions ---

function reap(worker: WorkerFixture, clock: SkipClock, self: string): void {
  const part = { store: worker.store, clock, log: silentLog() };
  const leadership = createLeaderElection("reaper", { ...part, holder: self as WorkerId });
  const { registry } = worker;
  const reaper = startReaper({ ...part, self: self as WorkerId, registry, leadership });
  onTestFinished(async () => {
    reaper.close();
    await leadership.close();
  });
}

it("sessions of a worker that is gone are closed when no client comes back", async () => {
  const { clock, store } = await settledStore();
  const { sessionId } = await killedOwner(store, clock);
  const worker = await startWorker({ store, id: "worker-2", clock });
  reap(worker, clock, "worker-2");
  await untilClosed(worker, clock, sessionId);
  expect(worker.counters.value("worker.sessions_closed", "host away")).toBe(1);
  expect(await worker.store.owners()).toEqual([]);
});

it("a session that the store assigned to a worker without its knowledge is closed", async () => {
  const { clock, store } = await settledStore();
  const worker = await startWorker({ store, id: "worker-1", clock });
  const created = await worker.create();
  const record = await recordOf(worker, created.sessionId);
  // As when the response to a take-over is lost.
  const { owner, incarnation } = record;
  const sessionId = "S".repeat(24) as SessionId;
  const request = { sessionId, owner, incarnation, userId: "u", maxPerUser: 9 };
  const other = await worker.store.createSession(request);
  if (other.outcome !== "created") throw new Error(other.outcome);
  await worker.store.changeSession(
    { sessionId, owner, epoch: other.record.epoch },
    { kind: "open" },
  );
  reap(worker, clock, "worker-1");
  await untilClosed(worker, clock, sessionId);
});

/** Advances time until the session is closed; at most two minutes. */
async function untilClosed(worker: WorkerFixture, clock: SkipClock, id: SessionId): Promise<void> {
  let seconds = 0;
  await until("the session is closed", async () => {
    await pass(clock, 1000, [worker]);
    seconds++;
    return (await worker.store.findSession(id))?.state === "closed";
  });
  expect(seconds).toBeLessThanOrEqual(120);
}

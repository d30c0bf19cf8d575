/** A worker that restarts under its id: its sessions go on. */

import { expect, it } from "vitest";
import { systemClock } from "../../../shared/base/clock.ts";
import type { WorkerId } from "../../../shared/base/ids.ts";
import { readEvents } from "../../../shared/cluster/history.ts";
import type { Reassertion } from "../../../shared/store/store.ts";
import { createRecovery } from "../../../worker/sessions/recovery.ts";
import { TOMBSTONE_MS } from "../../../worker/sessions/session-ownership.ts";
import { holdings } from "../../robustness/memory.ts";
import { startStore } from "../../support/embedded-store.ts";
import { silentLog } from "../../support/logs.ts";
import { until } from "../../support/until.ts";
import {
  GUEST_USER,
  isJoinRequest,
  joinAnswer,
  rawPeer,
  recordOf,
  requestJoin,
  startWithGuest,
  startWithHost,
  startWorker,
  type WorkerFixture,
} from "./fixture.ts";
import { createSkipClock } from "./skip-clock.ts";

/** Kills the worker and starts it again on the same port, with the same id. */
async function restart(
  worker: WorkerFixture,
  options: Parameters<typeof startWorker>[0] = {},
): Promise<WorkerFixture> {
  await worker.kill();
  const next = await startWorker({ ...options, store: worker.storeFixture, port: worker.port });
  await next.registry.recover();
  return next;
}

it("after a worker's restart its peers come back as the same peers, without an announcement", async () => {
  const { worker, host, sessionId, guest } = await startWithGuest();
  // Both have sent something, which proves that they know they are in.
  guest.broadcast("before", [host.id]);
  await until("the host gets it", () => host.contents("broadcast").includes("before"));
  const epoch = worker.registry.live(sessionId)?.epoch ?? 0;
  await expect
    .poll(async () => (await worker.store.findSession(sessionId))?.peers.map((p) => p.settled))
    .toEqual([true, true]);

  const next = await restart(worker);
  expect(next.registry.live(sessionId)?.epoch).toBeGreaterThan(epoch);
  await until("both are back", () => host.connects === 2 && guest.connects === 2);
  guest.broadcast("after", [host.id]);
  await until("the host gets it", () => host.contents("broadcast").includes("after"));
  expect(host.received.at(-1)?.origin).toBe(guest.id);
  expect(host.plain("peer/info")).toHaveLength(1);
  expect(guest.plain("peer/info")).toHaveLength(1);
  expect(host.plain("room/joined")).toHaveLength(1);
  expect(host.plain("room/left")).toEqual([]);
  expect(next.counters.value("worker.sessions_resumed", "restarted")).toBe(1);
  const events = await until("both returns are noted", async () => {
    const all = await readEvents(next.store, { limit: 10, sessionId });
    return all.length >= 6 && all;
  });
  const entries = events.map(({ kind, cause }) => `${kind}: ${cause.replace(/\d+\.\d/, "N")}`);
  expect(entries.slice(0, 4)).toEqual([
    "created: create",
    "joined: host",
    "joined: guest",
    "resumed: restarted",
  ]);
  expect(new Set(entries.slice(4))).toEqual(
    new Set(["returned: host Host, after N s", "returned: guest Guest, after N s"]),
  );
});

it("after a restart a guest is served before the host is back, and the host gets what it missed", async () => {
  const { worker, host, hostToken, sessionId, guest: a } = await startWithGuest();
  const b = await worker.joinSession(sessionId, host, { id: "user-b", name: "B" });
  const hostId = host.id;
  for (const peer of [a, b]) peer.broadcast("I am here", [hostId]);
  await until("the host gets both", () => host.contents("broadcast").length === 2);
  host.close();

  await restart(worker);
  await until("both guests are back", () => a.connects === 2 && b.connects === 2);
  a.broadcast("without the host", [hostId, b.id]);
  await until("b gets it", () => b.contents("broadcast").includes("without the host"));

  const back = rawPeer({ url: worker.url, roomToken: hostToken });
  await until("the host gets it", () => back.contents("broadcast").includes("without the host"));
  expect(back.received.map(({ kind }) => kind)).toEqual(["broadcast"]);
});

it("a peer that had not sent anything before the restart is announced again", async () => {
  const { worker, host, guest } = await startWithGuest();
  await restart(worker);
  await until("the guest gets its peer info again", () => guest.plain("peer/info").length === 2);
  await until("the host gets it again", () => host.plain("room/joined").length === 2);
  expect(guest.plain("peer/info")[1]).toEqual(guest.plain("peer/info")[0]);
  // The host has sent something: its response to the join request.
  expect(host.plain("peer/info")).toHaveLength(1);
});

it("a peer that does not come back within 30 s of the recovery has left", async () => {
  const { worker, host, guest } = await startWithGuest();
  guest.broadcast("settled", [host.id]);
  await until("the host gets it", () => host.contents("broadcast").length === 1);
  guest.close();
  const clock = createSkipClock();
  await restart(worker, { clock });
  await until("the host is back", () => host.connects === 2);
  clock.skip(30_000);
  await until("the host gets room/left", () => host.plain("room/left").length === 1);
});

it("a session whose host does not come back is closed, and its guests are informed", async () => {
  const { worker, host, guest } = await startWithGuest();
  host.close();
  const clock = createSkipClock();
  await restart(worker, { clock });
  await until("the guest is back", () => guest.connects === 2);
  clock.skip(30_000);
  await until("the guest gets room/closed", () => guest.plain("room/closed").length === 1);
});

it("a guest that left before the restart cannot come back after it", async () => {
  const { worker, sessionId, guest, token } = await startWithGuest();
  guest.leave();
  await expect
    .poll(async () => (await worker.store.findSession(sessionId))?.revokedTokens.length)
    .toBe(1);
  const next = await restart(worker);
  const again = next.peer(token);
  await until("it is disconnected", () => again.disconnects.length === 1);
  expect(next.counters.value("worker.connects_refused", "left")).toBe(1);
});

it("a closed session with its people leaves the worker's memory", async () => {
  const { worker, host, sessionId } = await startWithHost();
  const session = new WeakRef(worker.registry.live(sessionId) ?? {});
  host.leave();
  await expect.poll(async () => (await worker.store.findSession(sessionId))?.state).toBe("closed");
  host.close();
  await until("it is collected", () => {
    holdings();
    return session.deref() === undefined;
  });
});

it("a store that has lost its data gets the tombstone of a closed session again, for the time that is left of it", async () => {
  const { worker, host, sessionId } = await startWithHost();
  const session = worker.registry.live(sessionId);
  if (session === undefined) throw new Error("the session is not here");
  host.leave();
  await until("it is closed", () => session.isClosed);
  const written: Reassertion[] = [];
  let nowMs = 0;
  const recovery = createRecovery({
    store: {
      sessionsOf: async () => [],
      members: async () => ({ members: [], ignored: 0, booted: false }),
      timeMs: async () => 1_000_000,
      reassertSession: async (one) => {
        written.push(one);
        return "written";
      },
    },
    clock: { ...systemClock, nowMs: () => nowMs },
    log: silentLog(),
    self: { id: "worker-1" as WorkerId },
    resume: () => Promise.reject(new Error("nothing is resumed")),
    sessions: new Map(),
    isClosed: () => false,
  });
  recovery.noteClosed(session);
  nowMs = 60_000;
  await recovery.confirm();
  expect(written).toMatchObject([
    { id: sessionId, state: "closed", untilMs: 1_000_000 + TOMBSTONE_MS - 60_000 },
  ]);
});

it("a closed session stays closed after a restart", async () => {
  const { worker, host, hostToken, sessionId } = await startWithHost();
  host.leave();
  await expect.poll(async () => (await worker.store.findSession(sessionId))?.state).toBe("closed");
  const next = await restart(worker);
  const again = next.peer(hostToken);
  await until("it is disconnected", () => again.disconnects.length === 1);
  expect(next.counters.value("worker.connects_refused", "closed")).toBe(1);
});

it("a join request that waits during a restart is sent to the host again, and the guest gets its answer", async () => {
  const { worker, host, sessionId } = await startWithHost();
  const pollToken = await requestJoin(worker.registry, sessionId);
  const first = await until("the host is asked", () => host.received.find(isJoinRequest));
  const next = await restart(worker);
  await until("the host is asked again", () => host.received.filter(isJoinRequest).length === 2);
  expect(host.received.filter(isJoinRequest)[1]?.id).toBe(first.id);
  // A response to the first request counts too.
  host.decide(first, true);
  const answer = await joinAnswer(next.store, pollToken);
  if (!answer.accepted) throw new Error(answer.code);
  const guest = await next.peer(answer.roomToken).ready();
  expect(guest.plain("peer/info")[0]?.[0]).toMatchObject({ name: GUEST_USER.name });
});

it("a session that was not opened before the restart still waits for its host", async () => {
  const worker = await startWorker();
  const created = await worker.create();
  const next = await restart(worker);
  expect(await next.registry.live(created.sessionId)?.requestJoin(GUEST_USER)).toEqual({
    outcome: "unopened",
  });
  const host = await next.peer(created.roomToken).ready();
  expect(host.plain("peer/info")).toHaveLength(1);
});

it("a response to a request that was relayed before the restart still reaches its requester", async () => {
  const { worker, host, guest } = await startWithGuest();
  guest.request(host.id, 4711, "before the restart");
  const request = await until("the host is asked", () =>
    host.received.find(({ content, kind }) => kind === "request" && content instanceof Uint8Array),
  );
  await restart(worker);
  await until("both are back", () => host.connects === 2 && guest.connects === 2);
  host.respond(request, "after the restart");
  await until("the guest is answered", () => guest.contents("response").length === 1);
  expect(guest.received.find(({ kind }) => kind === "response")?.id).toBe(4711);
});

it("a session of another live worker is not taken over, and its owner is named", async () => {
  const store = await startStore();
  const owner = await startWorker({ store, id: "worker-1" });
  const other = await startWorker({ store, id: "worker-2" });
  const { sessionId, hostToken } = await owner.openSession();
  expect(await other.registry.claim(sessionId)).toEqual({
    outcome: "elsewhere",
    owner: "worker-1",
    epoch: owner.registry.live(sessionId)?.epoch,
  });
  const stray = other.peer(hostToken, { options: { reconnection: false } });
  await expect.poll(() => other.counters.value("worker.connects_refused", "elsewhere")).toBe(1);
  expect(stray.received).toEqual([]);
});

it("a worker that lost a session disconnects its peers so that they reconnect", async () => {
  const { worker, host, sessionId } = await startWithHost();
  const record = await recordOf(worker, sessionId);
  const holder = { sessionId, owner: record.owner, epoch: record.epoch };
  await worker.store.changeSession(holder, { kind: "release" });
  const thief = await startWorker({ store: worker.storeFixture, id: "worker-2" });
  expect((await thief.registry.claim(sessionId)).outcome).toBe("here");

  // The next write tells the worker.
  await requestJoin(worker.registry, sessionId);
  const request = await until("the host is asked", () => host.received.find(isJoinRequest));
  host.decide(request, true);
  await until("the host is disconnected", () => host.disconnects.length === 1);
  expect(host.disconnects[0]).toBe("transport close");
  expect(worker.registry.live(sessionId)).toBeUndefined();
  expect((await thief.registry.claim(sessionId)).outcome).toBe("here");
});

/** What is read from the store for open pages, and how often. */
import { expect, test } from "vitest";
import type { SessionId, WorkerId } from "../../../shared/base/ids.ts";
import { type Change, type SessionRecord, StoreAwayError } from "../../../shared/store/store.ts";
import { createSnapshots } from "../../../worker/dashboard/snapshot.ts";
import { createStepClock } from "../../support/step-clock.ts";

function setUp(sessions: number) {
  const clock = createStepClock();
  const calls: Record<string, number> = {};
  const listeners: ((change: Change) => void)[] = [];
  let isAway = false;
  let reports: Record<string, string> = {};
  const ids = Array.from({ length: sessions }, (_, i) => `session-${i}` as SessionId);
  async function answer<T>(name: string, value: T): Promise<T> {
    calls[name] = (calls[name] ?? 0) + 1;
    if (isAway) throw new StoreAwayError(name);
    return value;
  }
  const snapshots = createSnapshots({
    clock,
    cluster: async () => [],
    store: {
      timeMs: () => answer("timeMs", clock.wallMs()),
      members: () =>
        answer("members", {
          members: [{ kind: "worker", id: "w1" as WorkerId } as never],
          ignored: 0,
          booted: true,
        }),
      list: () => answer("list", reports),
      owners: () => answer("owners", ["w1" as WorkerId]),
      sessionsOf: () => answer("sessionsOf", ids),
      findSession: (id) =>
        answer("findSession", {
          id,
          state: "open",
          createdMs: ids.indexOf(id as SessionId),
        } as SessionRecord),
      onChange(listener) {
        listeners.push(listener);
        return () => {};
      },
    },
  });
  return {
    snapshots,
    clock,
    calls,
    ids,
    change: (sessionId: SessionId) => {
      for (const listener of listeners) listener({ subject: "session", sessionId });
    },
    setAway: (value: boolean) => {
      isAway = value;
    },
    setReports: (value: Record<string, string>) => {
      reports = value;
    },
  };
}

test("with any number of pages, the store is read once in two seconds", async () => {
  const { snapshots, clock, calls } = setUp(10);
  await Promise.all(Array.from({ length: 50 }, () => snapshots.read()));
  for (let i = 0; i < 50; i++) await snapshots.read();
  expect(calls).toEqual({ timeMs: 1, members: 1, list: 1, owners: 1, sessionsOf: 1 });
  clock.advance(2000);
  await snapshots.read();
  expect(calls["timeMs"]).toBe(2);
});

test("session records are read only for pages that show them, again after a change, and all after two minutes", async () => {
  const { snapshots, clock, calls, ids, change } = setUp(120);
  expect((await snapshots.read()).ownerById.size).toBe(120);
  expect(calls["findSession"]).toBeUndefined();
  expect(await snapshots.readSessions()).toHaveLength(120);
  expect(calls["findSession"]).toBe(120);
  change(ids[5] as SessionId);
  clock.advance(2000);
  expect(await snapshots.readSessions()).toHaveLength(120);
  expect(calls["findSession"]).toBe(121);
  clock.advance(120_000);
  await snapshots.readSessions();
  expect(calls["findSession"]).toBe(241);
});

test("at most a thousand sessions are listed, newest first", async () => {
  const { snapshots } = setUp(1500);
  const records = await snapshots.readSessions();
  expect(records.map(({ createdMs }) => createdMs)).toEqual(
    Array.from({ length: 1000 }, (_, i) => 999 - i),
  );
  expect((await snapshots.read()).ownerById.size).toBe(1500);
});

test("during a store outage the last snapshot is returned as not current, and afterwards a new one", async () => {
  const { snapshots, clock, setAway } = setUp(3);
  await snapshots.readSessions();
  setAway(true);
  clock.advance(2000);
  expect(await snapshots.read()).toMatchObject({ isCurrent: false, storeLatencyMs: undefined });
  expect((await snapshots.read()).membership.members).toHaveLength(1);
  clock.advance(240_000);
  expect(await snapshots.readSessions()).toHaveLength(3);
  setAway(false);
  clock.advance(2000);
  expect(await snapshots.read()).toMatchObject({ isCurrent: true });
});

test("a store that never responded gives an empty snapshot", async () => {
  const { snapshots, setAway } = setUp(3);
  setAway(true);
  expect(await snapshots.read()).toMatchObject({ nowMs: undefined, isCurrent: false, views: [] });
  expect(await snapshots.readSessions()).toEqual([]);
});

test("durations count from the first sight of a report, and reports of dead processes and invalid ones are ignored", async () => {
  const { snapshots, clock, setReports } = setUp(0);
  const view = { role: "worker", uptimeMs: 1, rssBytes: 1, sessions: [] };
  setReports({ w1: JSON.stringify(view), gone: JSON.stringify(view), b1: "nonsense" });
  const { views } = await snapshots.read();
  expect(views).toEqual([{ id: "w1", seenMs: clock.wallMs(), view }]);
  clock.advance(4000);
  expect((await snapshots.read()).views).toEqual(views);
  setReports({ w1: JSON.stringify({ ...view, uptimeMs: 2 }) });
  clock.advance(4000);
  expect((await snapshots.read()).views[0]?.seenMs).toBe(clock.wallMs());
});

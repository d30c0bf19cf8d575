/** A process keeps its record in the store: against a real embedded store whose time is stepped. */
import { beforeEach, describe, expect, it, vi } from "vitest";
import { newIncarnation } from "../../../shared/base/ids.ts";
import { createLease } from "../../../shared/membership/lease.ts";
import type { WorkerRecord } from "../../../shared/store/member.ts";
import { MEMBER_LEASE_MS, type Store, StoreAwayError } from "../../../shared/store/store.ts";
import { worker } from "../../contract/store.ts";
import { closeAtEnd } from "../../support/at-end.ts";
import { openEmbeddedStore } from "../../support/embedded-store.ts";
import { createGate } from "../../support/gate.ts";
import { collectingLog, silentLog } from "../../support/logs.ts";
import { createStepClock, type StepClock } from "../../support/step-clock.ts";

describe("a lease", () => {
  let clock: StepClock;
  let store: Store;
  let lines: string[];

  beforeEach(async () => {
    clock = createStepClock();
    lines = [];
    store = await openEmbeddedStore({ clock });
  });

  function lease(
    member: WorkerRecord,
    more: { through?: Partial<Store>; onReplaced?: () => void },
  ) {
    const log = collectingLog();
    lines = log.lines;
    const made = createLease({
      store: { ...store, ...more.through },
      clock,
      log: log.log,
      describe: () => member,
      onReplaced: more.onReplaced ?? (() => {}),
    });
    // With the clock standing still, only the store's answers end it.
    return closeAtEnd(made);
  }

  /** Counts the calls that reach the store, and how many of them were under way together at most. */
  function watched() {
    const seen = { renewals: 0, announcements: 0, together: 0, most: 0 };
    async function count<T>(call: Promise<T>): Promise<T> {
      seen.together++;
      seen.most = Math.max(seen.most, seen.together);
      return call.finally(() => seen.together--);
    }
    const through: Pick<Store, "announce" | "renew"> = {
      announce(member) {
        seen.announcements++;
        return count(store.announce(member));
      },
      renew(member) {
        seen.renewals++;
        return count(store.renew(member));
      },
    };
    return { seen, through };
  }

  it("a lease announces the member, renews it with every heartbeat and withdraws it on close", async () => {
    const { seen, through } = watched();
    const member = worker("worker-1");
    const own = lease(member, { through });
    expect(own.lastRenewalSentMs).toBe(Number.NEGATIVE_INFINITY);
    await own.start();
    expect((await store.members()).members).toEqual([member]);
    expect(own.lastRenewalSentMs).toBe(clock.nowMs());
    for (let heartbeat = 1; heartbeat <= 8; heartbeat++) {
      clock.advance(1000);
      await expect.poll(() => own.lastRenewalSentMs, { interval: 1 }).toBe(clock.nowMs());
      expect(seen.renewals).toBe(heartbeat);
    }
    expect(seen.announcements).toBe(1);
    await own.close();
    expect((await store.members()).members).toEqual([]);
    clock.advance(10_000);
    expect(seen).toMatchObject({ renewals: 8, announcements: 1 });
    expect(lines).toEqual([]);
  });

  it("a lease sends the present record with every heartbeat", async () => {
    let member = worker("worker-1");
    const own = createLease({
      store,
      clock,
      log: silentLog(),
      describe: () => member,
      onReplaced: () => {},
    });
    closeAtEnd(own);
    await own.start();
    member = { ...member, load: { sessions: 7, connections: 8, lagMs: 9 } };
    clock.advance(1000);
    await expect.poll(async () => (await store.members()).members).toEqual([member]);
    member = { ...member, state: "draining" };
    await own.refresh();
    expect((await store.members()).members).toEqual([member]);
  });

  it("a lease never overlaps renewals, and starts one after the last call of refresh", async () => {
    const { seen, through } = watched();
    const own = lease(worker("worker-1"), { through });
    await own.start();
    await Promise.all([own.refresh(), own.refresh(), own.refresh(), own.refresh()]);
    clock.advance(1000);
    await Promise.all([own.refresh(), own.refresh()]);
    expect(seen.most).toBe(1);
    expect(seen.renewals).toBe(4);
  });

  it("a lease announces the member again when it has expired", async () => {
    const member = worker("worker-1");
    const own = lease(member, {});
    await own.start();
    await store.withdraw(member.id, member.incarnation);
    clock.advance(1000);
    await expect.poll(async () => (await store.members()).members).toEqual([member]);
    expect(own.lastRenewalSentMs).toBe(clock.nowMs());
    expect(lines.join("")).toContain("lease expired, announcing again");
  });

  it("a lease ends when another incarnation has taken the id, and logs it once", async () => {
    const { seen, through } = watched();
    const onReplaced = vi.fn();
    const own = lease(worker("worker-1"), { through, onReplaced });
    await own.start();
    const sentMs = own.lastRenewalSentMs;
    const young = worker("worker-1", newIncarnation());
    await store.announce(young);
    clock.advance(1000);
    await expect.poll(() => onReplaced.mock.calls.length).toBe(1);
    clock.advance(3000);
    await own.refresh();
    expect(seen).toMatchObject({ renewals: 1, announcements: 1 });
    expect(own.lastRenewalSentMs).toBe(sentMs);
    await own.close();
    expect((await store.members()).members).toEqual([young]);
    expect(onReplaced).toHaveBeenCalledTimes(1);
  });

  it("a lease keeps trying while the store is away, starts when it is back, and logs it once", async () => {
    let isAway = true;
    const own = lease(worker("worker-1"), {
      through: {
        announce: (member) =>
          isAway ? Promise.reject(new StoreAwayError("announce")) : store.announce(member),
      },
    });
    let isStarted = false;
    const started = own.start().then(() => {
      isStarted = true;
    });
    for (let i = 0; i < 5; i++) {
      clock.advance(1000);
      await own.refresh();
    }
    expect(isStarted).toBe(false);
    expect(own.lastRenewalSentMs).toBe(Number.NEGATIVE_INFINITY);
    isAway = false;
    clock.advance(1000);
    await started;
    expect((await store.members()).members).toMatchObject([{ id: "worker-1" }]);
    expect(lines.filter((line) => line.includes("cannot renew the lease"))).toHaveLength(1);
    expect(lines.filter((line) => line.includes("renewed again"))).toHaveLength(1);
  });

  it("a lease sends a heartbeat at once when the store is back", async () => {
    const listeners: Parameters<Store["onHealth"]>[0][] = [];
    const { seen, through } = watched();
    const own = lease(worker("worker-1"), {
      through: {
        ...through,
        onHealth(listener) {
          listeners.push(listener);
          return () => {};
        },
      },
    });
    await own.start();
    for (const listener of listeners) listener({ state: "up" });
    await expect.poll(() => seen.renewals).toBe(1);
  });

  it("a lease counts neither a failed renewal nor the time until a response", async () => {
    const answer = createGate();
    const own = lease(worker("worker-1"), {
      through: { renew: (member) => answer.opened.then(() => store.renew(member)) },
    });
    await own.start();
    clock.advance(1000);
    const sentMs = clock.nowMs();
    clock.advance(1500);
    answer.open();
    await expect.poll(() => own.lastRenewalSentMs).toBe(sentMs);
  });

  it("a lease may be closed at any time, also before it has started and while the store is away", async () => {
    const never = lease(worker("worker-1"), {});
    await never.close();
    await never.start();
    expect((await store.members()).members).toEqual([]);

    const hanging = lease(worker("worker-2"), {
      through: { announce: () => new Promise(() => {}), withdraw: () => new Promise(() => {}) },
    });
    const started = hanging.start();
    const closed = hanging.close();
    await started;
    clock.advance(1000);
    await closed;

    const failing = lease(worker("worker-3"), {
      through: { withdraw: () => Promise.reject(new StoreAwayError("withdraw")) },
    });
    await failing.start();
    await failing.close();
    await failing.close();
    clock.advance(MEMBER_LEASE_MS);
    expect((await store.members()).members).toEqual([]);
  });

  it("a lease withdraws the record after a pending announcement", async () => {
    const answer = createGate();
    const own = lease(worker("worker-1"), {
      through: { announce: (record) => answer.opened.then(() => store.announce(record)) },
    });
    const started = own.start();
    const closed = own.close();
    expect(await store.timeMs()).toBeGreaterThan(0);
    answer.open();
    await Promise.all([started, closed]);
    expect((await store.members()).members).toEqual([]);
  });

  it("a lease does not announce the record again after it was withdrawn", async () => {
    const answer = createGate();
    const own = lease(worker("worker-1"), {
      through: { renew: () => answer.opened.then(() => "expired") },
    });
    await own.start();
    const refreshed = own.refresh();
    const closed = own.close();
    answer.open();
    await Promise.all([refreshed, closed]);
    expect((await store.members()).members).toEqual([]);
  });
});

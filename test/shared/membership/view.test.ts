/** Who the members are as one process sees them: against a real embedded store whose time is stepped. */
import { beforeEach, describe, expect, it, vi } from "vitest";
import { newIncarnation, type SessionKey, type WorkerId } from "../../../shared/base/ids.ts";
import { workerTag } from "../../../shared/base/worker-tag.ts";
import { createRing } from "../../../shared/membership/ring.ts";
import { createMembershipView, type MembershipView } from "../../../shared/membership/view.ts";
import type { MemberRecord, WorkerRecord } from "../../../shared/store/member.ts";
import {
  MEMBER_LEASE_MS,
  type Membership,
  type Store,
  StoreAwayError,
} from "../../../shared/store/store.ts";
import { balancer, worker } from "../../contract/store.ts";
import { closeAtEnd } from "../../support/at-end.ts";
import { openEmbeddedStore } from "../../support/embedded-store.ts";
import { collectingLog } from "../../support/logs.ts";
import { createStepClock, type StepClock } from "../../support/step-clock.ts";

const ringKey = Buffer.alloc(32, 1);

describe("the view of the members", () => {
  let clock: StepClock;
  let store: Store;

  beforeEach(async () => {
    clock = createStepClock();
    store = await openEmbeddedStore({ clock });
    clock.advance(MEMBER_LEASE_MS);
  });

  function open(
    through: Partial<Store> = {},
    ringKeyFor: (members: readonly MemberRecord[]) => Buffer = () => ringKey,
  ) {
    const { log, lines } = collectingLog();
    const seen = { ...store, ...through };
    const deferred = through.deferred ?? seen;
    const view = closeAtEnd(
      createMembershipView({ store: { ...seen, deferred }, clock, log, ringKeyFor }),
    );
    return { view, lines };
  }

  /** A view of a store that says what the test says. */
  async function openOver(first: Partial<Membership> | Error) {
    let seen: Partial<Membership> | Error = first;
    const opened = open({
      async members() {
        if (seen instanceof Error) throw seen;
        return { members: [], ignored: 0, booted: true, ...seen };
      },
    });
    await opened.view.start();
    return {
      ...opened,
      show: async (next: Partial<Membership> | Error): Promise<void> => {
        seen = next;
        clock.advance(1000);
        // The read that the poll began ends within a few microtasks.
        await new Promise((resolve) => setImmediate(resolve));
      },
    };
  }

  function ids(view: MembershipView): string[] {
    return view.workers.map(({ id }) => id);
  }

  it("the view of the members has them after its start, each by id and tag", async () => {
    const [two, one, front] = [worker("worker-2"), worker("worker-1"), balancer("balancer-1")];
    for (const member of [two, one, front]) await store.announce(member);
    const { view } = open();
    expect(view.fresh).toBe(false);
    expect(view.workers).toEqual([]);
    expect(view.ring.first("key" as SessionKey)).toBeUndefined();
    await view.start();
    expect(view.fresh).toBe(true);
    expect(view.workers).toEqual([one, two]);
    expect(view.balancers).toEqual([front]);
    expect(view.worker(one.id)).toEqual(one);
    expect(view.worker("worker-3" as WorkerId)).toBeUndefined();
    expect(view.byTag(workerTag(two.id, two.incarnation))).toEqual(two);
    expect(view.byTag(workerTag(two.id, newIncarnation()))).toBeUndefined();
    expect(view.ring.members).toEqual(["worker-1", "worker-2"]);
    expect(view.ring.fingerprint).toBe(createRing([two, one], ringKey).fingerprint);
  });

  it("the view of the members has another ring once its members have another secret", async () => {
    const otherKey = Buffer.alloc(32, 2);
    const { view } = open({}, (members) => (members.length === 1 ? ringKey : otherKey));
    const one = worker("worker-1");
    await store.announce(one);
    await view.start();
    expect(view.ring.fingerprint).toBe(createRing([one], ringKey).fingerprint);
    // A balancer is no part of the ring.
    await store.announce(balancer("balancer-1"));
    const expected = createRing([one], otherKey).fingerprint;
    await expect.poll(() => view.ring.fingerprint).toBe(expected);
  });

  it("the view of the members follows them soon after a hint, and notifies its listeners", async () => {
    const { view } = open();
    await view.start();
    const onChange = vi.fn();
    view.onChange(onChange);
    await store.announce(worker("worker-1"));
    await expect.poll(() => ids(view)).toEqual(["worker-1"]);
    expect(onChange).toHaveBeenCalledTimes(1);
  });

  it("the view of the members follows them within a second when no hint comes", async () => {
    const { view } = open({ onChange: () => () => {} });
    await view.start();
    await store.announce(worker("worker-1"));
    expect(ids(view)).toEqual([]);
    clock.advance(1000);
    await expect.poll(() => ids(view)).toEqual(["worker-1"]);
  });

  it("the view of the members follows a hint while a poll waits for a heartbeat, and drops what the poll read before", async () => {
    const [one, two] = [worker("worker-1"), worker("worker-2")];
    const polls: ((seen: Membership) => void)[] = [];
    const seen = (members: readonly MemberRecord[]) => ({ members, ignored: 0, booted: true });
    const deferred = {
      ...store.deferred,
      members: () => new Promise<Membership>((resolve) => polls.push(resolve)),
    };
    const { view } = open({ deferred });
    await view.start();
    clock.advance(1000);
    expect(polls).toHaveLength(1);
    await store.announce(one);
    await expect.poll(() => ids(view)).toEqual(["worker-1"]);
    polls[0]?.(seen([]));
    await new Promise((resolve) => setImmediate(resolve));
    expect(ids(view)).toEqual(["worker-1"]);
    clock.advance(1000);
    polls[1]?.(seen([one, two]));
    await expect.poll(() => ids(view)).toEqual(["worker-1", "worker-2"]);
  });

  it("the view of the members reads once more, not once for each hint, when hints come while it reads", async () => {
    const answers: ((seen: Membership) => void)[] = [];
    const listeners: Parameters<Store["onChange"]>[0][] = [];
    const { view } = open({
      members: () => new Promise((resolve) => answers.push(resolve)),
      onChange(listener) {
        listeners.push(listener);
        return () => {};
      },
    });
    const started = view.start();
    const hint = () => {
      for (const listener of listeners) listener({ subject: "members" });
    };
    for (let i = 0; i < 20; i++) hint();
    expect(answers).toHaveLength(1);
    answers[0]?.({ members: [], ignored: 0, booted: true });
    await expect.poll(() => answers.length).toBe(2);
    answers[1]?.({ members: [worker("worker-1")], ignored: 0, booted: true });
    await started;
    expect(answers).toHaveLength(2);
    expect(ids(view)).toEqual(["worker-1"]);
    for (const listener of listeners) listener({ subject: "session", sessionId: "s" as never });
    expect(answers).toHaveLength(2);
  });

  it("the view of the members starts at once with the store away, and has them when it is back", async () => {
    let isAway = true;
    const health: Parameters<Store["onHealth"]>[0][] = [];
    const { view } = open({
      members: () => (isAway ? Promise.reject(new StoreAwayError("members")) : store.members()),
      onHealth(listener) {
        health.push(listener);
        return () => {};
      },
    });
    await view.start();
    expect(view.fresh).toBe(false);
    await store.announce(worker("worker-1"));
    isAway = false;
    for (const listener of health) listener({ state: "up" });
    await expect.poll(() => ids(view)).toEqual(["worker-1"]);
    expect(view.fresh).toBe(true);
  });

  it("the view of the members keeps what it has read while the store is away", async () => {
    const one = worker("worker-1");
    const { view, show, lines } = await openOver({ members: [one] });
    const before = view.ring;
    for (let i = 0; i < 20; i++) await show(new StoreAwayError("members"));
    expect(view.workers).toEqual([one]);
    expect(view.ring).toBe(before);
    expect(lines.filter((line) => line.includes("WARN") || line.includes("ERROR"))).toEqual([]);
  });

  it("the view of the members builds a new ring when a worker comes, goes or changes its weight, and at no other change", async () => {
    const one = worker("worker-1");
    const two = worker("worker-2");
    const { view, show } = await openOver({ members: [one, two] });
    const first = view.ring;
    const unchanged: WorkerRecord[] = [
      { ...one, url: "http://127.0.0.1:9" },
      { ...one, load: { sessions: 1, connections: 2, lagMs: 3 } },
      { ...one, state: "draining" },
      { ...one, incarnation: newIncarnation() },
      { ...one, ringFingerprint: first.fingerprint },
    ];
    for (const changed of unchanged) {
      await show({ members: [two, changed, balancer("balancer-1")] });
      expect(view.worker(one.id)).toEqual(changed);
      expect(view.ring).toBe(first);
    }
    await show({ members: [{ ...one, weight: 2 }, two] });
    const heavier = view.ring;
    expect(heavier.fingerprint).not.toBe(first.fingerprint);
    await show({ members: [{ ...one, weight: 2 }] });
    expect(view.ring.members).toEqual(["worker-1"]);
    await show({ members: [two, { ...one, weight: 2 }] });
    expect(view.ring.fingerprint).toBe(heavier.fingerprint);
  });

  it("the view of the members keeps the workers when all disappear at once", async () => {
    const [one, front] = [worker("worker-1"), balancer("balancer-1")];
    const { view, show } = await openOver({ members: [one, front] });
    await show({ members: [] });
    expect(view.workers).toEqual([one]);
    expect(view.balancers).toEqual([]);
    const two = worker("worker-2");
    await show({ members: [two] });
    expect(view.workers).toEqual([two]);
  });

  it("the view of the members accepts those of a settling store, and keeps those missing from it", async () => {
    const [one, two, front] = [worker("worker-1"), worker("worker-2"), balancer("balancer-1")];
    const { view, show } = await openOver({ members: [one, two, front] });
    const restarted = worker("worker-1");
    const three = worker("worker-3");
    await show({ members: [restarted, three], booted: false });
    expect(view.workers).toEqual([restarted, two, three]);
    expect(view.byTag(workerTag(one.id, one.incarnation))).toBeUndefined();
    expect(view.balancers).toEqual([front]);
    await show({ members: [], booted: false });
    expect(ids(view)).toEqual(["worker-1", "worker-2", "worker-3"]);
    await show({ members: [restarted, three], booted: true });
    expect(ids(view)).toEqual(["worker-1", "worker-3"]);
    expect(view.balancers).toEqual([]);
  });

  it("the view of the members accepts the first snapshot of a new store as it is", async () => {
    const { view } = await openOver({ members: [worker("worker-1")], booted: false });
    expect(ids(view)).toEqual(["worker-1"]);
    expect(view.fresh).toBe(true);
  });

  it("the view of the members uses the workers of a previous incarnation until it reads the store", async () => {
    const old = worker("worker-1");
    const { view } = open({
      members: async () => {
        throw new StoreAwayError("members");
      },
    });
    let told = 0;
    view.onChange(() => told++);
    await view.start();
    view.recall([old]);
    expect(view.workers).toEqual([old]);
    expect(view.ring.members).toEqual(["worker-1"]);
    expect(view.fresh).toBe(false);
    expect(told).toBe(1);
  });

  it("the view of the members keeps recalled workers when the store comes back settling, not when it is settled", async () => {
    const gone = worker("worker-1");
    const here = worker("worker-2");
    const { view, show } = await openOver(new StoreAwayError("members"));
    view.recall([gone]);
    await show({ members: [here], booted: false });
    expect(view.workers).toEqual([gone, here]);
    await show({ members: [here] });
    expect(view.workers).toEqual([here]);
    view.recall([gone]);
    expect(view.workers).toEqual([here]);
  });

  it("the view of the members accepts a newer incarnation of a worker until it reads the store", async () => {
    const old: WorkerRecord = { ...worker("worker-1"), state: "draining" };
    const { view, show, lines } = await openOver({ members: [old, worker("worker-2")] });
    const life = newIncarnation();
    const ring = view.ring;
    await show(new StoreAwayError("members"));
    view.hear(old.id, life);
    view.hear(old.id, life);
    expect(view.worker(old.id)).toEqual({ ...old, incarnation: life, state: "up" });
    expect(view.byTag(workerTag(old.id, life))?.id).toBe(old.id);
    expect(view.byTag(workerTag(old.id, old.incarnation))).toBeUndefined();
    expect(view.ring).toBe(ring);
    expect(lines.filter((line) => line.includes("a worker restarted"))).toHaveLength(1);
    view.hear("worker-3" as WorkerId, life);
    expect(ids(view)).toEqual(["worker-1", "worker-2"]);
    await show({ members: [old] });
    expect(view.workers).toEqual([old]);
  });

  it("the view of the members accepts a list from a worker until it reads the store", async () => {
    const [one, two] = [worker("worker-1"), worker("worker-2")];
    const { view, show, lines } = await openOver({ members: [one, two] });
    await show(new StoreAwayError("members"));
    const moved = { ...one, incarnation: newIncarnation(), url: "http://10.0.0.9:4001" };
    const added = worker("worker-3");
    view.hearMembers([moved, added]);
    view.hearMembers([moved, added]);
    // That worker-2 was not named says nothing.
    expect(view.workers).toEqual([moved, two, added]);
    expect(view.ring.members).toEqual(["worker-1", "worker-2", "worker-3"]);
    expect(lines.filter((line) => line.includes("while the store is unavailable"))).toHaveLength(2);
    await show({ members: [two] });
    expect(view.workers).toEqual([two]);
  });

  it("the view of the members notifies listeners of differences only, also when one throws, until they unsubscribe", async () => {
    const one = worker("worker-1");
    const { view, show, lines } = await openOver({ members: [one] });
    const heard = vi.fn();
    view.onChange(() => {
      throw new Error("mine");
    });
    const stop = view.onChange(heard);
    await show({ members: [{ ...one }] });
    expect(heard).not.toHaveBeenCalled();
    await show({ members: [{ ...one, state: "suspended" }] });
    expect(heard).toHaveBeenCalledTimes(1);
    expect(lines.join("")).toContain("membership listener failed");
    stop();
    await show({ members: [one] });
    expect(heard).toHaveBeenCalledTimes(1);
  });

  it("the view of the members logs once that rings differ for longer than a change takes to spread", async () => {
    const odd = { ...worker("worker-2"), ringFingerprint: "0123456789abcdef" };
    const unknown = worker("worker-1");
    const members: MemberRecord[] = [unknown, odd];
    const { view, show, lines } = await openOver({ members });
    const errors = () => lines.filter((line) => line.includes("ERROR"));
    for (let i = 0; i < 4; i++) await show({ members });
    expect(errors()).toEqual([]);
    for (let i = 0; i < 10; i++) await show({ members });
    expect(errors()).toHaveLength(1);
    expect(errors()[0]).toContain("processes have different rings");
    expect(errors()[0]).toContain("worker-2");
    expect(errors()[0]).not.toContain("worker-1");

    // Another difference is news again; agreement is not.
    const alike = { ...odd, ringFingerprint: view.ring.fingerprint };
    for (let i = 0; i < 10; i++) await show({ members: [unknown, alike] });
    expect(errors()).toHaveLength(1);
    const front = { ...balancer("balancer-1"), ringFingerprint: "fedcba9876543210" };
    for (let i = 0; i < 10; i++) await show({ members: [unknown, alike, front] });
    expect(errors()).toHaveLength(2);
  });

  it("the view of the members does not read after it was closed", async () => {
    const members = vi.fn(() => store.members());
    const { view } = open({ members });
    await view.start();
    view.close();
    const count = members.mock.calls.length;
    clock.advance(5000);
    await store.announce(worker("worker-1"));
    expect(await store.timeMs()).toBeGreaterThan(0);
    expect(members).toHaveBeenCalledTimes(count);
    expect(view.workers).toEqual([]);
  });
});

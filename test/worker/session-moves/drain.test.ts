import { setImmediate as turnOfTheLoop } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { type Clock, systemClock } from "../../../shared/base/clock.ts";
import type { SessionId, WorkerId } from "../../../shared/base/ids.ts";
import { createRing } from "../../../shared/membership/ring.ts";
import { createCounters } from "../../../shared/metrics/metrics.ts";
import type { WorkerRecord } from "../../../shared/store/member.ts";
import { createCommandHandler } from "../../../worker/session-moves/command-handler.ts";
import {
  chooseSuccessor,
  type Drain,
  drainsFirst,
  paceMs,
  startDrain,
} from "../../../worker/session-moves/drain.ts";
import {
  createHandoverInbox,
  packPendingMessages,
  unpackPendingMessages,
} from "../../../worker/sessions/pending-messages.ts";
import type { Session } from "../../../worker/sessions/session.ts";
import { joined, type OutboundMessage } from "../../../worker/sessions/wire/outbound.ts";
import { silentLog } from "../../support/logs.ts";
import { createStepClock } from "../../support/step-clock.ts";
import { until } from "../../support/until.ts";

const SESSION = "a".repeat(24) as SessionId;
const ids = ["w1", "w2", "w3", "w4"] as WorkerId[];
const ring = createRing(
  ids.map((id) => ({ id, weight: 1 })),
  Buffer.alloc(32, 7),
);

function viewOf(states: Partial<Record<string, WorkerRecord["state"]>>) {
  return {
    ring,
    worker(id: WorkerId) {
      const state = states[id];
      return state === undefined ? undefined : ({ id, state } as WorkerRecord);
    },
  };
}

function outbound(text: string, own = false): OutboundMessage {
  const head = Buffer.from(text);
  return { parts: [head], byteLength: head.length, own };
}

function only(id: string | undefined): ReadonlySet<WorkerId> {
  return new Set([id as WorkerId]);
}

describe("the successor of a session", () => {
  const [first, second, third] = ring.candidates(SESSION);
  const all = { w1: "up", w2: "up", w3: "up", w4: "up" } as const;

  test("the successor of a session is the session's first candidate on the ring that is another worker", () => {
    expect(chooseSuccessor(SESSION, only(first), viewOf(all))?.id).toBe(second);
    expect(chooseSuccessor(SESSION, only(third), viewOf(all))?.id).toBe(first);
  });

  test("the successor of a session is never a worker that accepts no new sessions or that is gone", () => {
    const { [first as "w1"]: _, ...rest } = all;
    const view = viewOf({ ...rest, [second as string]: "draining" });
    expect(chooseSuccessor(SESSION, only("w9"), view)?.id).toBe(third);
    expect(chooseSuccessor(SESSION, only("w1"), viewOf({ w1: "up" }))).toBeUndefined();
    expect(chooseSuccessor(SESSION, only("w1"), viewOf({ w2: "suspended" }))).toBeUndefined();
  });
});

describe("the pace of a drain", () => {
  test("the pace of a drain is 25 sessions a second, so that a thousand are handed over in 40 s", () => {
    expect(paceMs(1000, 60_000) * 1000).toBeLessThanOrEqual(40_000);
    expect(paceMs(10, 60_000)).toBe(40);
  });

  test("the pace of a drain is faster when there is less time", () => {
    expect(paceMs(1000, 10_000)).toBe(6);
    expect(paceMs(5, 0)).toBe(0);
  });
});

/** Sessions that are handed over when `sendPendingMessages` resolves, a drain of all of them, and the attempts by session. */
function drainOf(
  count: number,
  sendPendingMessages: (to: WorkerId) => Promise<void>,
  view = viewOf({ w1: "draining", w2: "up", w3: "up", w4: "up" }),
  clock: Clock = systemClock,
) {
  const tries = new Map<string, WorkerId[]>();
  const sessions = Array.from({ length: count }, (_, index) => {
    const id = String(index).padStart(24, "s") as SessionId;
    const session = {
      id,
      isLive: true,
      async handOver(successor: WorkerId, deliver: (pendingMessages: never) => Promise<void>) {
        tries.set(id, [...(tries.get(id) ?? []), successor]);
        try {
          await deliver({} as never);
        } catch {
          return "kept";
        }
        session.isLive = false;
        return "handed";
      },
    };
    return session as unknown as Session;
  });
  const drain = (ending: ReadonlySet<string> = new Set()) =>
    startDrain({
      self: "w1" as WorkerId,
      version: "1.0.0",
      ending: ending as ReadonlySet<WorkerId>,
      registry: { sessions: () => sessions },
      view,
      clock,
      log: silentLog(),
      counters: createCounters(),
      sendPendingMessages: (to) => sendPendingMessages(to.id),
      sendResume: async () => {},
      delayMs: 0,
      timeoutMs: 30_000,
      random: () => 0,
    });
  return { drain, sessions, tries };
}

describe("a drain", () => {
  test("a drain with a dead successor hands the sessions to the next candidates, and tries the dead one few times", async () => {
    const { drain, tries } = drainOf(40, async (to) => {
      if (to === "w2") throw new Error("refused");
    });
    const begun = drain();
    await begun.over;
    expect(begun.left).toBe(0);
    const last = [...tries.values()].map((successors) => successors.at(-1));
    expect(new Set(last)).toEqual(new Set(["w3", "w4"]));
    // The handovers that were under way when the first one failed.
    const failed = [...tries.values()].flat().filter((successor) => successor === "w2");
    expect(failed.length).toBeGreaterThan(0);
    expect(failed.length).toBeLessThanOrEqual(8);
  });

  test("a drain begins its handovers evenly, and has at most eight under way", async () => {
    const clock = createStepClock();
    const { drain, tries } = drainOf(10, () => new Promise(() => {}), undefined, clock);
    const begun = drain();
    // The drain waits for its delay, here 0, first.
    const counts: number[] = [];
    for (let step = 0; step < 10; step++) {
      clock.advance(40);
      await turnOfTheLoop();
      counts.push(tries.size);
    }
    begun.stop();
    expect(counts).toEqual([0, 2, 3, 4, 5, 6, 7, 8, 8, 8]);
  });

  test("a drain without a successor keeps the sessions, and hands them over when a worker accepts them", async () => {
    const states: Parameters<typeof viewOf>[0] = { w1: "draining", w2: "suspended" };
    const { drain, sessions } = drainOf(3, async () => {}, viewOf(states));
    const begun = drain();
    await until("it has tried", () => begun.left === 3);
    expect(sessions.every(({ isLive }) => isLive)).toBe(true);
    states["w2"] = "up";
    await begun.over;
    expect(begun.left).toBe(0);
  });

  test("a drain hands nothing to a worker that stops too, even when that becomes known during the drain", async () => {
    const ending = new Set(["w2"]);
    const { drain, tries } = drainOf(60, async () => void ending.add("w3"));
    await drain(ending).over;
    const first = [...tries.values()].flat();
    expect(first).not.toContain("w2");
    // The handovers that were under way when it became known.
    expect(first.filter((successor) => successor === "w3").length).toBeLessThanOrEqual(8);
    expect(first).toContain("w4");
  });

  test("a drain is cancelled by resume and by suspend, and the sessions that are left stay", async () => {
    let handed = 0;
    const { drain, sessions } = drainOf(200, async () => void handed++);
    const handler = handlerOf(drain, sessions);
    expect(await handler.handleCommand({ kind: "drain" })).toMatchObject({ outcome: "done" });
    expect(handler.state).toBe("draining");
    await until("some are gone", () => handed > 0);
    expect(await handler.handleCommand({ kind: "resume" })).toMatchObject({ outcome: "done" });
    expect(handler).toMatchObject({ state: "up", draining: undefined });
    const before = handed;
    expect(before).toBeLessThan(200);
    // A second drain goes on where the first was cancelled.
    expect(await handler.handleCommand({ kind: "drain" })).toMatchObject({ outcome: "done" });
    await until("more are gone", () => handed > before);
    expect(await handler.handleCommand({ kind: "suspend" })).toMatchObject({ outcome: "done" });
    expect(handler).toMatchObject({ state: "suspended", draining: undefined });
  });

  test("a drain under way is joined by a second drain command, whose answer says so", async () => {
    const { drain, sessions } = drainOf(200, async () => {});
    let started = 0;
    const handler = handlerOf(() => {
      started++;
      return drain();
    }, sessions);
    await handler.handleCommand({ kind: "drain" });
    expect(await handler.handleCommand({ kind: "drain" })).toEqual({
      outcome: "done",
      message: expect.stringMatching(
        /^the worker is already draining; \d+ sessions are left$/,
      ) as string,
    });
    expect(started).toBe(1);
    await handler.handleCommand({ kind: "resume" });
  });

  test("a drain of the last worker that accepts sessions is refused unless it has no sessions", async () => {
    const { drain, sessions } = drainOf(2, async () => {});
    const handler = handlerOf(drain, sessions, false);
    expect(await handler.handleCommand({ kind: "drain" })).toEqual({
      outcome: "refused",
      message:
        "no other worker accepts sessions, and this one has 2; start or resume another worker first",
    });
    expect(handler.state).toBe("up");
    sessions.length = 0;
    expect(await handler.handleCommand({ kind: "drain" })).toMatchObject({ outcome: "done" });
  });
});

describe("a worker that stops", () => {
  const embedded = { isStoreEmbedded: true, hasSuccessor: true };
  const shared = { isStoreEmbedded: false, hasSuccessor: true };
  const alone = { hasSuccessor: false };
  const edge = { scope: "edge", siblings: [], isSupervised: true } as const;
  const restart = { scope: "process", siblings: ["w2" as WorkerId], isSupervised: true } as const;
  const onlyOne = { ...restart, siblings: [] };
  const signal = { scope: "process", siblings: [], isSupervised: false } as const;

  test.each([
    ["with its edge, whose journal keeps the sessions,", false, edge, embedded],
    ["with its edge, while other machines have workers,", true, edge, shared],
    ["with all other workers", false, edge, { ...shared, ...alone }],
    ["while its siblings run", true, restart, embedded],
    ["while a sibling is just starting", true, restart, { ...embedded, ...alone }],
    ["as the only one of its edge", false, onlyOne, { ...embedded, ...alone }],
    ["as the only one of its edge, to be restarted", false, onlyOne, { ...shared, ...alone }],
    ["as one of its edge, and others are elsewhere", true, onlyOne, shared],
    [
      "by a signal, while another worker may be about to start,",
      true,
      signal,
      { ...shared, ...alone },
    ],
    ["by a signal, without a successor,", false, signal, { ...embedded, ...alone }],
  ])("a worker that stops %s hands its sessions over first: %s", (_, drains, request, place) => {
    expect(drainsFirst(request, place)).toBe(drains);
  });
});

function handlerOf(drain: () => Drain, sessions: readonly Session[], hasSuccessor = true) {
  return createCommandHandler({
    registry: {
      live: () => undefined,
      get load() {
        return { sessions: sessions.length, connections: 0 };
      },
    },
    refresh: async () => {},
    startDrain: drain,
    migrateIdleSessions: async () => 0,
    countIdle: () => 0,
    log: silentLog(),
    hasSuccessor: () => hasSuccessor,
  });
}

describe("the pending messages of a session", () => {
  const HEAD_IN_PARTS = [Buffer.from("he"), Buffer.from("ad")];
  const pendingMessages = {
    epoch: 7,
    cut: [],
    waiting: [
      { id: "peer-1" as never, messages: [outbound("one"), outbound("two", true)] },
      { id: "peer-2" as never, messages: [{ ...outbound("head"), parts: HEAD_IN_PARTS }] },
    ],
  };

  test("the pending messages of a session arrive unchanged and in order", () => {
    const arrived = unpackPendingMessages(packPendingMessages(pendingMessages));
    expect(arrived?.epoch).toBe(7);
    const texts = arrived?.waiting.map(({ id, messages }) => [
      id,
      messages.map((message) => [joined(message).toString(), message.own]),
    ]);
    expect(texts).toEqual(
      expect.arrayContaining([
        [
          "peer-1",
          [
            ["one", false],
            ["two", true],
          ],
        ],
        ["peer-2", [["head", false]]],
      ]),
    );
  });

  test("the pending messages of a session are refused when they are malformed", () => {
    expect(unpackPendingMessages(Buffer.from("nonsense"))).toBeUndefined();
    expect(unpackPendingMessages(Buffer.alloc(0))).toBeUndefined();
  });

  test("the pending messages of a session wait in the inbox for its next epoch, for a limited time", () => {
    const clock = createStepClock();
    const handoverInbox = createHandoverInbox({ clock });
    handoverInbox.put(SESSION, pendingMessages);
    expect(handoverInbox.take(SESSION, 8)).toEqual(pendingMessages);
    expect(handoverInbox.take(SESSION, 8)).toBeUndefined();
    handoverInbox.put(SESSION, pendingMessages);
    expect(handoverInbox.take(SESSION, 7)).toBeUndefined();
    handoverInbox.put(SESSION, pendingMessages);
    clock.advance(16_000);
    expect(handoverInbox.take(SESSION, 8)).toBeUndefined();
  });
});

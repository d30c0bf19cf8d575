import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { ActivityEvent } from "../../../shared/activity/event.ts";
import type { SessionId, WorkerId } from "../../../shared/base/ids.ts";
import { createCounters } from "../../../shared/metrics/metrics.ts";
import { StoreAwayError, StoreFullError, type StoreHealth } from "../../../shared/store/store.ts";
import { MAX_STREAM_TEXT_CHARS } from "../../../shared/store/streams.ts";
import { createWriteQueue } from "../../../worker/sessions/write-queue.ts";
import { bodyOf, readEvent, writeEvent } from "../../../worker/webhooks/event-text.ts";
import { createOutbox } from "../../../worker/webhooks/outbox.ts";
import { collectingLog } from "../../support/logs.ts";
import { createStepClock } from "../../support/step-clock.ts";

function event(id: string, more: Partial<ActivityEvent> = {}): ActivityEvent {
  return { id, kind: "peer.joined", atMs: 0, worker: "worker-1", session: "s", ...more };
}

/** An outbox at a store whose appends end when the test says so. */
function rig(options: { readonly maxPending?: number } = {}) {
  const clock = createStepClock();
  const { log, lines } = collectingLog();
  const counters = createCounters();
  const appends: { readonly ids: string[]; readonly end: (error?: Error) => void }[] = [];
  let listener: (health: StoreHealth) => void = () => {};
  const outbox = createOutbox({
    store: {
      appendToStream: (_, texts) =>
        new Promise((resolve, reject) => {
          const ids = texts.map((text) => {
            const read = readEvent(text);
            const { kind, id, details } = read?.event ?? { kind: "", id: "" };
            if (kind === "events.lost") return `lost ${details?.["count"]}`;
            return read?.isAgain ? `${id} again` : id;
          });
          appends.push({ ids, end: (error) => (error ? reject(error) : resolve()) });
        }),
      onHealth(added) {
        listener = added;
        return () => {};
      },
    },
    ...{ worker: "worker-1" as WorkerId, clock, log, counters, ...options },
  });
  const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  return {
    ...{ clock, lines, counters, appends, outbox, tick },
    endLast: (error?: Error): Promise<void> => {
      appends.at(-1)?.end(error);
      return tick();
    },
    tell: (state: "up" | "away") =>
      listener(state === "up" ? { state } : { state, reason: "simulated" }),
  };
}

const AWAY = new StoreAwayError("test");

test("events that are written while an append is under way go with the next one, in order", async () => {
  const { outbox, appends, endLast } = rig();
  const settled: string[] = [];
  const write = (id: string): void => {
    outbox.write(event(id));
    void outbox.stored().then(() => settled.push(id));
  };
  for (const id of ["1", "2", "3"]) write(id);
  expect(appends.map(({ ids }) => ids)).toEqual([["1"]]);
  await endLast();
  expect(settled).toEqual(["1"]);
  expect(appends.map(({ ids }) => ids)).toEqual([["1"], ["2", "3"]]);
  await endLast();
  expect(settled).toEqual(["1", "2", "3"]);
  expect(outbox.pending).toBe(0);
});

test("an event that nobody waits for is in the store within a tenth of a second", async () => {
  const { outbox, appends, clock } = rig();
  outbox.write(event("1"));
  expect(appends).toEqual([]);
  clock.advance(100);
  expect(appends.map(({ ids }) => ids)).toEqual([["1"]]);
});

test("while the store is away, waiting for an event rejects, and everything is appended once it is back", async () => {
  const { outbox, appends, endLast, tick, clock, tell } = rig();
  outbox.write(event("1"));
  const stored = expect(outbox.stored()).rejects.toBe(AWAY);
  tell("away");
  await endLast(AWAY);
  await stored;
  outbox.write(event("2"));
  clock.advance(100);
  await endLast(AWAY);
  expect(outbox.pending).toBe(2);
  tell("up");
  clock.advance(1000);
  await tick();
  expect(appends.at(-1)?.ids).toEqual(["1", "2"]);
  await endLast();
  expect(outbox.pending).toBe(0);
});

test("when the store comes back, what was appended in the last seconds before is appended again, before all else", async () => {
  const { outbox, appends, endLast, clock, tell } = rig();
  const append = async (id: string): Promise<void> => {
    outbox.write(event(id));
    void outbox.stored();
    await endLast();
  };
  await append("old");
  clock.advance(20_000);
  await append("1");
  await append("2");
  tell("away");
  clock.advance(600_000);
  await endLast(AWAY);
  outbox.write(event("3"));
  tell("up");
  expect(appends.at(-1)?.ids).toEqual(["1 again", "2 again", "3"]);
});

test("an append whose outcome is not known stays before what came later", async () => {
  const { outbox, appends, endLast, tell } = rig();
  outbox.write(event("1"));
  void outbox.stored();
  await endLast();
  outbox.write(event("2"));
  outbox.stored().catch(() => {});
  outbox.write(event("3"));
  tell("away");
  outbox.stored().catch(() => {});
  tell("up");
  await endLast(AWAY);
  expect(appends.at(-1)?.ids).toEqual(["1 again", "2", "3"]);
});

test("a store that is away for too long costs the oldest events, and receivers are told how many", async () => {
  const { outbox, appends, counters, lines, endLast, tell } = rig({ maxPending: 3 });
  tell("away");
  for (let id = 1; id <= 5; id++) outbox.write(event(String(id)));
  expect(outbox.pending).toBe(3);
  expect(counters.value("worker.webhooks.lost", "store away")).toBe(2);
  expect(lines.filter((line) => line.includes("events are lost"))).toHaveLength(1);
  tell("up");
  expect(appends.at(-1)?.ids).toEqual(["lost 2", "3", "4", "5"]);
  await endLast();
  expect(outbox.pending).toBe(0);
});

test("a worker that stops appends what is left", async () => {
  const { outbox, appends, endLast } = rig();
  outbox.write(event("1"));
  const closed = outbox.close();
  expect(appends.map(({ ids }) => ids)).toEqual([["1"]]);
  await endLast();
  await closed;
});

// --- one append at a time ---

/** Waits for this many microtasks. */
async function microtasks(count: number): Promise<void> {
  for (let done = 0; done < count; done++) await Promise.resolve();
}

test.each([0, 1, 2, 3, 4, 5, 6])(
  "%i microtasks after an append has ended, waiting for an event begins no second one beside the next",
  async (count) => {
    const { outbox, appends, endLast, tick } = rig();
    const settled: string[] = [];
    const write = (id: string): void => {
      outbox.write(event(id));
      void outbox.stored().then(() => settled.push(id));
    };
    write("1");
    write("2");
    appends[0]?.end();
    await microtasks(count);
    write("3");
    await tick();
    expect(appends).toHaveLength(2);
    expect(settled).toEqual(["1"]);
    while (outbox.pending > 0) await endLast();
    await tick();
    expect(appends.flatMap(({ ids }) => ids)).toEqual(["1", "2", "3"]);
    expect(settled).toEqual(["1", "2", "3"]);
  },
);

const stepsOf = fc.array(
  fc.oneof(
    fc.constantFrom("write", "write and wait", "end", "fail"),
    fc.integer({ min: 1, max: 6 }),
  ),
  { maxLength: 60 },
);

test("however writes and appends interleave, nothing is lost, what was waited for is stored in order, and appends never overlap", async () => {
  await fc.assert(
    fc.asyncProperty(stepsOf, async (steps) => {
      const { outbox, appends, tick } = rig();
      const inStore: string[] = [];
      const waits: Promise<void>[] = [];
      let ended = 0;
      let written = 0;
      const endFirst = (error?: Error): void => {
        const append = appends[ended];
        if (append === undefined) return;
        expect(appends).toHaveLength(ended + 1);
        ended++;
        if (error === undefined) inStore.push(...append.ids);
        append.end(error);
      };
      for (const step of steps) {
        if (typeof step === "number") await microtasks(step);
        else if (step === "end") endFirst();
        else if (step === "fail") endFirst(AWAY);
        else {
          const id = String(++written);
          outbox.write(event(id));
          if (step === "write") continue;
          const wait = outbox.stored().then(
            () => expect(inStore).toContain(id),
            (error: unknown) => expect(error).toBe(AWAY),
          );
          wait.catch(() => {});
          waits.push(wait);
        }
      }
      const last = outbox.stored().catch(() => {});
      for (let times = 0; times < 200 && outbox.pending > 0; times++) {
        endFirst();
        await tick();
        outbox.stored().catch(() => {});
      }
      await Promise.all([last, ...waits]);
      expect(outbox.pending).toBe(0);
      expect(inStore).toEqual(Array.from({ length: written }, (_, index) => String(index + 1)));
    }),
    { numRuns: 500 },
  );
});

// --- a store that is there and does not take events ---

const FULL = new StoreFullError("appendToStream");
const REFUSED = new Error("NOPERM this user has no permissions");

describe.each([
  ["is full", FULL],
  ["refuses events", REFUSED],
])("a store that %s", (_, error) => {
  test("a store that takes no event delays nobody who waits for one, and gets it when it takes events again", async () => {
    const { outbox, appends, endLast, clock, tick } = rig();
    outbox.write(event("1"));
    const stored = outbox.stored();
    await endLast(error);
    await stored;
    outbox.write(event("2"));
    // It is not asked for each event.
    await outbox.stored();
    expect(appends).toHaveLength(1);
    expect(outbox.pending).toBe(2);
    clock.advance(1000);
    while (outbox.pending > 0) await endLast();
    expect(appends.slice(1).flatMap(({ ids }) => ids)).toEqual(["1", "2"]);
    outbox.write(event("3"));
    let isStored = false;
    void outbox.stored().then(() => {
      isStored = true;
    });
    await tick();
    expect(isStored).toBe(false);
    await endLast();
    expect(isStored).toBe(true);
  });

  test("a store that takes no event does not keep a session from writing what frees memory", async () => {
    const { outbox, endLast, clock, tick } = rig();
    const failures: unknown[] = [];
    const writes = createWriteQueue({
      clock,
      holder: () => ({ sessionId: "s" as SessionId, owner: "worker-1" as WorkerId, epoch: 1 }),
      before: () => outbox.stored(),
      confirm: async () => "lost",
      onLost: () => {},
      onFailure: (failure) => failures.push(failure),
    });
    const done: string[] = [];
    outbox.write(event("1"));
    const closing = writes.write(async () => {
      done.push("closeSession");
      return "done";
    });
    await tick();
    await endLast(error);
    expect(await closing).toBe("done");
    expect(done).toEqual(["closeSession"]);
    expect(failures).toEqual([]);
  });

  test("a store that takes no event costs the oldest ones in the end, which are counted, and receivers are told", async () => {
    const { outbox, appends, counters, lines, endLast, clock } = rig({ maxPending: 3 });
    outbox.write(event("1"));
    void outbox.stored();
    await endLast(error);
    for (const id of ["2", "3", "4", "5"]) outbox.write(event(id));
    const cause = error === FULL ? "store full" : "store refused";
    expect(counters.value("worker.webhooks.lost", cause)).toBe(2);
    // A gap that is refused itself is not forgotten.
    for (let times = 0; times < 5; times++) {
      clock.advance(1000);
      await endLast(error);
    }
    expect(counters.value("worker.webhooks.lost", cause)).toBe(2);
    expect(lines.filter((line) => line.includes("events are lost"))).toHaveLength(1);
    clock.advance(1000);
    const before = appends.length - 1;
    while (outbox.pending > 0) await endLast();
    expect(appends.slice(before).flatMap(({ ids }) => ids)).toEqual(["lost 2", "3", "4", "5"]);
  });
});

test("a store that refuses events is reported once, and its refusals are counted", async () => {
  const { outbox, counters, lines, endLast, clock } = rig();
  outbox.write(event("1"));
  clock.advance(100);
  for (let times = 0; times < 5; times++) {
    await endLast(REFUSED);
    clock.advance(1000);
  }
  expect(counters.value("worker.webhooks.refused")).toBe(5);
  expect(lines.filter((line) => line.includes("the store refuses events"))).toHaveLength(1);
  await endLast();
  expect(lines.filter((line) => line.includes("the store takes events again"))).toHaveLength(1);
});

test.each([
  ["others", ["1", "2", "bad", "4", "5"], ["1", "2", "lost 1", "4", "5"]],
  ["nothing", ["1", "bad"], ["1", "lost 1"]],
])(
  "one event that the store always refuses, with %s behind it, is dropped and counted after a minute",
  async (_, ids, expected) => {
    const { outbox, appends, counters, clock, tick } = rig();
    for (const id of ids) outbox.write(event(id));
    const inStore: string[] = [];
    let ended = 0;
    for (let times = 0; times < 700; times++) {
      clock.advance(100);
      for (let append = appends[ended]; append !== undefined; append = appends[ended]) {
        ended++;
        const isBad = append.ids.includes("bad");
        if (!isBad) inStore.push(...append.ids);
        append.end(isBad ? REFUSED : undefined);
        await tick();
      }
    }
    expect(inStore).toEqual(expected);
    expect(counters.value("worker.webhooks.lost", "store refused")).toBe(1);
    expect(outbox.pending).toBe(0);
  },
);

// --- what is dropped ---

test("a gap that could not be told counts in the next one", async () => {
  const { outbox, appends, endLast, clock, tell } = rig({ maxPending: 3 });
  tell("away");
  for (let id = 1; id <= 5; id++) outbox.write(event(String(id)));
  for (let times = 0; times < 5; times++) {
    clock.advance(1000);
    await endLast(AWAY);
  }
  outbox.write(event("6"));
  tell("up");
  await endLast();
  expect(appends.at(-1)?.ids).toEqual(["lost 3", "4", "5", "6"]);
});

test("with too many events, those that the store has had are dropped first, and are not lost", async () => {
  const { outbox, appends, counters, lines, endLast, clock, tell } = rig({ maxPending: 3 });
  for (const id of ["1", "2", "3"]) outbox.write(event(id));
  void outbox.stored();
  await endLast();
  tell("away");
  // Takes again what the store may have lost.
  clock.advance(100);
  outbox.stored().catch(() => {});
  await endLast(AWAY);
  for (const id of ["4", "5"]) outbox.write(event(id));
  expect(outbox.pending).toBe(3);
  tell("up");
  clock.advance(1000);
  expect(appends.at(-1)?.ids).toEqual(["3 again", "4", "5"]);
  expect(counters.value("worker.webhooks.lost", "store away")).toBe(0);
  expect(lines.filter((line) => line.includes("events are lost"))).toEqual([]);
});

// --- texts ---

test("an event that is too large for the store loses the ends of its longest texts", () => {
  const large = event("1", {
    actor: { type: "user", id: "u1", name: "n".repeat(60_000), email: "a@example.com" },
    details: { cause: "c".repeat(60_000), count: 3 },
  });
  const text = writeEvent(large);
  expect(text.length).toBeLessThan(MAX_STREAM_TEXT_CHARS);
  const read = readEvent(text)?.event;
  expect(read?.actor).toEqual({
    ...{ type: "user", id: "u1", email: "a@example.com" },
    name: `${"n".repeat(512)}…`,
  });
  expect(read?.details?.["count"]).toBe(3);
});

test("an event with a thousand details keeps all but them", () => {
  const details = Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`key ${i}`, i]));
  expect(readEvent(writeEvent(event("1", { details })))?.event).toMatchObject({
    ...{ id: "1", kind: "peer.joined", details: { cut: true } },
  });
});

test("an id that cannot be in a header becomes one that can, always the same", () => {
  const ids = ["ä/b c", "ä/b c", "x".repeat(500)].map(
    (id) => readEvent(writeEvent(event(id)))?.event.id ?? "",
  );
  expect(ids[0]).toMatch(/^[0-9a-f]{64}$/);
  expect(ids[1]).toBe(ids[0]);
  expect(ids[2]).not.toBe(ids[0]);
});

test("without personal data, nobody can be identified", () => {
  const person = event("1", {
    actor: { type: "operator", id: "o", name: "Ada", way: "ada's token", address: "1.2.3.4" },
    target: { type: "user", id: "u", email: "b@example.com", way: "Company", client: "x" },
    details: { cause: "c" },
  });
  const read = readEvent(writeEvent(person));
  const text = read === undefined ? "" : bodyOf(read.event, { hasPersonalData: false });
  expect(JSON.parse(text)).toEqual({
    ...{ id: "1", kind: "peer.joined", at: "1970-01-01T00:00:00.000Z", worker: "worker-1" },
    ...{ session: "s", actor: { type: "operator" }, target: { type: "user", way: "Company" } },
    details: { cause: "c" },
  });
});

test("what is not an event is not read from the outbox", () => {
  for (const text of ["", "{", "[]", "{}", '{"id":1}']) expect(readEvent(text)).toBeUndefined();
});

import { expect, test } from "vitest";
import type { ActivityEvent } from "../../../shared/activity/event.ts";
import type { WorkerId } from "../../../shared/base/ids.ts";
import { createCounters } from "../../../shared/metrics/metrics.ts";
import { StoreAwayError, type StoreHealth } from "../../../shared/store/store.ts";
import { MAX_STREAM_TEXT_CHARS } from "../../../shared/store/streams.ts";
import { bodyOf, readEvent, writeEvent } from "../../../worker/webhooks/event-text.ts";
import { createOutbox } from "../../../worker/webhooks/outbox.ts";
import { createTestLog } from "../../support/embedded-store.ts";
import { createStepClock } from "../../support/step-clock.ts";

function event(id: string, more: Partial<ActivityEvent> = {}): ActivityEvent {
  return { id, kind: "peer.joined", atMs: 0, worker: "worker-1", session: "s", ...more };
}

/** An outbox at a store whose appends end when the test says so. */
function rig(options: { readonly maxPending?: number } = {}) {
  const clock = createStepClock();
  const { log, lines } = createTestLog();
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

test("what is written while an append is under way goes with the next one, in order", async () => {
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

test("what nobody waits for is in the store within a tenth of a second", async () => {
  const { outbox, appends, clock } = rig();
  outbox.write(event("1"));
  expect(appends).toEqual([]);
  clock.advance(100);
  expect(appends.map(({ ids }) => ids)).toEqual([["1"]]);
});

test("while the store is away, waiting for it rejects, and everything is appended once it is back", async () => {
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

test("what is not an event is not read", () => {
  for (const text of ["", "{", "[]", "{}", '{"id":1}']) expect(readEvent(text)).toBeUndefined();
});

/** Delivery of one worker, from a real store to receivers that the test controls. */
import { afterEach, beforeEach, expect, onTestFinished, test } from "vitest";
import { systemClock } from "../../../shared/base/clock.ts";
import type { WorkerId } from "../../../shared/base/ids.ts";
import { createCounters } from "../../../shared/metrics/metrics.ts";
import { STREAMS } from "../../../shared/store/streams.ts";
import { startDelivery, type WebhookDelivery } from "../../../worker/webhooks/delivery.ts";
import { writeEvent } from "../../../worker/webhooks/event-text.ts";
import type { Receiver } from "../../../worker/webhooks/receivers.ts";
import type { Attempt } from "../../../worker/webhooks/sender.ts";
import { collectingLog } from "../../support/logs.ts";
import { openStore, startRedis, type TestRedis } from "../../support/redis.ts";
import { until } from "../../support/until.ts";

let redis: TestRedis;
let store: ReturnType<typeof openStore>["store"];

beforeEach(async () => {
  redis = await startRedis();
  ({ store } = openStore(redis.url));
});

afterEach(async () => {
  await store.close();
});

const ACCEPTED: Attempt = { outcome: "accepted", status: 200 };
const UNAVAILABLE: Attempt = { outcome: "failed", cause: "status 5xx", reason: "status 503" };

function receiverNamed(name: string, more: Partial<Receiver> = {}): Receiver {
  const url = new URL("https://receiver.example/");
  const common = { secrets: [], events: undefined, hasPersonalData: true, authority: undefined };
  return { name, url, ...common, ...more };
}

interface Rig {
  readonly delivery: WebhookDelivery;
  readonly lines: string[];
  readonly counters: ReturnType<typeof createCounters>;
  isLeading: boolean;
  receivers: readonly Receiver[];
  /** By the receiver's name. */
  readonly got: Record<string, { id: string; kind: string; details?: { count?: number } }[]>;
  answer: (receiver: string, event: { readonly id: string }) => Attempt;
}

function start(...receivers: readonly Receiver[]): Rig {
  const { log, lines } = collectingLog();
  const counters = createCounters();
  const got: Rig["got"] = {};
  const rig = {
    ...{ lines, counters, receivers, got },
    isLeading: true,
    answer: (): Attempt => ACCEPTED,
  } as Omit<Rig, "delivery">;
  const delivery = startDelivery({
    ...{ store, clock: systemClock, log, counters, random: Math.random },
    worker: "worker-1" as WorkerId,
    leadership: {
      get isLeading() {
        return rig.isLeading;
      },
    },
    receivers: () => rig.receivers,
    createSender: ({ name }) => ({
      async send({ body }) {
        const event = JSON.parse(body);
        const attempt = rig.answer(name, event);
        if (attempt.outcome === "accepted") {
          got[name] ??= [];
          got[name].push(event);
        }
        return attempt;
      },
      abort() {},
      async close() {},
    }),
  });
  onTestFinished(() => delivery.close());
  return Object.assign(rig, { delivery });
}

async function append(...ids: readonly string[]): Promise<void> {
  const texts = ids.map((id) =>
    writeEvent({ id, kind: "peer.joined", atMs: Date.now(), worker: "w", session: id.slice(0, 1) }),
  );
  for (let from = 0; from < texts.length; from += 1000) {
    await store.appendToStream("webhooks", texts.slice(from, from + 1000));
  }
}

const idsOf = (events: readonly { readonly id: string }[] | undefined): string[] =>
  (events ?? []).map(({ id }) => id);

test("every receiver gets the kinds it wants, in the order of the store, and the next leader goes on behind them", async () => {
  await append("a1", "a2", "b1");
  const one = start(receiverNamed("all"), receiverNamed("none", { events: ["policy.*"] }));
  await until("all have come", () => one.got["all"]?.length === 3);
  expect(idsOf(one.got["all"]).filter((id) => id.startsWith("a"))).toEqual(["a1", "a2"]);
  await one.delivery.close();
  await append("a3");
  const two = start(receiverNamed("all"));
  await until("the next has come", () => two.got["all"]?.length === 1);
  expect(idsOf(two.got["all"])).toEqual(["a3"]);
  expect(one.got["none"]).toBeUndefined();
});

test("an event that is in the store twice is sent once", async () => {
  await append("a1", "a1", "a2", "a1");
  const rig = start(receiverNamed("all"));
  await until("the last has come", () => rig.got["all"]?.length === 2);
  await append("a2", "a3");
  await until("the next has come", () => rig.got["all"]?.length === 3);
  expect(idsOf(rig.got["all"])).toEqual(["a1", "a2", "a3"]);
});

test("a receiver that is down delays no other, and is logged once, with its return", async () => {
  const rig = start(receiverNamed("good"), receiverNamed("bad"));
  let isDown = true;
  rig.answer = (name) => (name === "bad" && isDown ? UNAVAILABLE : ACCEPTED);
  const ids = Array.from({ length: 30 }, (_, index) => `${String.fromCharCode(65 + index)}1`);
  await append(...ids);
  await until("the good one has all", () => rig.got["good"]?.length === 30);
  await until("the bad one is reported", () =>
    rig.delivery.states?.some(({ state, backlog }) => state === "down" && backlog === 30),
  );
  isDown = false;
  await until("the bad one has all", () => rig.got["bad"]?.length === 30);
  const about = rig.lines.filter((line) => line.includes("receiver=bad"));
  expect(about.map((line) => /webhooks: [^{=]*?(?= receiver=)/.exec(line)?.[0])).toEqual([
    "webhooks: the receiver does not accept events; it is tried again until it does",
    "webhooks: the receiver accepts events again",
  ]);
  expect(rig.counters.value("worker.webhooks.failed", "status 5xx")).toBeGreaterThanOrEqual(5);
  expect(rig.counters.value("worker.webhooks.delivered", "bad")).toBe(30);
});

test("a receiver that answers 410 gets nothing more, until its file is read again", async () => {
  const rig = start(receiverNamed("one"));
  const gone: Attempt = { outcome: "failed", cause: "gone", reason: "status 410" };
  let requests = 0;
  rig.answer = () => {
    requests++;
    return gone;
  };
  await append("a1");
  await until("it is gone", () => rig.delivery.states?.[0]?.state === "gone");
  await append("a2", "b1");
  await until("they wait", () => rig.delivery.states?.[0]?.backlog === 3);
  expect(requests).toBe(1);
  rig.answer = () => ACCEPTED;
  rig.delivery.reload();
  await until("all have come", () => rig.got["one"]?.length === 3);
});

test("a worker that does not lead sends nothing, and stops when it leads no more", async () => {
  const rig = start(receiverNamed("one"));
  rig.isLeading = false;
  await append("a1");
  rig.answer = () => UNAVAILABLE;
  rig.isLeading = true;
  await until("it has tried", () => rig.delivery.states?.[0]?.lastFailure !== undefined);
  rig.isLeading = false;
  expect(rig.delivery.states).toBeUndefined();
  rig.answer = () => ACCEPTED;
  const other = start(receiverNamed("one"));
  await until("the other has delivered", () => other.got["one"]?.length === 1);
  expect(rig.got["one"]).toBeUndefined();
});

test("a receiver for which the store keeps no more events is told how many it has lost", async () => {
  const { keep } = STREAMS.webhooks;
  const rig = start(receiverNamed("one"));
  let isDown = true;
  rig.answer = () => (isDown ? UNAVAILABLE : ACCEPTED);
  await append(...Array.from({ length: keep }, (_, index) => `a${index}`));
  await until("they wait", () => rig.delivery.states?.[0]?.backlog === keep);
  await append("b1", "b2", "b3");
  await until("some are dropped", () => rig.lines.some((line) => line.includes("events are lost")));
  expect(rig.counters.value("worker.webhooks.lost", "receiver away")).toBe(3);
  isDown = false;
  const gap = await until("it is told", () =>
    rig.got["one"]?.find(({ kind }) => kind === "events.lost"),
  );
  expect(gap.details).toMatchObject({ count: 3 });
  await until("the rest comes", () => rig.got["one"]?.some(({ id }) => id === "b3"));
  expect(idsOf(rig.got["one"])).not.toContain("a2");
});

test("a leader that finds more events than the store keeps tells that some are lost", async () => {
  const first = start(receiverNamed("one"));
  await append("a1");
  await until("it has come", () => first.got["one"]?.length === 1);
  await first.delivery.close();
  await append(...Array.from({ length: STREAMS.webhooks.keep }, (_, index) => `b${index}`));
  const second = start(receiverNamed("one"));
  await until("it is told", () => second.got["one"]?.some(({ kind }) => kind === "events.lost"));
});

test("an entry that is not an event is skipped and counted", async () => {
  await append("a1");
  await store.appendToStream("webhooks", ["{}", "garbage"]);
  await append("a2");
  const rig = start(receiverNamed("one"));
  await until("the events have come", () => rig.got["one"]?.length === 2);
  expect(rig.counters.value("worker.webhooks.lost", "unreadable")).toBe(2);
});

/** A stream that is full of what came after the receiver's position, which ends in a session that is held. */
async function fillAfterPosition(behind: number): Promise<Rig> {
  const first = start(receiverNamed("one"));
  first.answer = (_, { id }) => (id === "h1" ? UNAVAILABLE : ACCEPTED);
  await append("a1", "h1");
  await until("the position is known", () => first.got["one"]?.length === 1);
  await until("the other is tried", () => first.delivery.states?.[0]?.lastFailure !== undefined);
  await first.delivery.close();
  // The stream has one entry more than it keeps, or as many more as the test says.
  const count = STREAMS.webhooks.keep - 2 + behind;
  await append(...Array.from({ length: count }, (_, index) => `b${index}`));
  const second = start(receiverNamed("one"));
  await until("it comes", () => (second.got["one"]?.length ?? 0) > 10);
  return second;
}

test("a leader tells no loss if the store has dropped only what the receiver has", async () => {
  const rig = await fillAfterPosition(1);
  expect(rig.counters.value("worker.webhooks.lost", "receiver away")).toBe(0);
  await until("what was held comes", () => idsOf(rig.got["one"]).includes("h1"));
  expect(rig.got["one"]?.map(({ kind }) => kind)).not.toContain("events.lost");
});

test("a leader tells a loss if the store has dropped an event that the receiver does not have", async () => {
  const rig = await fillAfterPosition(2);
  await until("it is told", () => rig.got["one"]?.some(({ kind }) => kind === "events.lost"));
  expect(idsOf(rig.got["one"])).not.toContain("h1");
});

test("a leader tells a loss to a receiver that has never accepted anything, too", async () => {
  const first = start(receiverNamed("one"));
  first.answer = () => UNAVAILABLE;
  await append("a1");
  await until("it is tried", () => first.delivery.states?.[0]?.lastFailure !== undefined);
  await first.delivery.close();
  await append(...Array.from({ length: STREAMS.webhooks.keep }, (_, index) => `b${index}`));
  const second = start(receiverNamed("one"));
  await until("it is told", () => second.got["one"]?.some(({ kind }) => kind === "events.lost"));
});

import { describe, expect, test } from "vitest";
import {
  type Delivery,
  type Entry,
  hasBy,
  Lanes,
  mayHaveLost,
  type Position,
} from "../../../worker/webhooks/lanes.ts";

/** Of session `s`, at place `id` of the stream. */
function entry(id: number, s: string, more: Partial<Entry> & { atMs?: number } = {}): Entry {
  const { atMs = id, ...rest } = more;
  const event = { id: `${s}${id}`, kind: "peer.joined", atMs, worker: "w", session: s };
  return { id: `${id}-0`, event, isAgain: false, isSkipped: false, ...rest };
}

function newLanes(options: { atOnce?: number; keep?: number } = {}): Lanes {
  return new Lanes({ atOnce: 100, keep: 1000, random: () => 0.5, ...options });
}

const idsOf = (deliveries: readonly Delivery[]): string[] =>
  deliveries.map(({ event }) => event.id);

test("an event of a session waits until the one before is accepted; other sessions do not", () => {
  const lanes = newLanes();
  lanes.add([entry(1, "a"), entry(2, "a"), entry(3, "b")]);
  const [first, other] = lanes.next(0);
  expect([first?.event.id, other?.event.id]).toEqual(["a1", "b3"]);
  expect(lanes.next(0)).toEqual([]);
  if (first !== undefined) lanes.delivered(first);
  expect(idsOf(lanes.next(0))).toEqual(["a2"]);
});

test("only so many events are under way at a time", () => {
  const lanes = newLanes({ atOnce: 2 });
  lanes.add([entry(1, "a"), entry(2, "b"), entry(3, "c")]);
  const [first] = lanes.next(0);
  expect(lanes.next(0)).toEqual([]);
  if (first !== undefined) lanes.delivered(first);
  expect(idsOf(lanes.next(0))).toEqual(["c3"]);
});

test("an event that fails is tried again after a tenth of a second, then after twice as long, up to a minute", () => {
  const lanes = newLanes();
  lanes.add([entry(1, "a")]);
  let nowMs = 0;
  let [delivery] = lanes.next(nowMs);
  const waited: number[] = [];
  for (let times = 0; times < 12; times++) {
    if (delivery === undefined) throw new Error("not tried");
    lanes.failed(delivery, { as: "failed", nowMs });
    // Others succeed, so the receiver is not down.
    lanes.add([entry(100 + times, `b${times}`)]);
    for (const other of lanes.next(nowMs)) lanes.delivered(other);
    const beganMs = nowMs;
    for (;;) {
      nowMs += 100;
      const [again] = lanes.next(nowMs);
      if (again === undefined) continue;
      waited.push(nowMs - beganMs);
      delivery = again;
      break;
    }
  }
  expect(waited).toEqual([
    ...[100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 60_000, 60_000],
  ]);
});

describe("a receiver that is down", () => {
  test("a receiver that is down gets one event at a time, ever more seldom, and all again once it accepts one", () => {
    const lanes = newLanes();
    const sessions = Array.from({ length: 20 }, (_, index) => entry(index + 1, `s${index + 1}-`));
    lanes.add(sessions);
    for (const delivery of lanes.next(0)) lanes.failed(delivery, { as: "failed", nowMs: 0 });
    expect(lanes.isDown).toBe(true);
    expect(lanes.next(500)).toEqual([]);
    const [probe, ...others] = lanes.next(600_000);
    expect(others).toEqual([]);
    if (probe === undefined) throw new Error("not tried");
    lanes.delivered(probe);
    expect(lanes.isDown).toBe(false);
    expect(lanes.next(600_000)).toHaveLength(19);
  });

  test("a receiver that is down is left alone for as long as it asks to be", () => {
    const lanes = newLanes();
    lanes.add([entry(1, "a"), entry(2, "b")]);
    const [first, second] = lanes.next(0);
    if (first === undefined || second === undefined) throw new Error("not tried");
    lanes.failed(first, { as: "failed", nowMs: 0, retryAfterMs: 90_000 });
    expect(lanes.next(89_000)).toEqual([]);
    lanes.add([entry(3, "c")]);
    expect(lanes.next(89_000)).toEqual([]);
    expect(idsOf(lanes.next(90_000))).toEqual(["a1", "c3"]);
  });
});

describe("a position", () => {
  /** Delivers all but those of some sessions. */
  function deliverAllBut(lanes: Lanes, but: readonly string[]): void {
    for (;;) {
      const chosen = lanes.next(0);
      if (chosen.length === 0) return;
      for (const delivery of chosen) {
        if (but.includes(delivery.event.session ?? "")) {
          lanes.failed(delivery, { as: "rejected", nowMs: 0 });
        } else lanes.delivered(delivery);
      }
    }
  }

  test("a position says which events another worker sends again: those that are held, and what came later", () => {
    const entries = [
      ...[entry(1, "a"), entry(2, "b"), entry(3, "a"), entry(4, "c")],
      ...[entry(5, "b"), entry(6, "a")],
    ];
    const lanes = newLanes();
    lanes.add(entries);
    deliverAllBut(lanes, ["b"]);
    const position = lanes.position();
    expect(position).toEqual({ low: "1-0", high: "6-0", held: { b: "2-0" } });
    const later = [...entries, entry(7, "a")];
    const has = hasBy(position, later);
    expect(later.filter((_, index) => !has[index]).map(({ event }) => event.id)).toEqual([
      ...["b2", "b5", "a7"],
    ]);
  });

  test("a position whose entries the store has lost says nothing, so all are sent again", () => {
    const entries = [entry(1, "a"), entry(2, "b")];
    const lost: Position = { low: "7-0", high: "9-0", held: {} };
    expect(hasBy(lost, entries)).toEqual([false, false]);
    expect(hasBy({ low: "1-0", high: "9-0", held: {} }, entries)).toEqual([true, false]);
    expect(hasBy({ held: {} }, entries)).toEqual([false, false]);
  });

  test.each<[string, Position, boolean]>([
    ["whose last entry is still there", { low: "3-0", high: "3-0", held: {} }, false],
    ["whose last entry is gone", { low: "2-0", high: "2-0", held: {} }, true],
    [
      "whose last entry is gone, and not what is held",
      { low: "2-0", high: "4-0", held: { a: "3-0" } },
      false,
    ],
    [
      "of which something that is held is gone",
      { low: "1-0", high: "4-0", held: { a: "2-0", b: "3-0" } },
      true,
    ],
    ["of a receiver with nothing, all of which is there", { held: { a: "3-0" } }, false],
    ["of a receiver with nothing, of which something is gone", { held: { a: "2-0" } }, true],
  ])(
    "the position %s (%j) in a full stream that begins at 3 may have lost events: %s",
    (_, position, isLost) => {
      expect(mayHaveLost(position, [entry(3, "a"), entry(4, "b"), entry(5, "c")])).toBe(isLost);
    },
  );

  test("a position holds few sessions: with more, what is behind them is sent again", () => {
    const entries = Array.from({ length: 100 }, (_, index) => entry(index + 1, `s${index}-`));
    const lanes = newLanes();
    lanes.add(entries);
    deliverAllBut(
      lanes,
      entries.slice(0, 60).map(({ event }) => event.session ?? ""),
    );
    const position = lanes.position();
    expect(Object.keys(position.held)).toHaveLength(40);
    expect(position.high).toBe("40-0");
  });
});

test("events that the stream keeps no more are dropped and counted, and their sessions go on", () => {
  const lanes = newLanes({ keep: 3 });
  expect(lanes.add([entry(1, "a"), entry(2, "a"), entry(3, "b")])).toBe(0);
  const [underWay] = lanes.next(0);
  expect(lanes.add([entry(4, "a"), entry(5, "c")])).toBe(2);
  expect(lanes.backlog).toBe(3);
  // The one that was dropped is still under way: the next of its session waits.
  expect(idsOf(lanes.next(0))).toEqual(["c5"]);
  if (underWay !== undefined) lanes.delivered(underWay);
  expect(idsOf(lanes.next(0))).toEqual(["a4"]);
});

test("events that were appended again are put between those of other workers by their times", () => {
  const lanes = newLanes({ atOnce: 1 });
  lanes.add([
    entry(1, "a", { atMs: 30, isAgain: true }),
    entry(2, "b", { atMs: 99 }),
    entry(3, "a", { atMs: 10, isAgain: true }),
    entry(4, "a", { atMs: 20, isAgain: true }),
    entry(5, "b", { atMs: 1 }),
  ]);
  const sent: string[] = [];
  for (let [one] = lanes.next(0); one !== undefined; [one] = lanes.next(0)) {
    sent.push(one.event.id);
    lanes.delivered(one);
  }
  const of = (session: string): string[] => sent.filter((id) => id.startsWith(session));
  expect(of("a")).toEqual(["a3", "a4", "a1"]);
  expect(of("b")).toEqual(["b2", "b5"]);
});

test("twenty thousand waiting sessions cost little", () => {
  const lanes = newLanes({ atOnce: 16, keep: 20_000 });
  lanes.add(Array.from({ length: 20_000 }, (_, index) => entry(index + 1, `s${index}`)));
  const startMs = performance.now();
  let delivered = 0;
  for (let chosen = lanes.next(0); chosen.length > 0; chosen = lanes.next(0)) {
    for (const one of chosen) lanes.delivered(one);
    delivered += chosen.length;
  }
  expect(delivered).toBe(20_000);
  expect(performance.now() - startMs).toBeLessThan(2000);
});

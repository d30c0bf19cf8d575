import { describe, expect, test } from "vitest";
import type { SessionId, WorkerId } from "../../shared/ids.ts";
import type { WorkerRecord } from "../../shared/membership/member.ts";
import { createRing } from "../../shared/ring.ts";
import { chooseHeir, paceMs } from "../../worker/drain.ts";
import { createLuggage, packBaggage, unpackBaggage } from "../../worker/sessions/baggage.ts";
import type { Parcel } from "../../worker/sessions/outgoing.ts";
import { createStepClock } from "../support/step-clock.ts";

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

function parcel(text: string, own = false): Parcel {
  const head = Buffer.from(text);
  return { head, content: undefined, byteLength: head.length, own };
}

describe("who takes a session", () => {
  const [first, second, third] = ring.candidates(SESSION);
  const all = { w1: "up", w2: "up", w3: "up", w4: "up" } as const;

  test("its first candidate on the ring that is another worker", () => {
    expect(chooseHeir(SESSION, first as WorkerId, viewOf(all))?.id).toBe(second);
    expect(chooseHeir(SESSION, third as WorkerId, viewOf(all))?.id).toBe(first);
  });

  test("never one that takes nothing new, or that is gone", () => {
    const { [first as "w1"]: _, ...rest } = all;
    const view = viewOf({ ...rest, [second as string]: "draining" });
    expect(chooseHeir(SESSION, "w9" as WorkerId, view)?.id).toBe(third);
    expect(chooseHeir(SESSION, "w1" as WorkerId, viewOf({ w1: "up" }))).toBeUndefined();
    expect(chooseHeir(SESSION, "w1" as WorkerId, viewOf({ w2: "suspended" }))).toBeUndefined();
  });
});

describe("how fast sessions leave", () => {
  test("25 a second, so that a thousand are through in 40 s", () => {
    expect(paceMs(1000, 60_000) * 1000).toBeLessThanOrEqual(40_000);
    expect(paceMs(10, 60_000)).toBe(40);
  });

  test("faster when there is less time", () => {
    expect(paceMs(1000, 10_000)).toBe(6);
    expect(paceMs(5, 0)).toBe(0);
  });
});

describe("what goes with a session", () => {
  const baggage = {
    epoch: 7,
    waiting: [
      { id: "peer-1" as never, parcels: [parcel("one"), parcel("two", true)] },
      { id: "peer-2" as never, parcels: [{ ...parcel("he"), content: Buffer.from("ad") }] },
    ],
  };

  test("arrives as it was, in order", () => {
    const arrived = unpackBaggage(packBaggage(baggage));
    expect(arrived?.epoch).toBe(7);
    const texts = arrived?.waiting.map(({ id, parcels }) => [
      id,
      parcels.map(({ head, own }) => [head.toString(), own]),
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

  test("is refused when it is none", () => {
    expect(unpackBaggage(Buffer.from("nonsense"))).toBeUndefined();
    expect(unpackBaggage(Buffer.alloc(0))).toBeUndefined();
  });

  test("waits for its session for a while, and belongs to the epoch that follows", () => {
    const clock = createStepClock();
    const luggage = createLuggage({ clock });
    luggage.put(SESSION, baggage);
    expect(luggage.take(SESSION, 8)).toEqual(baggage);
    expect(luggage.take(SESSION, 8)).toBeUndefined();
    luggage.put(SESSION, baggage);
    expect(luggage.take(SESSION, 7)).toBeUndefined();
    luggage.put(SESSION, baggage);
    clock.advance(16_000);
    expect(luggage.take(SESSION, 8)).toBeUndefined();
  });
});

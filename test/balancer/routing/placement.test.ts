import fc from "fast-check";
import { expect, test } from "vitest";
import {
  chancesOf,
  type Loaded,
  onTime,
  pickLeastLoaded,
  withinLoadCap,
} from "../../../balancer/routing/placement.ts";

function loaded(
  sessions: number,
  more: Partial<{ weight: number; connections: number; lagMs: number; inFlight: number }> = {},
): Loaded {
  const { weight = 1, connections = 0, lagMs = 0, inFlight = 0 } = more;
  return { sessions, inFlight, record: { weight, load: { connections, lagMs } } };
}

test("no worker is picked from none, and a single worker is picked", () => {
  expect(pickLeastLoaded([], Math.random)).toBeUndefined();
  const only = loaded(9);
  expect(pickLeastLoaded([only], () => 0.999)).toBe(only);
});

test("of two workers, the one with fewer sessions, connections, lag or requests under way is picked", () => {
  const idle = loaded(0);
  for (const busy of [
    loaded(1),
    loaded(0, { connections: 3 }),
    loaded(0, { lagMs: 40 }),
    loaded(0, { inFlight: 1 }),
  ]) {
    for (const random of [() => 0, () => 0.999]) {
      expect(pickLeastLoaded([busy, idle], random)).toBe(idle);
      expect(pickLeastLoaded([idle, busy], random)).toBe(idle);
    }
  }
});

test("a worker of twice the weight gets up to twice the sessions", () => {
  const strong = loaded(15, { weight: 2 });
  expect(pickLeastLoaded([strong, loaded(10)], () => 0)).toBe(strong);
});

test("workers whose event loops are late get no new sessions, unless all are late", () => {
  const [prompt, late, later] = [
    loaded(9, { lagMs: 49 }),
    loaded(0, { lagMs: 50 }),
    loaded(0, { lagMs: 500 }),
  ];
  expect(onTime([late, prompt, later])).toEqual([prompt]);
  expect(onTime([late, later])).toEqual([late, later]);
  expect(onTime([])).toEqual([]);
});

test("the two compared workers are different ones", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 2, max: 9 }),
      fc.double({ min: 0, max: 0.999, noNaN: true }),
      fc.double({ min: 0, max: 0.999, noNaN: true }),
      (count, a, b) => {
        const workers = Array.from({ length: count }, (_, index) => loaded(index));
        const randoms = [a, b];
        const picked = pickLeastLoaded(workers, () => randoms.shift() ?? 0);
        // The most loaded worker loses every comparison.
        expect(picked).not.toBe(workers[count - 1]);
      },
    ),
  );
});

test("the cap leaves at least one worker, and none that is a quarter above the mean", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(1000), { minLength: 1, maxLength: 10 }), (sessions) => {
      const workers = sessions.map((count) => loaded(count));
      const within = withinLoadCap(workers);
      expect(within.length).toBeGreaterThan(0);
      const mean = (sessions.reduce((sum, count) => sum + count, 0) + 1) / sessions.length;
      for (const worker of within)
        expect(worker.sessions + 1).toBeLessThanOrEqual(Math.ceil(1.25 * mean));
    }),
  );
});

test("the chance of each worker is the frequency with which it is picked", () => {
  const workers = [loaded(1), loaded(2), loaded(2), loaded(7)];
  const [least, one, other, most] = workers;
  // Of 12 ordered pairs the least loaded is in 6, and wins them all; the equal ones win against the last, and each half of
  // their meetings.
  expect([...chancesOf(workers).values()]).toEqual([1 / 2, 1 / 4, 1 / 4, 0]);
  const counts = new Map<Loaded | undefined, number>();
  const steps = 120;
  for (let a = 0; a < steps; a++) {
    for (let b = 0; b < steps; b++) {
      const randoms = [(a + 0.5) / steps, (b + 0.5) / steps];
      const picked = pickLeastLoaded(workers, () => randoms.shift() ?? 0);
      counts.set(picked, (counts.get(picked) ?? 0) + 1);
    }
  }
  const share = (worker: Loaded | undefined): number => (counts.get(worker) ?? 0) / steps ** 2;
  expect([least, one, other, most].map(share)).toEqual([1 / 2, 1 / 4, 1 / 4, 0]);
  expect([...chancesOf([loaded(3)]).values()]).toEqual([1]);
  expect(chancesOf([]).size).toBe(0);
});

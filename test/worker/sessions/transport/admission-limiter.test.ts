import { expect, test } from "vitest";
import { createAdmissionLimiter } from "../../../../worker/sessions/transport/admission-limiter.ts";
import { createStepClock } from "../../../support/step-clock.ts";
import { until } from "../../../support/until.ts";
import { GUEST_USER, startWithHost } from "../fixture.ts";

test("as many clients as the rate allows in a second are admitted at once, the others at the rate and in order", () => {
  const clock = createStepClock();
  const admissionLimiter = createAdmissionLimiter({ clock, perSecond: 10 });
  const waits = Array.from({ length: 30 }, () => admissionLimiter.join());
  expect(waits.slice(0, 10)).toEqual(new Array(10).fill(0));
  expect(waits.slice(10, 13).map(Math.round)).toEqual([100, 200, 300]);
  expect(Math.round(waits[29] ?? 0)).toBe(2000);
});

test("no second admits more than twice the rate, however the clients arrive", () => {
  const clock = createStepClock();
  const admissionLimiter = createAdmissionLimiter({ clock, perSecond: 50 });
  const passed: number[] = [];
  for (let i = 0; i < 500; i++) {
    passed.push(clock.nowMs() + admissionLimiter.join());
    clock.advance(i % 7);
  }
  for (const first of passed) {
    const within = passed.filter((at) => at >= first && at < first + 1000);
    expect(within.length).toBeLessThanOrEqual(100);
  }
});

test("no client waits longer than 10 s, so that none counts as gone", () => {
  const clock = createStepClock();
  const admissionLimiter = createAdmissionLimiter({ clock, perSecond: 10 });
  const waits = Array.from({ length: 1000 }, () => admissionLimiter.join());
  expect(Math.max(...waits)).toBe(10_000);
  clock.advance(10_000);
  expect(Math.round(admissionLimiter.join())).toBe(100);
  clock.advance(60_000);
  expect(admissionLimiter.join()).toBe(0);
});

test("clients that connect at the same time are admitted one after the other, and none is lost", async () => {
  const { worker, host, sessionId } = await startWithHost({
    settings: { maxAdmissionsPerSecond: 4 },
  });
  const tokens: string[] = [];
  for (let i = 0; i < 8; i++) tokens.push(await worker.invite(sessionId, host, GUEST_USER));
  const beganMs = performance.now();
  const guests = tokens.map((token) => worker.peer(token));
  await Promise.all(guests.map((guest) => guest.ready()));
  // The host was one of the first four, some time ago; of the eight guests at least four wait, a quarter of a second each.
  expect(performance.now() - beganMs).toBeGreaterThanOrEqual(900);
  expect(worker.counters.value("worker.admissions_delayed")).toBeGreaterThanOrEqual(4);
  expect(guests.flatMap((guest) => guest.disconnects)).toEqual([]);
  await until("the host got all announcements", () => host.plain("room/joined").length === 8);
});

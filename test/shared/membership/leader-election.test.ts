import { expect, it } from "vitest";
import type { WorkerId } from "../../../shared/base/ids.ts";
import { createLeaderElection, LEADERSHIP_MS } from "../../../shared/membership/leader-election.ts";
import { StoreAwayError } from "../../../shared/store/store.ts";
import { silentLog } from "../../support/logs.ts";
import { createStepClock } from "../../support/step-clock.ts";

const log = silentLog();
const holder = "worker-1" as WorkerId;

function electing(answer: () => Promise<"leading" | "following">) {
  const resigned: WorkerId[] = [];
  const store = {
    deferred: { lead: answer },
    async lead(_role: unknown, id: WorkerId, ttlMs: number) {
      if (ttlMs === 0) resigned.push(id);
      return "following" as const;
    },
  };
  return { store, resigned };
}

it("a member leads once elected, keeps the role while it renews it, and releases it on close", async () => {
  const clock = createStepClock();
  const { store, resigned } = electing(async () => "leading");
  const leadership = createLeaderElection("reaper", { store, clock, log, holder });
  expect(leadership.isLeading).toBe(false);
  await expect.poll(() => leadership.isLeading).toBe(true);
  for (let i = 0; i < 20; i++) {
    clock.advance(1000);
    await Promise.resolve();
    await expect.poll(() => leadership.isLeading).toBe(true);
  }
  await leadership.close();
  expect(leadership.isLeading).toBe(false);
  expect(resigned).toEqual([holder]);
});

it("a leader stops leading a second before the role expires when the store does not respond", async () => {
  const clock = createStepClock();
  let away = false;
  const { store } = electing(async () => {
    if (away) throw new StoreAwayError("lead");
    return "leading";
  });
  const leadership = createLeaderElection("statsd", { store, clock, log, holder });
  await expect.poll(() => leadership.isLeading).toBe(true);
  away = true;
  clock.advance(LEADERSHIP_MS - 1001);
  expect(leadership.isLeading).toBe(true);
  clock.advance(1);
  expect(leadership.isLeading).toBe(false);
  await leadership.close();
});

it("a member tries to lead rarely while another member leads", async () => {
  const clock = createStepClock();
  let asked = 0;
  const { store } = electing(async () => {
    asked++;
    return "following";
  });
  const leadership = createLeaderElection("reaper", { store, clock, log, holder });
  for (let second = 0; second < 45; second++) {
    clock.advance(1000);
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(asked).toBe(11);
  await leadership.close();
});

it("a leader follows as soon as another member leads", async () => {
  const clock = createStepClock();
  let leads = true;
  const { store } = electing(async () => (leads ? "leading" : "following"));
  const leadership = createLeaderElection("reaper", { store, clock, log, holder });
  await expect.poll(() => leadership.isLeading).toBe(true);
  leads = false;
  clock.advance(1500);
  await expect.poll(() => leadership.isLeading).toBe(false);
  await leadership.close();
});

import { expect, test } from "vitest";
import { createRetryQueue } from "../../../balancer/proxy/retry-queue.ts";
import { systemClock } from "../../../shared/base/clock.ts";

const wait = (retryQueue: ReturnType<typeof createRetryQueue>) =>
  new Promise<void>((resolve) => retryQueue.hold(resolve));

test("a full retry queue accepts no request until one is retried or cancelled", async () => {
  const retryQueue = createRetryQueue({ clock: systemClock, maxHeld: 2 });
  const first = wait(retryQueue);
  const second = retryQueue.hold(() => expect.unreachable("it was given up"));
  expect(retryQueue.hold(() => {})).toBeUndefined();

  second?.cancel();
  second?.cancel();
  const third = wait(retryQueue);
  expect(retryQueue.hold(() => {})).toBeUndefined();

  await Promise.all([first, third]);
  expect(retryQueue.hold(() => {})).toBeDefined();
  expect(retryQueue.hold(() => {})).toBeDefined();
});

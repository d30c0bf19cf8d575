import { expect, test } from "vitest";
import { createHolds } from "../../../balancer/proxy/retry-queue.ts";
import { systemClock } from "../../../shared/base/clock.ts";

const wait = (holds: ReturnType<typeof createHolds>) =>
  new Promise<void>((resolve) => holds.hold(resolve));

test("one more than may wait is refused, and there is room again when one goes on or is given up", async () => {
  const holds = createHolds({ clock: systemClock, maxHeld: 2 });
  const first = wait(holds);
  const second = holds.hold(() => expect.unreachable("it was given up"));
  expect(holds.hold(() => {})).toBeUndefined();

  second?.cancel();
  second?.cancel();
  const third = wait(holds);
  expect(holds.hold(() => {})).toBeUndefined();

  await Promise.all([first, third]);
  expect(holds.hold(() => {})).toBeDefined();
  expect(holds.hold(() => {})).toBeDefined();
});

import { expect, it } from "vitest";
import type { WorkerId } from "../../../shared/base/ids.ts";
import { ownersToReap, recordMissing } from "../../../shared/membership/missing-owners.ts";

const [A, B, C] = ["a", "b", "c"] as WorkerId[] as [WorkerId, WorkerId, WorkerId];
const NOBODY: ReadonlyMap<WorkerId, number> = new Map();

it("a worker takes over from owners that have been missing for 10 s, and from no other", () => {
  const alive = new Set([A]);
  const first = recordMissing(NOBODY, { owners: [A, B], alive, booted: true, nowMs: 1000 });
  const second = recordMissing(first, { owners: [A, B, C], alive, booted: true, nowMs: 6000 });
  expect(ownersToReap(second, 10_999)).toEqual([]);
  expect(ownersToReap(second, 11_000)).toEqual([B]);
  expect(ownersToReap(second, 16_000)).toEqual([B, C]);
});

it("an owner that returned for a moment is counted from the start", () => {
  const seen = { owners: [B], booted: true };
  const first = recordMissing(NOBODY, { ...seen, alive: new Set(), nowMs: 0 });
  const back = recordMissing(first, { ...seen, alive: new Set([B]), nowMs: 5000 });
  const again = recordMissing(back, { ...seen, alive: new Set(), nowMs: 9000 });
  expect(ownersToReap(again, 10_000)).toEqual([]);
  expect(ownersToReap(again, 19_000)).toEqual([B]);
});

it("no owner counts as missing while the store settles", () => {
  const first = recordMissing(NOBODY, { owners: [B], alive: new Set(), booted: true, nowMs: 0 });
  const flushed = recordMissing(first, {
    owners: [B],
    alive: new Set(),
    booted: false,
    nowMs: 9000,
  });
  expect(ownersToReap(flushed, 20_000)).toEqual([]);
});

import { expect, test } from "vitest";
import { StoreAwayError } from "../../../shared/store/store.ts";
import { reportUnlessAway, unlessAway } from "../../../shared/store/unless-away.ts";

test("a failure is logged with its fields, unless the store is away", () => {
  const lines: unknown[] = [];
  const log = { error: (...line: unknown[]) => void lines.push(line) };
  const report = reportUnlessAway(log, "the work failed", { role: "reaper" });
  report(new StoreAwayError("timeMs"));
  expect(lines).toEqual([]);
  const err = new Error("a fault");
  report(err);
  expect(lines).toEqual([[{ role: "reaper", err }, "the work failed"]]);
});

test("work has its result, and none while the store is away", async () => {
  expect(await unlessAway(Promise.resolve(1))).toBe(1);
  expect(await unlessAway(Promise.reject(new StoreAwayError("timeMs")))).toBe(undefined);
  await expect(unlessAway(Promise.reject(new Error("a fault")))).rejects.toThrow("a fault");
});

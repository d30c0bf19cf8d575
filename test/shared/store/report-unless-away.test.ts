import { expect, test } from "vitest";
import { reportUnlessAway } from "../../../shared/store/report-unless-away.ts";
import { StoreAwayError } from "../../../shared/store/store.ts";

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

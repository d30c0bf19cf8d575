/** The levels by which the log view filters lines. */
import { expect, test } from "vitest";
import { levelOf } from "../../../worker/web/dashboard/log-level.ts";

test.each([
  ["2026-11-26T01:02:03.004Z worker-1 WARN lease lost", "WARN"],
  ["worker-1 | 2026-11-26T01:02:03.004Z worker-1 INFO listening", "INFO"],
  ['{"level":"error","time":"2026","process":"balancer","msg":"INFO"}', "ERROR"],
  ['balancer-x8sd2k1q | {"level":"debug","time":"2026"}', "DEBUG"],
  ["2026/11/25 19:23:28 [error] 12#0: *7 what happened", "ERROR"],
  ["balancer-x8sd2k1q | 2026/11/25 19:23:28 [info] 12#0: *7 what happened", "INFO"],
  ['192.0.2.1 - - [25/Nov/2026:19:23:28 +0000] "GET /ERROR HTTP/1.1" 200 4 "-" "-"', ""],
  ['192.0.2.1 - WARN [25/Nov/2026:19:23:28 +0000] "GET / HTTP/1.1" 401 4 "-" "-"', ""],
  ["    at somewhere (file.ts:1:1) ERROR of a stack", ""],
  ["… 12 lines are left out here", ""],
  ["", ""],
])("the level of the line is recognized: %s", (line, level) => {
  expect(levelOf(line)).toBe(level);
});

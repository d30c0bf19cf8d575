/** The exact table of `ct-edge ps`. */
import { expect, test } from "vitest";
import { showProcesses, uptime } from "../../edge/commands/machine/ps.ts";
import { type ListedProcess, uidOf } from "../../edge/process/process-list.ts";

const WORKER: ListedProcess = {
  uid: "rqZd",
  id: "worker-1",
  role: "worker",
  state: "up",
  command: "/usr/local/bin/node",
  script: "/opt/codetogether/runtime/worker/main.js",
  pid: 39,
  supervisorPid: 7,
  logFile: "/opt/codetogether/.forever/rqZd.log",
  uptimeMs: 93_784_005,
  restarts: 0,
  lastEnd: null,
  port: 3001,
  statusPort: 4001,
};

test("ct-edge ps has the format that operators' scripts parse", () => {
  const dead = {
    ...WORKER,
    uid: "aaaa",
    id: "worker-12",
    state: "waiting",
    pid: null,
    uptimeMs: null,
  } as const;
  expect(showProcesses({ processes: [WORKER, dead] })).toBe(
    `info:    Forever processes running
data:        uid  command             script                                   forever pid id        logfile                             uptime
data:    [0] rqZd /usr/local/bin/node /opt/codetogether/runtime/worker/main.js 7       39  worker-1  /opt/codetogether/.forever/rqZd.log 1:2:3:4.5
data:    [1] aaaa /usr/local/bin/node /opt/codetogether/runtime/worker/main.js 7       -   worker-12 /opt/codetogether/.forever/rqZd.log STOPPED
`,
  );
});

test("the table of processes names one that keeps failing, and how it ended", () => {
  const failing = { ...WORKER, state: "failing", restarts: 4, lastEnd: "status 1" } as const;
  expect(
    showProcesses({ processes: [WORKER, failing] })
      .split("\n")
      .slice(-3),
  ).toEqual([
    expect.stringContaining("data:    [1] rqZd") as string,
    "warn:    worker-1 keeps failing: restarted 4 times, last exit: status 1",
    "",
  ]);
});

test("the table of processes says that there is none", () => {
  expect(showProcesses({ processes: [] })).toBe("info:    No forever processes running\n");
});

test.each([
  [0, "0:0:0:0.0"],
  [999, "0:0:0:0.999"],
  [61_234, "0:0:1:1.234"],
  [86_400_000, "1:0:0:0.0"],
])("an uptime of %i ms is shown as %s", (ms, text) => {
  expect(uptime(ms)).toBe(text);
});

test("uids are four letters or digits, the same for a name always, and differ among 64 workers", () => {
  const names = ["balancer", ...Array.from({ length: 64 }, (_, i) => `worker-${i + 1}`)];
  const uids = names.map(uidOf);
  expect(uids.every((uid) => /^[A-Za-z0-9]{4}$/.test(uid))).toBe(true);
  expect(new Set(uids).size).toBe(names.length);
  expect(uids).toEqual(names.map(uidOf));
});

/**
 * Tests wait for events and conditions, not for time, and what they open comes from the one harness in test/support, which
 * closes it. The places that may do otherwise are listed here with their reasons; a place that no longer does leaves the list.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const folder = fileURLToPath(new URL(".", import.meta.url));
const OWN = "harness.test.ts";
const files = readdirSync(folder, { recursive: true, encoding: "utf8" })
  .filter((name) => /\.(ts|mjs)$/.test(name) && name !== OWN)
  .map((name) => ({ name, text: readFileSync(join(folder, name), "utf8") }));

const SLOW_PEER = "a peer that sends or reads slowly";
const LOAD = "load that goes on, in steps of time";

/** By the file, the number of its timers. */
const TIMERS: Readonly<Record<string, readonly [count: number, reason: string]>> = {
  "support/until.ts": [2, "`until` itself, and the limit of `within`"],
  "support/sockets.ts": [1, "the limit of a raw socket's waits"],
  "support/command.ts": [1, "ends a command that hangs"],
  "support/machine.ts": [1, "measures how fast the machine is, a little at a time"],
  "support/churn.ts": [1, "a counter is compared with itself a while later"],
  "support/clients.ts": [
    1,
    "clients close their connection a while after they leave, as in the IDEs",
  ],
  "support/faulty-front.ts": [3, "the faulty proxy cuts what is idle"],
  "support/fault-worker.ts": [1, "the faulty worker is slow"],
  "support/fault-run.ts": [4, LOAD],
  "support/counted/sessions.ts": [1, LOAD],
  "support/light-teams.ts": [1, LOAD],
  "support/steady-traffic.ts": [1, LOAD],
  "support/teams.ts": [1, LOAD],
  "balancer/acme/ca-jobs.test.ts": [2, "replaces the timers of the package under test"],
  "balancer/limits/many-behind-one-address.test.ts": [
    1,
    "a client tries again after half a second",
  ],
  "balancer/proxy/exchange.test.ts": [2, `${SLOW_PEER}; a step clock that advances`],
  "balancer/server/listener.test.ts": [3, SLOW_PEER],
  "balancer/server/shutdown.test.ts": [1, LOAD],
  "bench/paced-load.test.ts": [1, SLOW_PEER],
  "bench/run-benchmark.test.ts": [1, "a benchmark that does not end"],
  "e2e/acme.test.ts": [1, LOAD],
  "e2e/balancer-faults.test.ts": [1, `${LOAD}; samples of the rings; outages of a given length`],
  "e2e/balancer-restart.test.ts": [1, "a load balancer asks for health at intervals"],
  "e2e/rebalance.test.ts": [1, LOAD],
  "e2e/strange-members.test.ts": [1, "a member that sends heartbeats"],
  "edge/audit/erase.test.ts": [1, LOAD],
  "links/broken-links.test.ts": [1, "a step clock advances slowly enough for sockets to follow"],
  "robustness/crowd.test.ts": [2, SLOW_PEER],
  "robustness/slow-reader.test.ts": [2, SLOW_PEER],
  "robustness/small-chunks.test.ts": [1, SLOW_PEER],
  "robustness/stamped-traffic.ts": [1, SLOW_PEER],
  "worker/webhooks/sender.test.ts": [1, SLOW_PEER],
};
/** A call of a timer, or an import of those that are promises. */
const TIMER =
  /(?<![\w."'])(?:setTimeout|setInterval)\(|^import \{[^}]*\b(?:setTimeout|setInterval|scheduler)\b[^}]*\} from "node:timers\/promises"|import\("node:timers\/promises"\)|mock\("node:timers\/promises"/gm;

test("no test waits for a fixed time; timers are those of simulated peers and of load", () => {
  const found = files.flatMap(({ name, text }) => {
    const count = text.match(TIMER)?.length ?? 0;
    return count === 0 ? [] : [[name, count] as const];
  });
  const allowed = Object.entries(TIMERS).map(([name, [count]]) => [name, count] as const);
  expect(Object.fromEntries(found)).toEqual(Object.fromEntries(allowed));
});

/** Files that make temporary folders of their own. */
const FOLDERS = {
  "support/temp-folder.ts": "the helper itself",
  "support/any-user.ts": "not in the system's temporary folder, which may belong to one user",
  "packages/systemd-box.ts": "not in the system's temporary folder, which the box replaces",
  "e2e/policy.test.ts": "a folder below that of the test",
  "mutations/run.ts": "beside the packages, which the copy of the sources uses",
  "run.mjs": "runs before anything is installed",
};

test("temporary folders come from the harness, which removes them", () => {
  const found = files.filter(({ text }) => /\bmkdtemp(Sync)?\(/.test(text)).map(({ name }) => name);
  expect(found.sort()).toEqual(Object.keys(FOLDERS).sort());
});

test("no file keeps a list of what it has to close", () => {
  const found = files.filter(({ text }) =>
    /^\s*(?:const|let) (?:closers|closing)\b.*\[/m.test(text),
  );
  expect(found.map(({ name }) => name)).toEqual([]);
});

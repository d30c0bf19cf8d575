/** How a process of the edge is stopped and replaced, with real processes and a clock that the test steps. */
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import { Child, type StopPlan } from "../../../shared/children/child.ts";
import type { ChildRole } from "../../../shared/children/process-run.ts";
import { createLog } from "../../../shared/logs/log.ts";
import { createCounters } from "../../../shared/metrics/metrics.ts";
import { createStepClock } from "../../support/step-clock.ts";
import { until } from "../../support/until.ts";

const SCRIPT = fileURLToPath(new URL("../../support/scripted-process.mjs", import.meta.url));
const DEADLINE_MS = 2000;
const HANDOVER_MS = 10_000;

async function startedChild(
  role: ChildRole,
  env: Record<string, string>,
  clients?: { readonly hasClients: boolean },
  reloadsAtStart = false,
) {
  const clock = createStepClock();
  const logLines: string[] = [];
  const progress: string[] = [];
  const sink = { write: (line: string) => void logLines.push(line) };
  const child = new Child({
    role,
    name: role,
    script: SCRIPT,
    env,
    clock,
    log: createLog({ name: "root", level: "info", format: "text", sink }),
    lines: sink,
    counters: createCounters(),
    onReady() {},
    onExit() {},
    onStopWanted() {},
  });
  const plan: StopPlan = {
    scope: "process",
    siblings: [],
    ending: [],
    deadlineMs: DEADLINE_MS,
    handoverMs: HANDOVER_MS,
    progress: (line) => void progress.push(line),
  };
  const started = child.start(clients);
  onTestFinished(() => {
    if (child.pid !== undefined) process.kill(child.pid, "SIGKILL");
  });
  if (reloadsAtStart) child.reload();
  await started;
  return { child, clock, plan, logLines, progress };
}

test("a balancer that ended before its successor took over is not reported as late", async () => {
  const { child, clock, plan, logLines, progress } = await startedChild("balancer", {
    DIE_ON_RELEASE: "1",
  });
  await child.restart(plan);
  clock.advance(DEADLINE_MS);
  expect(child).toMatchObject({ state: "up", lastEnd: "SIGKILL" });
  expect(logLines.join("")).not.toContain("did not stop in time");
  expect(progress.join("\n")).not.toContain("did not stop in time");
});

test("a worker that hangs when it is stopped is killed at the deadline", async () => {
  const { child, clock, plan, logLines, progress } = await startedChild("worker", { HANG: "1" });
  const stopped = child.stop(plan);
  clock.advance(DEADLINE_MS);
  await stopped;
  expect(child).toMatchObject({ state: "stopped", lastEnd: "SIGKILL" });
  expect(logLines.join("")).toContain("did not stop in time");
  expect(progress).toEqual(["worker: did not stop in time and was killed"]);
});

test("a worker in the middle of a handover at the deadline may finish it", async () => {
  const { child, clock, plan, logLines, progress } = await startedChild("worker", { DRAIN: "1" });
  const stopped = child.stop(plan);
  await until("it hands over", () => progress.includes("worker: handing over 1 session"));
  clock.advance(DEADLINE_MS + HANDOVER_MS - 1);
  child.tellExit("worker-2");
  await stopped;
  expect(child).toMatchObject({ state: "stopped", lastEnd: "status 0" });
  expect(logLines.join("")).not.toContain("did not stop in time");
});

test("a worker whose handover never ends is killed when the time for it has passed too", async () => {
  const { child, clock, plan, progress } = await startedChild("worker", { DRAIN: "1" });
  const stopped = child.stop(plan);
  await until("it hands over", () => progress.length > 0);
  clock.advance(DEADLINE_MS + HANDOVER_MS);
  await stopped;
  expect(child.lastEnd).toBe("SIGKILL");
  expect(progress.at(-1)).toBe("worker: did not stop in time and was killed");
});

test("a balancer that crashed opens its ports without a warm-up, and its replacement warms up before", async () => {
  const { child, clock, plan, logLines } = await startedChild("balancer", {
    CT_WARM_UP_MS: "700",
    DIE_ON_RELEASE: "1",
  });
  const warmUps = (): (string | undefined)[] => logLines.join("").match(/(?<=warm-up: )\w+/g) ?? [];
  await until("it printed its time", () => warmUps().length === 1);
  if (child.pid !== undefined) process.kill(child.pid, "SIGKILL");
  await until("it ended", () => child.state === "waiting");
  clock.advance(10_000);
  await until("it started again", () => child.state === "up" && warmUps().length === 2);
  await child.restart(plan);
  await until("its replacement printed its time", () => warmUps().length === 3);
  expect(warmUps()).toEqual(["700", "0", "700"]);
});

test("the balancer of an edge whose clients wait for it opens its ports without a warm-up", async () => {
  const env = { CT_WARM_UP_MS: "700" };
  const { logLines } = await startedChild("balancer", env, { hasClients: true });
  await until("it printed its time", () => logLines.join("").includes("warm-up: 0"));
});

test("a process that is asked to reload before it is ready does so when it is", async () => {
  const { child, logLines } = await startedChild("balancer", {}, undefined, true);
  await until("it reloads", () => logLines.join("").includes("SIGHUP"));
  expect(child.state).toBe("up");
});

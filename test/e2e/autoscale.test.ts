/**
 * `ct-edge autoscale` over a real edge: workers follow the sessions up and down, and those who stay do not notice.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fetch } from "undici";
import { expect, test } from "vitest";
import { askEdge } from "../../edge/control/control-client.ts";
import { type RunningCommand, startCommand } from "../support/command.ts";
import { type EdgeProcess, startEdge } from "../support/edge-process.ts";
import { openLightTeams } from "../support/light-teams.ts";
import { outputOf } from "../support/output.ts";
import { until } from "../support/until.ts";

/** Two sessions per worker; nothing else counts. */
const SCALING = {
  CT_WORKER_COUNT: "1",
  CT_AUTOSCALE_SESSIONS: "2",
  CT_AUTOSCALE_HEADROOM_PERCENT: "0",
  CT_AUTOSCALE_CPU_PERCENT: "400",
  CT_AUTOSCALE_LAG_MS: "10000",
  CT_AUTOSCALE_UP_MS: "1000",
  CT_AUTOSCALE_DOWN_MS: "2000",
  CT_PREPARE_DOWNSCALE: "local",
  CT_DRAIN_DELAY_MS: "200",
  CT_AUTOSCALE_TOKEN: "a-token-of-sixteen-or-more",
};

function startAutoscaler(edge: EdgeProcess): Promise<RunningCommand> {
  const env = { CT_DATA_DIR: edge.dataDir, CT_AUTOSCALE_TOKEN: SCALING.CT_AUTOSCALE_TOKEN };
  return startCommand(["autoscale", "--min", "1", "--max", "3", "--every", "1"], env);
}

async function runWorker(
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<{ status: number | null; output: string }> {
  const child = spawn(process.execPath, ["dist/worker/main.js", ...args], {
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const output = outputOf(child);
  const [status] = (await once(child, "close")) as [number | null];
  return { status, output: output.all };
}

async function workersOf(edge: EdgeProcess): Promise<string[]> {
  const { processes } = await askEdge(edge.dataDir, { command: "ps" });
  return processes
    .filter(({ role, state }) => role === "worker" && state === "up")
    .map(({ id }) => id);
}

test("workers follow the sessions up and down, one autoscaler at a time, and those who stay are not disconnected", async () => {
  const edge = await startEdge({ env: SCALING });
  const first = await startAutoscaler(edge);
  await until("it leads", () => / 1 workers$/m.test(first.output.all));
  const second = await startAutoscaler(edge);
  await until("the second one waits", () => second.output.all.includes("another autoscaler works"));

  const all = await openLightTeams(edge.httpUrl, 6);
  all.startTalking(200);
  await until("there are three workers", async () => (await workersOf(edge)).length === 3);
  expect(first.output.all).toMatch(/1 -> \d workers: \d wanted of 1 to 3; now sessions need/);

  // What a preStop hook and the rollout-operator do with the worker that goes first.
  all.stopTalking();
  const { statusPort } = edge.readFile().workers[2] ?? {};
  const page = `http://127.0.0.1:${statusPort}/prepare-downscale`;
  const emptied = await runWorker(["empty"], { CT_STATUS_PORT: String(statusPort) });
  expect(emptied).toEqual({ status: 0, output: "" });
  expect(await (await fetch(page)).json()).toMatchObject({
    prepared: true,
    state: "draining",
    sessions: 0,
  });
  await fetch(page, { method: "DELETE" });
  const refused = await runWorker(["empty"], {
    CT_STATUS_PORT: String(edge.readFile().statusPort),
  });
  expect(refused).toEqual({
    status: 1,
    output: "the worker does not accept this; start it with CT_PREPARE_DOWNSCALE=local\n",
  });

  // The first one that ends without a word does not end the work.
  first.child.kill("SIGKILL");
  await until("everybody has heard everything", () => all.misheard().length === 0);
  const [staying, ...leaving] = all.teams;
  for (const { host } of leaving) host.peer.leave();
  staying?.say("host");
  await until(
    "there is one worker, the first",
    async () => (await workersOf(edge)).join() === "worker-1",
    45_000,
  );
  staying?.say("guest");
  await until("the last two hear each other", () => all.misheard().length === 0);
  expect(staying?.host.lostMs).toEqual([]);
  expect(staying?.guest.lostMs).toEqual([]);
  expect(second.output.all).toMatch(/3 -> 1 workers: /);

  // It outlives the edge: the next one has another store, and the wrong number of workers.
  await edge.stop();
  const next = await edge.startAgain();
  await askEdge(next.dataDir, { command: "scale", workers: 4, progress: true });
  await until(
    "there are three workers at most",
    async () => (await workersOf(next)).length <= 3,
    45_000,
  );

  second.child.kill("SIGTERM");
  expect(await once(second.child, "exit")).toEqual([0, null]);
  expect(await workersOf(next)).toContain("worker-1");
}, 90_000);

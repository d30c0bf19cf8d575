/**
 * The supervisor of a real edge and its commands: processes are listed, restarted, scaled, reloaded, replaced and stopped.
 */
import { renameSync, statSync } from "node:fs";
import { connect } from "node:net";
import { dirname, join } from "node:path";
import { fetch } from "undici";
import { beforeAll, expect, test } from "vitest";
import { readEdgeFile } from "../../edge/control/edge-file.ts";
import type { Client } from "../support/clients.ts";
import { askEdgeTo, pidsOf, processOf, stateOf } from "../support/edge-commands.ts";
import { type EdgeProcess, startEdge } from "../support/edge-process.ts";
import { openSession } from "../support/people.ts";
import { freePort } from "../support/ports.ts";
import { stillRunning } from "../support/processes.ts";
import { until } from "../support/until.ts";

/** Many processes start one after the other. */
const SLOW = { timeout: 120_000 };

/** An edge with a worker that hangs. It is replaced after half a minute, in which the other tests run. */
let hanging: { readonly edge: EdgeProcess; readonly before: Record<string, number | null> };

beforeAll(async () => {
  const edge = await startEdge();
  hanging = { edge, before: await pidsOf(edge) };
  process.kill(hanging.before["worker-1"] ?? 0, "SIGSTOP");
});
/** A message sent while a worker is gone may be lost with it, so it is sent again. */
async function theyTalk(speaker: Client, others: readonly Client[]): Promise<void> {
  const text = `still here ${performance.now()}`;
  await until("people talk again", async () => {
    await speaker.say(text).catch(() => {});
    return others.every((client) => client.said.some((said) => said.text === text));
  });
}

test("ct-edge ps lists the processes with existing log files", async () => {
  const edge = await startEdge();
  const { stdout } = await askEdgeTo(edge, "ps");
  const [title, head, ...rows] = stdout.trimEnd().split("\n");
  expect(title).toBe("info:    Forever processes running");
  expect(head).toMatch(/^data: {8}uid {2}command +script +forever +pid +id +logfile +uptime$/);
  expect(rows).toHaveLength(3);
  for (const row of rows) {
    expect(row).toMatch(
      /^data: {4}\[\d\] \w{4} \S+ \S+main\.js +\d+ +\d+ +\S+ +\S+\.log 0:0:\d+:\d+\.\d+$/,
    );
  }
  const { processes, pid } = await stateOf(edge);
  expect(pid).toBe(edge.pid);
  expect(processes.map(({ id, state, restarts }) => [id, state, restarts])).toEqual([
    ["balancer", "up", 0],
    ["worker-1", "up", 0],
    ["worker-2", "up", 0],
  ]);
  for (const { logFile } of processes) expect(statSync(logFile).size).toBeGreaterThan(0);
});

test("the control socket is for the edge's user only, and refuses invalid requests", async () => {
  const edge = await startEdge({ env: { CT_WORKER_COUNT: "1" } });
  const { controlSocket = "" } = readEdgeFile(edge.dataDir) ?? {};
  expect(statSync(controlSocket).mode & 0o777).toBe(0o600);
  expect(statSync(dirname(controlSocket)).mode & 0o777).toBe(0o700);
  const ask = (text: string): Promise<string> =>
    new Promise((resolve) => {
      let answer = "";
      const socket = connect(controlSocket, () => socket.write(text));
      socket.setEncoding("utf8").on("data", (more: string) => {
        answer += more;
      });
      socket.on("error", () => {});
      socket.on("close", () => resolve(answer));
    });
  for (const nonsense of [
    "nonsense\n",
    "{}\n",
    '{"command":"explode"}\n',
    '{"command":"scale","workers":0}\n',
  ]) {
    expect(JSON.parse(await ask(nonsense))).toMatchObject({ done: false });
  }
  expect(await ask("x".repeat(100_000))).toBe("");
  expect((await stateOf(edge)).processes).toHaveLength(2);
});

test("one process and then all in turn are restarted while a session continues", SLOW, async () => {
  // A restarted balancer without a fixed port would take another free one.
  const edge = await startEdge({ env: { CT_PORT: String(await freePort()) } });
  const { host, guests } = await openSession({ baseUrl: edge.httpUrl, guestCount: 1 });
  const before = await pidsOf(edge);

  expect((await askEdgeTo(edge, "restart", "worker-2")).stdout).toContain("worker-2");
  const second = await pidsOf(edge);
  expect(second).toEqual({ ...before, "worker-2": expect.any(Number) as number });
  expect(second["worker-2"]).not.toBe(before["worker-2"]);

  expect((await askEdgeTo(edge, "restart")).status).toBe(0);
  const third = await pidsOf(edge);
  for (const name of Object.keys(third)) expect(third[name]).not.toBe(second[name]);
  await theyTalk(host, guests);

  const unknown = await askEdgeTo(edge, "restart", "worker-9");
  expect(unknown).toEqual({
    status: 1,
    stdout: "",
    stderr: "ct-edge: there is no process worker-9; processes are worker-1, worker-2, balancer\n",
  });
});

test(
  "ct-edge scale adds and removes workers, and the sessions of removed workers continue on others",
  SLOW,
  async () => {
    const edge = await startEdge({ env: { CT_WORKER_COUNT: "1" } });
    expect((await askEdgeTo(edge, "scale", "--worker-count", "3")).status).toBe(0);
    expect(Object.keys(await pidsOf(edge))).toEqual([
      "balancer",
      "worker-1",
      "worker-2",
      "worker-3",
    ]);
    const sessions = await Promise.all(
      Array.from({ length: 4 }, () => openSession({ baseUrl: edge.httpUrl, guestCount: 1 })),
    );
    expect((await askEdgeTo(edge, "scale", "--worker-count", "1")).status).toBe(0);
    expect(Object.keys(await pidsOf(edge))).toEqual(["balancer", "worker-1"]);
    for (const { host, guests } of sessions) {
      await theyTalk(host, guests);
    }
    for (const count of ["0", "65", "many"]) {
      expect((await askEdgeTo(edge, "scale", "--worker-count", count)).status).toBe(1);
    }
  },
);

test("SIGHUP reopens the log without a restart", async () => {
  const edge = await startEdge();
  const before = await pidsOf(edge);
  const path = join(edge.dataDir, "logs/server.log");
  renameSync(path, `${path}.1`);
  process.kill(edge.pid, "SIGHUP");
  await until("there is a new log", () => statSync(path, { throwIfNoEntry: false }) !== undefined);
  renameSync(path, `${path}.2`);
  expect((await askEdgeTo(edge, "reload")).status).toBe(0);
  await until("there is a new log", () => statSync(path, { throwIfNoEntry: false }) !== undefined);
  expect(await pidsOf(edge)).toEqual(before);
});

test("ct-edge logs shows the last lines of all processes or one, also without a running edge", async () => {
  const edge = await startEdge({ env: { CT_WORKER_COUNT: "1" } });
  const all = await askEdgeTo(edge, "logs");
  expect(all.stdout).toContain("root INFO CodeTogether On-Premises services now available");
  const one = await askEdgeTo(edge, "logs", "worker-1", "--limit", "1");
  expect(one.stdout).toMatch(/^\S+ worker-1 INFO .*\n$/);
  await edge.stop();
  expect((await askEdgeTo(edge, "logs", "--limit", "1")).stdout).toContain("root INFO stopped");
});

test("ct-edge stop ends all processes and removes their files", async () => {
  const edge = await startEdge();
  const processes = edge.descendants();
  expect(await askEdgeTo(edge, "stop")).toEqual({
    status: 0,
    stdout: `The edge (pid ${edge.pid}) has stopped.\n`,
    stderr: "",
  });
  expect((await edge.ended()).status).toBe(0);
  expect(stillRunning(processes)).toEqual([]);
  expect(readEdgeFile(edge.dataDir)).toBeUndefined();
  const again = await askEdgeTo(edge, "ps");
  expect(again.status).toBe(1);
  expect(again.stderr).toMatch(
    /^ct-edge: CT_DATA_DIR=\S+: no running edge of this user \(.*\); start it/,
  );
});

test(
  "a second start with --replace takes the place of the first, and its sessions",
  SLOW,
  async () => {
    const first = await startEdge();
    const { host, guests } = await openSession({ baseUrl: first.httpUrl, guestCount: 1 });
    const env = { CT_PORT: String(first.httpPort), CT_TLS_PORT: String(first.tlsPort) };
    const second = await startEdge({
      dataDir: first.dataDir,
      env,
      args: ["start", "--replace"],
    });
    expect((await first.ended()).status).toBe(0);
    expect((await stateOf(second)).pid).toBe(second.pid);
    await theyTalk(host, guests);

    // An edge that cannot answer is killed by its pid, and its processes end with it.
    const processes = second.descendants();
    process.kill(second.pid, "SIGSTOP");
    const third = await startEdge({
      dataDir: first.dataDir,
      env,
      args: ["start", "--replace"],
    });
    expect((await second.ended()).signal).toBe("SIGKILL");
    await until("its processes are gone", () => stillRunning(processes).length === 0);
    expect((await stateOf(third)).pid).toBe(third.pid);
  },
);

test("a process that keeps failing is shown by the edge's readiness and by ps until it is healthy", async () => {
  const edge = await startEdge();
  const { statusPort } = edge.readFile();
  const readiness = async () => {
    const answer = await fetch(`http://127.0.0.1:${statusPort}/health/ready`);
    return { status: answer.status, text: await answer.text() };
  };
  expect(await readiness()).toMatchObject({ status: 200 });

  for (const restarts of [0, 1, 2]) {
    const pid = await until("worker-2 runs", async () => {
      const two = await processOf(edge, "worker-2");
      return two.state === "up" && two.restarts === restarts ? (two.pid ?? undefined) : undefined;
    });
    process.kill(pid, "SIGKILL");
  }
  await until("the edge wants no traffic, and says why", async () => {
    const { status, text } = await readiness();
    return status === 503 && text.includes("worker-2 keeps failing (SIGKILL)");
  });
  const { stdout } = await askEdgeTo(edge, "ps");
  expect(stdout).toMatch(
    /\nwarn: {4}worker-2 keeps failing: restarted \d times, last exit: SIGKILL\n$/,
  );

  expect(await askEdgeTo(edge, "restart", "worker-2")).toMatchObject({ status: 0 });
  await until("the edge wants traffic again", async () => (await readiness()).status === 200);
  expect((await askEdgeTo(edge, "ps")).stdout).not.toContain("warn:");
}, 60_000);

test("a process that hangs is replaced", SLOW, async () => {
  const { edge, before } = hanging;
  const hung = before["worker-1"] ?? 0;
  await until(
    "another process has its place",
    async () => {
      const worker = await processOf(edge, "worker-1");
      return worker.state === "up" && worker.pid !== hung && worker.lastEnd === "SIGKILL";
    },
    60_000,
  );
  expect(edge.output()).toContain("a process does not respond and is replaced");
  expect((await pidsOf(edge))["worker-2"]).toBe(before["worker-2"]);
});

/** How several processes of a balancer start, log, drain and end, before one worker of a fixed list. */
import { readdirSync, readFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import { Agent, fetch } from "undici";
import { expect, onTestFinished, test } from "vitest";
import { keepCertificate } from "../../edge/start/certificate.ts";
import { gaugeOf, processesOf } from "../support/balancer-processes.ts";
import { buildOnce } from "../support/build.ts";
import { launch, type Member, type Run } from "../support/cluster.ts";
import { freePort, holdPort } from "../support/ports.ts";
import { descendantsOf, stillRunning } from "../support/processes.ts";
import { connectRaw, type RawSocket } from "../support/sockets.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { until } from "../support/until.ts";
import { ok, startSimpleWorker } from "./rig.ts";

async function launchProcesses(env: Record<string, string> = {}): Promise<Run> {
  await buildOnce();
  // It responds to "/slow" never.
  const worker = await startSimpleWorker((head) =>
    head.startsWith("GET /slow") ? "" : ok("fine"),
  );
  const run = launch("balancer", {
    env: {
      CT_WORKERS: `127.0.0.1:${worker.port}`,
      CT_PROCESSES: "2",
      CT_DRAIN_DELAY_MS: "0",
      ...env,
    },
  });
  onTestFinished(() => run.kill());
  return run;
}

async function startProcesses(env?: Record<string, string>): Promise<Member> {
  return (await launchProcesses(env)).ready();
}

/** Sends requests on a new connection each, which the system gives to one of the processes. */
async function sendRequests(balancer: Member, count: number, path = "/"): Promise<void> {
  const agent = new Agent({ pipelining: 0 });
  await Promise.all(
    Array.from({ length: count }, async (_, i) => {
      const response = await fetch(`${balancer.url}${path}?n=${i}`, { dispatcher: agent });
      expect(await response.text()).toBe("fine");
    }),
  );
  await agent.close();
}

/** Lines of all files in `folder` whose names begin so. */
function linesIn(folder: string, prefix: string): string[] {
  return readdirSync(folder)
    .filter((name) => name.startsWith(prefix))
    .flatMap((name) => readFileSync(join(folder, name), "utf8").split("\n"))
    .filter((line) => line !== "");
}

/** A request whose response does not come; resolves when a process has it. */
async function openSlowRequest(balancer: Member): Promise<RawSocket> {
  const raw = await connectRaw(balancer.port);
  raw.write("GET /slow HTTP/1.1\r\nHost: edge\r\n\r\n");
  await until("a process has the request", async () => {
    const counts = await Promise.all(
      processesOf(balancer).map((one) => gaugeOf(one, "balancer_connections")),
    );
    return counts.some((count) => count > 0);
  });
  return raw;
}

test("several processes share the public port that one of them was free to choose, and each has a status port", async () => {
  const balancer = await startProcesses();
  await sendRequests(balancer, 20);
  const processes = processesOf(balancer);
  expect(processes.map(({ number }) => number)).toEqual([1, 2]);
  expect(balancer.statusPort).toBe(processes[0]?.statusPort);
  for (const { statusPort } of processes) {
    const response = await fetch(`http://127.0.0.1:${statusPort}/health/ready`);
    expect(await response.json()).toEqual({ status: "ready", reasons: [] });
  }
});

test("several processes share the HTTPS port too", async () => {
  const dataDir = tempFolder();
  const { cert, key } = await keepCertificate({ dataDir, serverUrl: undefined, nowMs: Date.now() });
  const balancer = await startProcesses({ CT_TLS_CERT: cert, CT_TLS_KEY: key });
  expect(balancer.tlsPort).not.toBe(balancer.port);
  const agent = new Agent({ pipelining: 0, connect: { ca: readFileSync(cert, "utf8") } });
  onTestFinished(() => agent.close());
  for (let i = 0; i < 8; i++) {
    const url = `https://localhost:${balancer.tlsPort}/`;
    expect(await (await fetch(url, { dispatcher: agent })).text()).toBe("fine");
  }
});

test("the status port of the second process is the next number", async () => {
  const statusPort = await freePort();
  const balancer = await startProcesses({ CT_STATUS_PORT: String(statusPort) });
  expect(processesOf(balancer).map((one) => one.statusPort)).toEqual([statusPort, statusPort + 1]);
});

test("each process logs requests to a file of its own, and none is lost when the files are rotated and reopened", async () => {
  const folder = tempFolder();
  const balancer = await startProcesses({
    CT_LOG_DIR: folder,
    CT_LOG_MAX_BYTES: "65536",
    CT_LOG_MAX_FILES: "20",
  });
  // More than a file may have, whichever process gets them.
  const path = `/${"x".repeat(900)}`;
  await sendRequests(balancer, 200, path);
  for (const number of [1, 2]) {
    renameSync(join(folder, `access-${number}.log`), join(folder, `access-${number}.log.moved`));
  }
  balancer.child.kill("SIGHUP");
  await until("the files are there again", () =>
    [1, 2].every((number) => readdirSync(folder).includes(`access-${number}.log`)),
  );
  await sendRequests(balancer, 200, path);
  await balancer.stop();
  const requests = linesIn(folder, "access-").map((line) => /"GET \S*(\?n=\d+) /.exec(line)?.[1]);
  expect(requests).toHaveLength(400);
  expect(new Set(requests).size).toBe(200);
  expect(readdirSync(folder).some((name) => /^access-\d\.log\.1$/.test(name))).toBe(true);
  expect(readdirSync(folder)).not.toContain("access.log");
});

test("SIGTERM drains all processes, and a second one ends them at once", async () => {
  const balancer = await startProcesses({ CT_DRAIN_TIMEOUT_MS: "20000" });
  const processes = descendantsOf(balancer.child.pid ?? 0);
  const request = await openSlowRequest(balancer);
  balancer.child.kill("SIGTERM");
  await until("both drain", () => balancer.output().split("draining clients").length === 3);
  expect(request.closed).toBe(false);
  const sinceMs = performance.now();
  expect((await balancer.stop()) - sinceMs).toBeLessThan(10_000);
  expect(balancer.child.exitCode).toBe(0);
  expect(stillRunning(processes)).toEqual([]);
});

test("all processes end when the one that started them is killed", async () => {
  const balancer = await startProcesses();
  const processes = descendantsOf(balancer.child.pid ?? 0);
  expect(processes).toHaveLength(2);
  balancer.child.kill("SIGKILL");
  await until("both have ended", () => stillRunning(processes).length === 0);
});

test("a port that is in use prevents the start of all processes, with one line that names the setting", async () => {
  const held = await holdPort();
  for (const setting of ["CT_PORT", "CT_STATUS_PORT"]) {
    const run = await launchProcesses({ [setting]: String(held.port) });
    expect(await run.ended()).toBe(1);
    // The second process has the next status port, which a program of another test may have: then either of the two is named.
    const ports = setting === "CT_PORT" ? [held.port] : [held.port, held.port + 1];
    const problems = ports.map((port) => `${setting}=${port}: already in use by another program`);
    const lines = run.output().split("\n");
    expect(
      lines.filter((line) => problems.some((problem) => line.startsWith(problem))),
    ).toHaveLength(1);
  }
});

test("two balancers with several processes do not share a port", async () => {
  const balancer = await startProcesses();
  const second = await launchProcesses({ CT_PORT: String(balancer.port) });
  expect(await second.ended()).toBe(1);
  expect(second.output()).toContain(`CT_PORT=${balancer.port}: already in use`);
});

test.each([
  ["0", 'CT_PROCESSES="0" is not allowed; use a whole number from 1 to 64'],
  ["two", 'CT_PROCESSES="two" is not allowed; use a whole number from 1 to 64'],
])("CT_PROCESSES=%s prevents the start", async (value, problem) => {
  const run = await launchProcesses({ CT_PROCESSES: value });
  expect(await run.ended()).toBe(1);
  expect(run.output()).toContain(problem);
});

import { type ChildProcess, fork, spawn } from "node:child_process";
import { readdir, readFile, readlink } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { fetch } from "undici";
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { systemClock } from "../../shared/base/clock.ts";
import { createCounters } from "../../shared/metrics/metrics.ts";
import { deriveKeys } from "../../shared/settings/secret.ts";
import { connectEmbeddedStore } from "../../shared/store/embedded/client.ts";
import { startStoreServer } from "../../shared/store/embedded/server.ts";
import type { Store } from "../../shared/store/store.ts";
import { atEnd } from "../support/at-end.ts";
import { buildOnce } from "../support/build.ts";
import { silentLog } from "../support/logs.ts";
import { watchMachine } from "../support/machine.ts";
import { listen } from "../support/servers.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { ok, startSimpleWorker, workerRecord } from "./rig.ts";

beforeAll(() => buildOnce());

const machine = watchMachine();

const PROGRAM = fileURLToPath(new URL("../../dist/balancer/main.js", import.meta.url));
const SECRET = "canary-secret-0123456789-0123456789-0123456789";
const log = silentLog();
let store: Store;
let socketPath: string;

interface Ready {
  readonly type: string;
  readonly httpPort: number;
  readonly statusPort: number;
  readonly tlsPort?: number;
}

beforeEach(async () => {
  const dataDir = tempFolder();
  const server = await startStoreServer({
    dataDir,
    clock: systemClock,
    log,
    counters: createCounters(),
  });
  atEnd(() => server.close());
  socketPath = server.socketPath;
  store = connectEmbeddedStore({ socketPath, clock: systemClock, log });
  atEnd(() => store.close());
});

interface Balancer {
  readonly process: ChildProcess;
  readonly output: () => string;
  readonly messages: unknown[];
  readonly exited: Promise<number | null>;
  ready(): Promise<Ready>;
}

function environment(more: Record<string, string> = {}): Record<string, string> {
  return {
    PATH: process.env["PATH"] ?? "",
    CT_SECRET: SECRET,
    CT_STORE_SOCKET: socketPath,
    CT_BIND: "127.0.0.1",
    CT_PORT: "0",
    CT_TLS_PORT: "0",
    CT_STATUS_PORT: "0",
    ...more,
  };
}

/** The program as the edge starts it: with an IPC channel. */
function startChild(more: Record<string, string> = {}): Balancer {
  const child = fork(PROGRAM, [], {
    env: environment(more),
    stdio: ["ignore", "pipe", "pipe", "ipc"],
  });
  return watch(child);
}

/** The program as an operator starts it. */
function startAlone(more: Record<string, string> = {}, args: readonly string[] = []): Balancer {
  const child = spawn(process.execPath, [PROGRAM, ...args], {
    env: environment(more),
    stdio: ["ignore", "pipe", "pipe"],
  });
  return watch(child);
}

function watch(child: ChildProcess): Balancer {
  let output = "";
  const messages: unknown[] = [];
  child.stdout?.on("data", (bytes) => {
    output += String(bytes);
  });
  child.stderr?.on("data", (bytes) => {
    output += String(bytes);
  });
  child.on("message", (message) => messages.push(message));
  // Not "close", which does not come after a disconnect from this side.
  const exited = new Promise<number | null>((resolve) => child.once("exit", resolve));
  const ended = [child.stdout, child.stderr].map(
    (stream) => new Promise<void>((resolve) => stream?.once("end", resolve)),
  );
  atEnd(async () => {
    child.kill("SIGKILL");
    await exited;
  });
  return {
    process: child,
    output: () => output,
    messages,
    exited: Promise.all(ended).then(() => exited),
    async ready() {
      await expect
        .poll(() => messages, { timeout: 15_000 })
        .toContainEqual(expect.objectContaining({ type: "ready" }));
      return messages.find((message) => (message as Ready).type === "ready") as Ready;
    },
  };
}

async function getJson(url: string): Promise<{ status: number; body: Record<string, unknown> }> {
  const response = await fetch(url);
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

describe("the balancer as a process of the edge", () => {
  test("a balancer reports when it listens, finds workers in the store, announces itself, and shows its view", async () => {
    const worker = await startSimpleWorker(() => ok("from the worker"));
    const balancer = startChild();
    const { httpPort, statusPort, tlsPort } = await balancer.ready();
    expect(tlsPort).toBeUndefined();
    const status = `http://127.0.0.1:${statusPort}`;
    expect(await getJson(`${status}/health/live`)).toEqual({
      status: 200,
      body: { status: "live" },
    });
    expect((await getJson(`${status}/health/ready`)).status).toBe(503);
    expect((await getJson(`http://127.0.0.1:${httpPort}/ct-health/`)).status).toBe(503);

    const { fingerprint } = deriveKeys(SECRET);
    await store.announce(
      workerRecord("w1", worker.port, {
        statusUrl: `http://127.0.0.1:${worker.port}`,
        secretFingerprint: fingerprint,
      }),
    );
    await expect
      .poll(async () => (await getJson(`${status}/health/ready`)).status, { timeout: 5000 })
      .toBe(200);
    const response = await fetch(`http://127.0.0.1:${httpPort}/`);
    expect(await response.text()).toBe("from the worker");

    const { body } = await getJson(`${status}/view`);
    expect(body).toMatchObject({
      role: "balancer",
      store: { state: "up" },
      workers: [
        {
          id: "w1",
          state: "up",
          status: "healthy",
          isAvoided: false,
          // The names of the version before.
          health: "up",
          suspect: false,
        },
      ],
      gone: [],
      probesBelieved: true,
    });
    expect(body["counters"]).toMatchObject({ "balancer.requests{none}": 1 });
    expect((await getJson(`${status}/nothing`)).status).toBe(404);
    await expect
      .poll(async () => (await store.members()).members.map(({ kind }) => kind).sort())
      .toEqual(["balancer", "worker"]);
    expect(balancer.output()).not.toContain(SECRET);
  });

  test("a balancer that the edge stops ends cleanly and removes its record", async () => {
    const balancer = startChild();
    await balancer.ready();
    await expect.poll(async () => (await store.members()).members.length).toBe(1);
    const startedMs = performance.now();
    balancer.process.send({ type: "stop" });
    expect(await balancer.exited).toBe(0);
    expect(performance.now() - startedMs).toBeLessThan(
      machine.limitMs(startedMs, { promisedMs: 2000 }),
    );
    expect((await store.members()).members).toEqual([]);
  });

  test("a balancer ends when its edge is gone", async () => {
    const balancer = startChild();
    await balancer.ready();
    balancer.process.disconnect();
    expect(await balancer.exited).toBe(0);
  });

  test("a balancer of an edge ignores Ctrl-C and stops on SIGTERM", async () => {
    const balancer = startChild();
    const { statusPort } = await balancer.ready();
    balancer.process.kill("SIGINT");
    expect((await getJson(`http://127.0.0.1:${statusPort}/health/live`)).status).toBe(200);
    balancer.process.kill("SIGTERM");
    expect(await balancer.exited).toBe(0);
  });

  test("a balancer reports a port in use to the edge", async () => {
    const port = await listen(createServer());
    for (const setting of ["CT_PORT", "CT_STATUS_PORT"]) {
      const balancer = startChild({ [setting]: String(port) });
      expect(await balancer.exited).toBe(1);
      const message = `${setting}=${port}: already in use by another program; stop it or set ${setting} to another port`;
      expect(balancer.messages).toEqual([{ type: "failed", message }]);
      expect(balancer.output()).toContain(`${message}\n`);
    }
  });
});

describe("the warm-up before the ports open", () => {
  const DEBUG = { CT_LOG_LEVEL: "debug" };
  const WARM = " DEBUG warmed up ";

  test("nothing of a warm-up shows in the counters, the view, access.log, the store or the descriptors", async () => {
    const logDir = tempFolder();
    const cold = startChild({ CT_WARM_UP_MS: "0" });
    await cold.ready();
    const warm = startChild({ ...DEBUG, CT_LOG_DIR: logDir });
    const { statusPort } = await warm.ready();
    expect(warm.output().split(WARM)).toHaveLength(2);
    expect(warm.output().indexOf(WARM)).toBeLessThan(warm.output().indexOf(" listening "));

    const { body } = await getJson(`http://127.0.0.1:${statusPort}/view`);
    expect(body).toMatchObject({ workers: [], gone: [], tunnels: 0, connections: 0 });
    // The time on the CPU is the process's own.
    expect(Object.keys(body["counters"] as object)).toEqual(["process.cpu_ms"]);
    expect(await readFile(join(logDir, "access.log"), "utf8")).toBe("");
    expect(await readFile(join(logDir, "error.log"), "utf8")).toBe("");
    await expect
      .poll(async () => (await store.members()).members.map(({ kind }) => kind))
      .toEqual(["balancer", "balancer"]);
    await expect
      .poll(() => socketsOf(warm.process), { timeout: 15_000 })
      .toBe(await socketsOf(cold.process));
  });

  test("a balancer that replaces another one warms up before it asks for the ports", async () => {
    const balancer = startChild({ ...DEBUG, CT_STANDBY: "1" });
    await expect
      .poll(() => balancer.messages, { timeout: 15_000 })
      .toContainEqual({ type: "standby" });
    await expect.poll(balancer.output).toContain(WARM);
    expect(balancer.output()).not.toContain(" listening ");
    balancer.process.send({ type: "open-ports" });
    await balancer.ready();
  });
});

/** The number of open sockets of a process. */
async function socketsOf({ pid }: ChildProcess): Promise<number> {
  const folder = `/proc/${pid}/fd`;
  const targets = await Promise.all(
    (await readdir(folder)).map((name) => readlink(join(folder, name)).catch(() => "")),
  );
  return targets.filter((target) => target.startsWith("socket:")).length;
}

describe("the balancer as a program of its own", () => {
  test("a standalone balancer ends on Ctrl-C", async () => {
    const balancer = startAlone();
    await expect.poll(balancer.output, { timeout: 15_000 }).toContain("listening");
    balancer.process.kill("SIGINT");
    expect(await balancer.exited).toBe(0);
  });

  test.each([
    ["no secret", { CT_SECRET: "" }, "CT_SECRET is not set"],
    ["no store", { CT_STORE_SOCKET: "" }, "no store is configured: set CT_REDIS_URL"],
    [
      "a missing certificate",
      { CT_TLS_CERT: "/nowhere/cert.pem", CT_TLS_KEY: "/nowhere/key.pem" },
      "CT_TLS_CERT=/nowhere/cert.pem: it cannot be read",
    ],
    [
      "a bad proxy",
      { CT_TRUSTED_PROXIES: "10.0.0.0/99" },
      'CT_TRUSTED_PROXIES="10.0.0.0/99" is not allowed',
    ],
    ["a bad number", { CT_MAX_CONNECTIONS: "many" }, 'CT_MAX_CONNECTIONS="many" is not allowed'],
  ])(
    "a standalone balancer does not start with %s, and prints one line",
    async (_name, more, line) => {
      const balancer = startAlone(more);
      expect(await balancer.exited).toBe(1);
      expect(balancer.output()).toContain(line);
      expect(balancer.output().trim().split("\n")).toHaveLength(1);
    },
  );

  test("a standalone balancer prints its settings", async () => {
    const balancer = startAlone({}, ["--help"]);
    expect(await balancer.exited).toBe(0);
    expect(balancer.output()).toContain("--trusted-proxies");
    expect(balancer.output()).not.toContain(SECRET);
  });
});

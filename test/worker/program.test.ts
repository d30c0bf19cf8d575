/**
 * `ct-worker` as a process: how it starts, reports that it is ready, and stops.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { fileURLToPath } from "node:url";
import { fetch } from "undici";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import { systemClock } from "../../shared/base/clock.ts";
import { newIncarnation, type WorkerId } from "../../shared/base/ids.ts";
import { connectEmbeddedStore } from "../../shared/store/embedded/client.ts";
import type { Store } from "../../shared/store/store.ts";
import { buildOnce } from "../support/build.ts";
import { startServer } from "../support/embedded-store.ts";
import { silentLog } from "../support/logs.ts";
import { watchMachine } from "../support/machine.ts";
import { freePort } from "../support/ports.ts";
import { listen } from "../support/servers.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { until } from "../support/until.ts";

beforeAll(() => buildOnce());

const machine = watchMachine();

const SECRET = "a secret that has at least 32 characters";
const MAIN = fileURLToPath(new URL("../../dist/worker/main.js", import.meta.url));

// --- start ---

test("a worker becomes a member, recovers its sessions, listens, and reports that it is ready", async () => {
  const { store, socketPath } = await startStore();
  const worker = run({ CT_STORE_SOCKET: socketPath, CT_LOGIN_SIMPLE: "on" });

  const { port, statusPort } = await worker.ready();

  const { members } = await store.members();
  expect(members).toMatchObject([
    {
      kind: "worker",
      id: "worker-1",
      url: `http://127.0.0.1:${port}`,
      statusUrl: `http://127.0.0.1:${statusPort}`,
      state: "up",
      weight: 1,
    },
  ]);
  expect((await fetch(`http://127.0.0.1:${port}/api/meta`)).status).toBe(200);
  const view = (await (await fetch(`http://127.0.0.1:${statusPort}/view`)).json()) as {
    record: { ringFingerprint: string };
  };
  expect(view).toMatchObject({
    role: "worker",
    record: { id: "worker-1", load: { sessions: 0, connections: 0 } },
    store: { state: "up" },
    sessions: [],
    waitingPolls: 0,
    counters: {},
  });
  // Its ring has it from the start.
  expect(view.record.ringFingerprint).toMatch(/^[0-9a-f]{16}$/);
});

test("a worker is live without the store, and ready but degraded while the store is away", async () => {
  const { server, socketPath } = await startStore();
  const worker = run({ CT_STORE_SOCKET: socketPath });
  const { statusPort } = await worker.ready();
  const health = async (path: string) => {
    const answer = await fetch(`http://127.0.0.1:${statusPort}/health/${path}`);
    return { status: answer.status, body: await answer.json() };
  };
  expect(await health("live")).toEqual({ status: 200, body: { status: "live" } });
  expect(await health("ready")).toEqual({ status: 200, body: { status: "ready", reasons: [] } });

  await server.close();

  await expect
    .poll(() => health("ready"))
    .toMatchObject({
      status: 200,
      body: { status: "degraded", reasons: [expect.stringContaining("the store is away")] },
    });
  expect((await health("live")).status).toBe(200);
});

test("a worker that has never reached the store is live and not ready", async () => {
  const { server, socketPath } = await startStore();
  await server.close();
  const statusPort = await freePort();
  run({ CT_STORE_SOCKET: socketPath, CT_STATUS_PORT: String(statusPort) });
  const answer = await until("its status port answers", () =>
    fetch(`http://127.0.0.1:${statusPort}/health/ready`),
  );
  expect(answer.status).toBe(503);
  expect(await answer.json()).toMatchObject({
    status: "not ready",
    reasons: ["the worker is starting"],
  });
  expect((await fetch(`http://127.0.0.1:${statusPort}/health/live`)).status).toBe(200);
});

test.each(["CT_WORKER_PORT", "CT_STATUS_PORT"])(
  "a worker whose %s is in use prints one line with what to do, for the operator and the edge",
  async (setting) => {
    const { socketPath } = await startStore();
    const port = await listen(createServer());

    const worker = run({ CT_STORE_SOCKET: socketPath, [setting]: String(port) });

    expect(await worker.ended()).toEqual({ status: 1, signal: null });
    const line = `${setting}=${port}: already in use by another program; stop it or set ${setting} to another port`;
    expect(worker.stderr()).toBe(`${line}\n`);
    expect(worker.messages).toEqual([{ type: "failed", message: line }]);
  },
);

test.each([
  [{ CT_SECRET: "" }, "CT_SECRET is not set; start the worker through ct-edge, or set it"],
  [{ CT_STORE_SOCKET: "" }, "store"],
  [{ CT_SECRET: "short" }, "CT_SECRET=(not shown) is not allowed"],
  [{ CT_WORKER_PORT: "70000" }, 'CT_WORKER_PORT="70000" is not allowed; use a whole number'],
  [{ CT_SERVER_URL: "https://a:99999" }, 'CT_SERVER_URL="https://a:99999" is not allowed'],
])(
  "a worker with the settings %j does not start, and prints the reason in one line",
  async (env, line) => {
    const worker = run({ CT_STORE_SOCKET: "/nowhere/store.sock", ...env });
    expect(await worker.ended()).toEqual({ status: 1, signal: null });
    expect(worker.stderr().trimEnd().split("\n")).toEqual([expect.stringContaining(line)]);
  },
);

// --- stop ---

test.each([
  {
    how: "the edge asks it to",
    end: (child: ChildProcess) => child.send({ type: "stop" }),
    promisedMs: 2000,
  },
  { how: "the edge is gone", end: (child: ChildProcess) => child.disconnect(), promisedMs: 2000 },
  // It asks the edge first, and waits for it for 2 s.
  {
    how: "SIGTERM, and the edge does not answer",
    end: (child: ChildProcess) => child.kill("SIGTERM"),
    promisedMs: 4000,
  },
])("a worker shuts down gracefully and in time: $how", async ({ end, promisedMs }) => {
  const { store, socketPath } = await startStore();
  const worker = run({ CT_STORE_SOCKET: socketPath });
  const { port } = await worker.ready();
  // An idle connection must not delay it.
  const idle = await fetch(`http://127.0.0.1:${port}/api/meta`);
  await idle.text();

  const startedMs = performance.now();
  end(worker.child);

  expect(await worker.ended()).toEqual({ status: 0, signal: null });
  expect(performance.now() - startedMs).toBeLessThan(machine.limitMs(startedMs, { promisedMs }));
  // The lease is given back, so that no process waits for its expiry.
  expect((await store.members()).members).toEqual([]);
});

test("a worker leaves Ctrl-C in a terminal to its edge, and stops on it without an edge", async () => {
  const { socketPath } = await startStore();
  const child = run({ CT_STORE_SOCKET: socketPath });
  const { port } = await child.ready();
  child.child.kill("SIGINT");
  expect((await fetch(`http://127.0.0.1:${port}/api/meta`)).status).toBe(200);
  expect(child.child.exitCode).toBeNull();

  const alone = run({ CT_STORE_SOCKET: socketPath, CT_WORKER_ID: "worker-2" }, "alone");
  await until("it listens", () => alone.stdout().includes("listening"));
  alone.child.kill("SIGINT");
  expect(await alone.ended()).toEqual({ status: 0, signal: null });
});

test("a worker that is asked to stop while it starts stops", async () => {
  const { server, socketPath } = await startStore();
  await server.close();
  const worker = run({ CT_STORE_SOCKET: socketPath });
  await until("it has begun", () => worker.stdout().includes("store unavailable"));
  worker.child.send({ type: "stop" });
  expect(await worker.ended()).toEqual({ status: 0, signal: null });
  expect(worker.messages).toEqual([]);
});

test("a worker whose id was taken over by another process exits with status 1", async () => {
  const { store, socketPath } = await startStore();
  const worker = run({ CT_STORE_SOCKET: socketPath });
  await worker.ready();
  const [record] = (await store.members()).members;
  if (record === undefined) throw new Error("it is no member");

  await store.announce({ ...record, id: "worker-1" as WorkerId, incarnation: newIncarnation() });

  expect(await worker.ended()).toEqual({ status: 1, signal: null });
  expect(worker.stdout()).toContain("another process has announced itself under the same id");
  // It removed its own record only.
  expect((await store.members()).members).toHaveLength(1);
});

test("a worker that is busy for a moment does not refuse the connections that arrive meanwhile", async () => {
  const { socketPath } = await startStore();
  const worker = run({ CT_STORE_SOCKET: socketPath });
  const { port } = await worker.ready();
  // More than Node's default of 511, and less than the kernel's limit.
  const most = Number(readFileSync("/proc/sys/net/core/somaxconn", "utf8"));
  const count = Math.min(2000, most - 100);
  worker.child.kill("SIGSTOP");
  onTestFinished(() => void worker.child.kill("SIGCONT"));
  let connected = 0;
  const sockets = Array.from({ length: count }, () =>
    connect(port, "127.0.0.1", () => connected++).on("error", () => {}),
  );
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
  });
  await until("all are connected", () => connected === count);
});

test("a worker prints no secret", async () => {
  const { socketPath } = await startStore();
  const apiKey = "an api key that must stay secret";
  const worker = run({
    CT_STORE_SOCKET: socketPath,
    CT_LOGIN_API_KEY: apiKey,
    CT_LOGIN_SIMPLE: "on",
    CT_LOG_LEVEL: "debug",
  });
  const { port } = await worker.ready();
  const ask = (path: string, init: { headers?: Record<string, string>; body?: string } = {}) =>
    fetch(`http://127.0.0.1:${port}${path}`, { method: "POST", ...init });
  const form = (fields: object) => ({
    headers: { "content-type": "application/json" },
    body: JSON.stringify(fields),
  });
  const { pollToken } = (await (await ask("/api/login/initial")).json()) as { pollToken: string };
  await ask("/api/login/apikey", form({ token: pollToken, apiKey: `${apiKey}!` }));
  await ask("/api/login/apikey", form({ token: pollToken, apiKey }));
  const { loginToken } = (await (await ask(`/api/login/poll/${pollToken}`)).json()) as {
    loginToken: string;
  };
  const headers = { "x-oct-jwt": loginToken };
  const created = await (await ask("/api/session/create", { headers })).json();
  const { roomId, roomToken } = created as { roomId: string; roomToken: string };
  await ask(`/api/session/join/${roomId}`, { headers });
  worker.child.send({ type: "stop" });
  await worker.ended();

  const printed = worker.stdout() + worker.stderr();
  expect(printed).toContain("session created");
  for (const secret of [SECRET, apiKey, pollToken, loginToken, roomId, roomToken]) {
    expect(printed).not.toContain(secret);
  }
});

// --- helpers ---

async function startStore(): Promise<{
  store: Store;
  server: { close(): Promise<void> };
  socketPath: string;
}> {
  const folder = tempFolder();
  const needs = { clock: systemClock, log: silentLog() };
  const server = await startServer({ ...needs, dataDir: folder });
  const store = connectEmbeddedStore({ ...needs, socketPath: server.socketPath });
  onTestFinished(async () => {
    await store.close();
    await server.close();
  });
  return { store, server, socketPath: server.socketPath };
}

interface Run {
  readonly child: ChildProcess;
  /** Messages that it sent over IPC. */
  readonly messages: readonly unknown[];
  stdout(): string;
  stderr(): string;
  ready(): Promise<{ port: number; statusPort: number }>;
  ended(): Promise<{ status: number | null; signal: string | null }>;
}

/** Starts a worker on free ports as the edge does, or without an edge. It is stopped when the test ends. */
function run(env: Readonly<Record<string, string>>, by: "edge" | "alone" = "edge"): Run {
  const child = spawn(process.execPath, [MAIN], {
    env: {
      PATH: process.env["PATH"],
      CT_SECRET: SECRET,
      CT_WORKER_ID: "worker-1",
      CT_WORKER_PORT: "0",
      CT_STATUS_PORT: "0",
      ...env,
    },
    stdio: ["ignore", "pipe", "pipe", ...(by === "edge" ? (["ipc"] as const) : [])],
  });
  const output = { stdout: "", stderr: "" };
  child.stdout?.on("data", (bytes: Buffer) => {
    output.stdout += bytes.toString();
  });
  child.stderr?.on("data", (bytes: Buffer) => {
    output.stderr += bytes.toString();
  });
  const messages: unknown[] = [];
  child.on("message", (message) => messages.push(message));
  // Not the child's "close": Node keeps it to itself when this side has closed the channel.
  const closed = Promise.all([
    once(child, "exit"),
    ...[child.stdout, child.stderr].map((stream) => stream && once(stream, "close")),
  ]);
  onTestFinished(async () => {
    child.kill("SIGKILL");
    await closed;
  });
  return {
    child,
    messages,
    stdout: () => output.stdout,
    stderr: () => output.stderr,
    ready: () =>
      until("the worker is ready", () => {
        if (child.exitCode !== null) throw new Error(`it ended: ${output.stderr}`);
        return messages[0] as { port: number; statusPort: number } | undefined;
      }),
    async ended() {
      const [exit] = await closed;
      const [status, signal] = exit as [number | null, string | null];
      return { status, signal };
    },
  };
}

import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, openSync } from "node:fs";
import { readFile, rename } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, beforeEach, expect, test } from "vitest";
import { atEnd } from "../support/at-end.ts";
import { buildOnce } from "../support/build.ts";
import { connectRaw, type RawSocket } from "../support/sockets.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { ok, startRawWorker } from "./rig.ts";

beforeAll(() => buildOnce());

const PROGRAM = fileURLToPath(new URL("../../dist/balancer/main.js", import.meta.url));
let folder: string;

beforeEach(async () => {
  folder = tempFolder();
});

interface Started {
  readonly child: ChildProcess;
  readonly httpPort: number;
  readonly statusPort: number;
}

async function startBalancer(output: "ignore" | number = "ignore"): Promise<Started> {
  const worker = await startRawWorker((socket) => {
    for (let head = socket.takeHead(); head !== undefined; head = socket.takeHead()) {
      const accept = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
      socket.write(
        head.startsWith("GET /ws ")
          ? `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n${accept}\r\nhello`
          : ok("fine"),
      );
    }
  });
  const child = fork(PROGRAM, [], {
    env: {
      PATH: process.env["PATH"] ?? "",
      CT_WORKERS: `127.0.0.1:${worker.port}`,
      CT_BIND: "127.0.0.1",
      CT_PORT: "0",
      CT_STATUS_PORT: "0",
      CT_LOG_DIR: folder,
      // It stops at once.
      CT_DRAIN_DELAY_MS: "0",
      CT_DRAIN_TIMEOUT_MS: "0",
    },
    stdio: ["ignore", output, "ignore", "ipc"],
  });
  atEnd(() => void child.kill("SIGKILL"));
  const [ready] = (await once(child, "message")) as [Omit<Started, "child">];
  return { child, httpPort: ready.httpPort, statusPort: ready.statusPort };
}

async function ask(port: number, request: string, until: string): Promise<RawSocket> {
  const client = await connectRaw(port);
  client.write(request);
  await client.has(until);
  return client;
}

const lines = (): Promise<string> => readFile(join(folder, "access.log"), "utf8");

test("a graceful stop loses no log line, not even that of an open tunnel", async () => {
  const { child, httpPort } = await startBalancer();
  await ask(
    httpPort,
    "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "hello",
  );
  await ask(httpPort, "GET /last HTTP/1.1\r\nHost: h\r\n\r\n", "fine");
  const exited = once(child, "exit");
  child.kill("SIGTERM");
  await exited;
  expect(await lines()).toMatch(/"GET \/last HTTP\/1\.1" 200 4 /);
  expect(await lines()).toMatch(/"GET \/ws HTTP\/1\.1" 101 5 /);
});

test("SIGHUP reopens the log files", async () => {
  const { child, httpPort } = await startBalancer();
  await ask(httpPort, "GET /one HTTP/1.1\r\nHost: h\r\n\r\n", "fine");
  await expect.poll(lines).toContain("GET /one ");
  await rename(join(folder, "access.log"), join(folder, "access.log.1"));
  child.kill("SIGHUP");
  await expect.poll(() => lines().catch(() => "not there")).toBe("");
  await ask(httpPort, "GET /two HTTP/1.1\r\nHost: h\r\n\r\n", "fine");
  await expect.poll(lines).toContain("GET /two ");
});

test.runIf(existsSync("/dev/full"))(
  "a full disk behind standard output costs log lines, which are counted, but no request",
  async () => {
    const full = openSync("/dev/full", "w");
    atEnd(() => closeSync(full));
    const { child, httpPort, statusPort } = await startBalancer(full);
    await ask(httpPort, "GET /one HTTP/1.1\r\nHost: h\r\n\r\n", "fine");
    child.kill("SIGHUP");
    const metrics = async (): Promise<string> =>
      (await fetch(`http://127.0.0.1:${statusPort}/metrics`)).text();
    await expect.poll(metrics).toMatch(/^codetogether_log_lines_dropped_total [1-9]/m);
    await ask(httpPort, "GET /two HTTP/1.1\r\nHost: h\r\n\r\n", "fine");
    await expect.poll(lines).toContain("GET /two ");
  },
);

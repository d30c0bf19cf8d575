import { existsSync, readFileSync, renameSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { createTrustedProxies } from "../../../balancer/http1/forwarding.ts";
import { createRequestLog } from "../../../balancer/logs/request-log.ts";
import { systemClock } from "../../../shared/base/clock.ts";
import { createCounters } from "../../../shared/metrics/metrics.ts";
import { request } from "../../conformance/case.ts";
import { atEnd } from "../../support/at-end.ts";
import { silentLog } from "../../support/logs.ts";
import { createStepClock } from "../../support/step-clock.ts";
import { tempFolder } from "../../support/temp-folder.ts";
import {
  ok,
  type RawWorker,
  type Rig,
  type RigOptions,
  startRawWorker,
  startRig,
  startSimpleWorker,
  workerRecord,
} from "../rig.ts";

let folder: string;

beforeEach(() => {
  folder = tempFolder();
});

function rigWith(worker: RawWorker, options: RigOptions = {}): Promise<Rig> {
  return startRig({ ...options, logDir: folder, workers: [workerRecord("w1", worker.port)] });
}

/** The requests of access.log so far, as `"request line" status bytes`. */
function logged(): string[] {
  const text = readFileSync(join(folder, "access.log"), "utf8");
  return text
    .split("\n")
    .slice(0, -1)
    .map((line) => / \[[^\]]+\] (".*" \d+ \d+) "/.exec(line)?.[1] ?? line);
}

function errors(): string {
  return readFileSync(join(folder, "error.log"), "utf8");
}

describe("each request has exactly one line", () => {
  test("pipelined requests on one connection have one line each", async () => {
    const rig = await rigWith(await startSimpleWorker((_head, index) => ok("x".repeat(index))));
    await rig.ask(
      [request("GET /0"), request("HEAD /1"), "GET http://h/2?q HTTP/1.0\r\nHost: h\r\n\r\n"].join(
        "",
      ),
    );
    await expect
      .poll(logged)
      .toEqual([
        '"GET /0 HTTP/1.1" 200 0',
        '"HEAD /1 HTTP/1.1" 200 0',
        '"GET http://h/2?q HTTP/1.0" 200 2',
      ]);
  });

  test("a line has the bytes of the response body, for any framing", async () => {
    const rig = await rigWith(
      await startSimpleWorker((head) =>
        head.includes("/chunks")
          ? "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
          : ok("y".repeat(100_000)),
      ),
    );
    await rig.ask(request("GET /long", "Connection: close"));
    // As nginx counts: what was sent behind the head, chunk framing included.
    await rig.ask(request("GET /chunks", "Connection: close"));
    await rig.ask("GET /chunks HTTP/1.0\r\n\r\n");
    await expect
      .poll(logged)
      .toEqual([
        '"GET /long HTTP/1.1" 200 100000',
        '"GET /chunks HTTP/1.1" 200 15',
        '"GET /chunks HTTP/1.0" 200 5',
      ]);
  });

  test("a request that cannot be parsed has a line", async () => {
    const rig = await rigWith(await startSimpleWorker(() => ok("")));
    await rig.ask('GET /a"b HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n');
    await rig.ask("\x16\x03\x01\n");
    await rig.ask(`GET /${"x".repeat(9000)} HTTP/1.1\r\n\r\n`);
    await expect.poll(() => logged().length).toBe(3);
    const [twoHosts, tls, long] = logged();
    expect(twoHosts).toMatch(/^"GET \/a\\x22b HTTP\/1\.1" 400 \d+$/);
    expect(tls).toMatch(/^"\\x16\\x03\\x01" 400 \d+$/);
    expect(long).toMatch(/^"GET \/x{1019}\.\.\." 414 \d+$/);
    await expect
      .poll(errors)
      .toMatch(/ \[info\] .*two Host fields, client: 127\.0\.0\.1, .*\n.* \[info\] /);
  });

  test("a request that is too slow has a line, and a connection without a request has none", async () => {
    const rig = await rigWith(await startSimpleWorker(() => ok("")), {
      limits: { headerTimeoutMs: 150 },
    });
    const silent = await rig.client();
    const slow = await rig.send("GET /slow HTTP/1.1\r\nHo");
    await slow.end();
    await silent.end();
    await expect.poll(logged).toEqual([expect.stringMatching(/^"GET \/slow HTTP\/1\.1" 408 \d+$/)]);
  });

  test("a request whose client disconnects has status 499 before the response, and the sent bytes after", async () => {
    const worker = await startRawWorker((socket) => {
      if (socket.text.includes("/half")) {
        socket.text = "";
        socket.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
      }
    });
    const rig = await rigWith(worker);
    const before = await rig.send(request("GET /before"));
    await (await worker.connection(0)).has("/before");
    before.socket.resetAndDestroy();
    await expect.poll(logged).toEqual(['"GET /before HTTP/1.1" 499 0']);
    const within = await rig.send(request("GET /half"));
    await within.has("half");
    within.socket.resetAndDestroy();
    await expect.poll(logged).toContain('"GET /half HTTP/1.1" 200 4');
  });

  test("a request that its worker fails has a line in both logs", async () => {
    const worker = await startRawWorker((socket) => {
      const half = socket.text.includes("/half");
      socket.text = "";
      socket.write(
        half ? "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf" : "nonsense\r\n\r\n",
      );
      socket.socket.end();
    });
    const rig = await rigWith(worker);
    await rig.ask(request("POST /half", "Content-Length: 0"));
    await rig.ask(request("POST /bad", "Content-Length: 0", "Connection: close"));
    await expect
      .poll(logged)
      .toEqual([
        '"POST /half HTTP/1.1" 200 4',
        expect.stringMatching(/^"POST \/bad HTTP\/1\.1" 502 \d+$/),
      ]);
    await expect
      .poll(errors)
      .toMatch(/ \[error\] .*request: "POST \/half .* \[error\] .*"POST \/bad /s);
    expect(errors()).toContain(`upstream: "http://127.0.0.1:${worker.port}/"`);
  });

  test("a tunnel has a line at its end, with the bytes sent to the client", async () => {
    const worker = await startRawWorker((socket) => {
      if (socket.takeHead() === undefined) return;
      socket.write(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
          "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nfirst",
      );
    });
    const rig = await rigWith(worker);
    const client = await rig.send(
      "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    await client.has("first");
    (await worker.connection(0)).write("and more");
    await client.has("and more");
    expect(logged()).toEqual([]);
    client.socket.destroy();
    (await worker.connection(0)).socket.destroy();
    await expect.poll(logged).toEqual(['"GET /ws HTTP/1.1" 101 13']);
  });
});

test("reopening the logs creates new files after they were renamed", async () => {
  const rig = await rigWith(await startSimpleWorker(() => ok("")));
  const get = (path: string): Promise<string> =>
    rig.ask(request(`GET ${path}`, "Connection: close"));
  await get("/one");
  await expect.poll(logged).toEqual(['"GET /one HTTP/1.1" 200 0']);
  renameSync(join(folder, "access.log"), join(folder, "access.log.1"));
  rig.requestLog.reopen();
  await get("/two");
  await expect.poll(logged).toEqual(['"GET /two HTTP/1.1" 200 0']);
});

test.runIf(existsSync("/dev/full"))(
  "a full disk costs lines, which are counted, and no request",
  async () => {
    symlinkSync("/dev/full", join(folder, "access.log"));
    symlinkSync("/dev/full", join(folder, "error.log"));
    const rig = await rigWith(await startSimpleWorker(() => ok("fine")));
    for (let i = 0; i < 5; i++) {
      const answer = await rig.ask(request("GET /", "Connection: close"));
      expect(answer).toContain("fine");
    }
    expect(await rig.ask("nonsense\r\n\r\n")).toMatch(/^HTTP\/1\.1 400 /);
    // Six of access.log, one of error.log.
    await expect.poll(() => rig.counters.value("log.lines_dropped"), { timeout: 15_000 }).toBe(7);
  },
);

test("a log folder that cannot be written is a SettingError", () => {
  const limits = { maxBytes: 65_536, maxFiles: 2 };
  const deps = {
    trusted: createTrustedProxies([]),
    clock: systemClock,
    log: silentLog(),
    counters: createCounters(),
  };
  expect(() => createRequestLog({ ...deps, files: { folder: "/proc/nowhere", limits } })).toThrow(
    "CT_LOG_DIR=/proc/nowhere: access.log and error.log cannot be written there",
  );
});

test("a flush passes the lines that wait to the store's stream, in order", () => {
  const lines: string[] = [];
  const clock = createStepClock();
  const log = silentLog();
  const requestLog = createRequestLog({
    files: undefined,
    streams: {
      access: { hasRoom: () => true, write: (line) => lines.push(line), async close() {} },
      error: undefined,
    },
    trusted: createTrustedProxies([]),
    clock,
    log,
    counters: createCounters(),
  });
  atEnd(() => requestLog.close());
  const serve = (bodyBytes: number): void =>
    requestLog.served({
      peerAddress: "192.0.2.1",
      requestLine: "GET / HTTP/1.1",
      head: undefined,
      status: 200,
      bodyBytes,
    });
  for (let i = 0; i < 70; i++) serve(i);
  expect(lines).toHaveLength(64);
  requestLog.flush();
  serve(70);
  clock.advance(100);
  expect(lines.map((line) => Number(/ 200 (\d+) /.exec(line)?.[1]))).toEqual(
    Array.from({ length: 71 }, (_, i) => i),
  );
});

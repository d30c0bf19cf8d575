/**
 * How the edge stops, and how it refuses to start: nothing stays behind, and the terminal says what to do.
 */
import { createPrivateKey } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { makeCertificate } from "../support/certificates.ts";
import {
  type EdgeProcess,
  type FailedStart,
  startEdge,
  startEdgeInVain,
} from "../support/edge-process.ts";
import { openSession, person } from "../support/people.ts";
import { freePort, holdPort } from "../support/ports.ts";
import { type ProcessId, stillRunning } from "../support/processes.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { until } from "../support/until.ts";

/** What the README promises for Ctrl-C and for a kill. */
const STOP_MS = 3000;

describe("a running edge", () => {
  test.each(["SIGINT", "SIGTERM"] as const)(
    "a running edge ends within 3 s at %s, with people at work and requests that wait",
    async (signal) => {
      const edge = await startEdge();
      const { sessionId, host } = await openSession({ baseUrl: edge.httpUrl, guestCount: 2 });
      await waitingSignIn(edge);
      await waitingJoin(edge, sessionId, host);
      const processes = edge.descendants();
      expect(processes.length).toBeGreaterThanOrEqual(3);

      const exit = await edge.stop(signal);

      expect(exit.status).toBe(0);
      expect(exit.tookMs).toBeLessThan(STOP_MS);
      expect(stillRunning(processes)).toEqual([]);
    },
  );

  test("a running edge leaves no process behind when it is killed", async () => {
    const edge = await startEdge();
    await openSession({ baseUrl: edge.httpUrl, guestCount: 1 });
    const processes = edge.descendants();

    await edge.kill();

    await expectGone(processes);
  });

  test("a running edge frees its ports when it ends, so that it can be started again at once", async () => {
    const edge = await startEdge();
    await edge.stop();
    const again = await edge.startAgain();
    expect(again.httpPort).toBe(edge.httpPort);
    expect(again.tlsPort).toBe(edge.tlsPort);
  });
});

describe("an edge started with npm start", () => {
  test("an edge started with npm start ends within 3 s when Ctrl-C is pressed in its terminal", async () => {
    const edge = await startEdge({ by: "npm start" });
    const processes = edge.descendants();

    const exit = await edge.pressCtrlC();

    expect(exit.tookMs).toBeLessThan(STOP_MS);
    await expectGone(processes);
  });

  test("an edge started with npm start ends when npm is killed", async () => {
    const edge = await startEdge({ by: "npm start" });
    const processes = edge.descendants();
    await edge.kill();
    await expectGone(processes);
  });

  test("an edge started with npm start ends when npm's shell is killed", async () => {
    const edge = await startEdge({ by: "npm start" });
    const processes = edge.descendants();
    const shell = processes.find(({ name }) => /^(sh|bash|dash)$/.test(name));
    // A shell that replaces itself by its last command leaves npm and the edge alone, and nothing to kill.
    process.kill(shell?.pid ?? edge.pid, "SIGKILL");
    await expectGone(processes);
    await edge.ended();
  });

  test("an edge started with npm start takes settings as flags", async () => {
    const args = ["--worker-count", "3"];
    const edge = await startEdge({ by: "npm start", args });
    expect(edge.readFile().workers.map((worker) => worker.id)).toEqual([
      "worker-1",
      "worker-2",
      "worker-3",
    ]);
  });
});

describe("an edge that cannot start says so in one line and ends", () => {
  test("an edge does not start when it runs already in the same data directory, where it goes on undisturbed", async () => {
    const edge = await startEdge();
    const { host, guests } = await openSession({ baseUrl: edge.httpUrl, guestCount: 1 });

    const failed = await startEdgeInVain({ dataDir: edge.dataDir });

    expectOneLine(failed, [/CT_DATA_DIR/, edge.dataDir]);
    expect(await guests[0]?.read(host.id, "src/main.ts")).toBe("Host:src/main.ts");
    expect(host.reconnectCount).toBe(0);
  });

  test.each(["CT_PORT", "CT_TLS_PORT", "CT_WORKER_PORT"])(
    "an edge does not start when the port of %s belongs to another program",
    async (setting) => {
      const held = await holdPort();
      // The worker's status port would follow its own; any free one does.
      const env = { [setting]: String(held.port), CT_WORKER_COUNT: "1" };

      const failed = await startEdgeInVain({ env });

      expectOneLine(failed, [setting, String(held.port)]);
    },
  );

  test("an edge does not start when the port of the second worker belongs to another program", async () => {
    const first = await freePort();
    const held = await holdPort(first + 1);
    const env = { CT_WORKER_PORT: String(first), CT_WORKER_COUNT: "2" };

    const failed = await startEdgeInVain({ env });

    expectOneLine(failed, ["CT_WORKER_PORT", String(held.port)]);
  });

  test("an edge does not start when the certificate is missing", async () => {
    const folder = tempFolder();
    const cert = join(folder, "cert.pem");
    const env = { CT_TLS_CERT: cert, CT_TLS_KEY: join(folder, "key.pem") };

    const failed = await startEdgeInVain({ env });

    expectOneLine(failed, [/CT_TLS_(CERT|KEY)/, folder]);
  });

  test("an edge does not start when the key of the certificate has a passphrase", async () => {
    const folder = tempFolder();
    const made = await makeCertificate({ names: ["edge.example"] });
    const env = { CT_TLS_CERT: join(folder, "cert.pem"), CT_TLS_KEY: join(folder, "key.pem") };
    writeFileSync(env.CT_TLS_CERT, made.cert);
    const how = { format: "pem", cipher: "aes-256-cbc", passphrase: "canary" } as const;
    const locked = createPrivateKey(made.key).export({ type: "pkcs8", ...how });
    writeFileSync(env.CT_TLS_KEY, locked);

    const failed = await startEdgeInVain({ env });

    expectOneLine(failed, ["CT_TLS_KEY", "passphrase", "openssl pkey -in"]);
  });

  test("an edge does not start when the certificate is given without its key", async () => {
    const failed = await startEdgeInVain({ env: { CT_TLS_CERT: "/etc/hostname" } });
    expectOneLine(failed, ["CT_TLS_CERT", "CT_TLS_KEY"]);
  });

  test.each([
    { setting: "CT_PORT", value: "eighty", allowed: "from 0 to 65535" },
    { setting: "CT_WORKER_COUNT", value: "0", allowed: "from 1 to 64" },
    { setting: "CT_LOG_LEVEL", value: "loud", allowed: "debug, info, warn, error" },
    { setting: "CT_SERVER_URL", value: "http://edge.example.com", allowed: "https" },
  ])("an edge does not start when $setting is $value", async ({ setting, value, allowed }) => {
    const failed = await startEdgeInVain({ env: { [setting]: value } });
    expectOneLine(failed, [setting, value, allowed]);
  });

  test("an edge does not start when a flag has a bad value", async () => {
    const failed = await startEdgeInVain({ args: ["--port", "70000"] });
    expectOneLine(failed, ["--port", "70000", "from 0 to 65535"]);
  });

  test("an edge does not start when the secret is too short, and does not show it", async () => {
    const failed = await startEdgeInVain({ env: { CT_SECRET: "hunter2" } });
    expectOneLine(failed, ["CT_SECRET", "at least 32 characters"]);
    expect(failed.stderr + failed.stdout).not.toContain("hunter2");
  });
});

// --- arrangements ---

/** Somebody whose sign-in form is open: the server holds a poll. */
async function waitingSignIn(edge: EdgeProcess): Promise<void> {
  let formOpen = false;
  const client = person({
    baseUrl: edge.httpUrl,
    name: "Slow",
    beforeSignIn: () => {
      formOpen = true;
      return new Promise(() => {});
    },
  });
  client.login().catch(() => {});
  await until("the form is open", () => formOpen);
}

/** Somebody whose join request the host does not answer: the server holds a poll. */
async function waitingJoin(
  edge: EdgeProcess,
  sessionId: string,
  host: Awaited<ReturnType<typeof openSession>>["host"],
): Promise<void> {
  const asked = host.joinRequests.length;
  host.decide = () => "never answer";
  const client = person({ baseUrl: edge.httpUrl, name: "Patient" });
  await client.login();
  client.join(sessionId).catch(() => {});
  await until("the host is asked", () => host.joinRequests.length > asked);
}

async function expectGone(processes: readonly ProcessId[]): Promise<void> {
  expect(processes.length).toBeGreaterThanOrEqual(3);
  const gone = () => stillRunning(processes).length === 0;
  await until("no process of the edge is left", gone, STOP_MS).catch((error: unknown) => {
    throw new Error(`left: ${JSON.stringify(stillRunning(processes))}`, { cause: error });
  });
}

/** One line on standard error that holds each of `parts`, no summary, a bad status, no process left. */
function expectOneLine(failed: FailedStart, parts: readonly (string | RegExp)[]): void {
  expect(failed.exit.status).not.toBe(0);
  expect(failed.exit.signal).toBeNull();
  expect(failed.stderr.trimEnd().split("\n")).toHaveLength(1);
  for (const part of parts) expect(failed.stderr).toMatch(part);
  expect(failed.stdout).not.toContain("services now available");
  expect(failed.left).toEqual([]);
}

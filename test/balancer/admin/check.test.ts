import { execFile } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, beforeEach, expect, test } from "vitest";
import { checkSettings } from "../../../balancer/admin/check.ts";
import { readSettings } from "../../../shared/settings/read-settings.ts";
import { buildOnce } from "../../support/build.ts";
import { makeCertificate } from "../../support/certificates.ts";
import { freePort, holdPort, loopbacks } from "../../support/ports.ts";
import { tempFolder } from "../../support/temp-folder.ts";

beforeAll(() => buildOnce());

let folder: string;

beforeEach(async () => {
  folder = tempFolder();
});

const BASE = {
  CT_WORKERS: "127.0.0.1:3001,127.0.0.1:3002",
  CT_BIND: "127.0.0.1",
  CT_PORT: "0",
  CT_TLS_PORT: "0",
};
const NOW_MS = Date.now();

function check(env: Record<string, string>, base: Record<string, string> = BASE) {
  const all = { ...base, ...env };
  const settings = readSettings({ role: "balancer", env: all });
  return checkSettings(settings, { env: all, nowMs: NOW_MS, statusPort: 0 });
}

async function certificateFor(days: number): Promise<{ CT_TLS_CERT: string; CT_TLS_KEY: string }> {
  const until = new Date(NOW_MS + days * 86_400_000);
  const made = await makeCertificate({ names: ["edge.example"], until });
  const files = { CT_TLS_CERT: join(folder, "cert.pem"), CT_TLS_KEY: join(folder, "key.pem") };
  await writeFile(files.CT_TLS_CERT, made.cert);
  await writeFile(files.CT_TLS_KEY, made.key);
  return files;
}

test("check shows the effective settings, without secrets", async () => {
  const secret = "canary-0123456789-0123456789-0123456789";
  const { lines, problems, warnings } = await check({ CT_SECRET: secret, CT_LOG_DIR: folder });
  const text = lines.join("\n");
  expect(problems).toEqual([]);
  expect(warnings).toEqual([]);
  expect(text).toMatch(/CT_WORKERS +127\.0\.0\.1:3001,127\.0\.0\.1:3002/);
  expect(text).toMatch(/CT_SECRET +\(set\)/);
  expect(text).toMatch(/workers +2, fixed; ring [0-9a-f]{16}/);
  expect(text).toMatch(/client connections +\d+ \(\d+ descriptors\)/);
  expect(text).toContain(folder);
  expect(text).not.toContain("canary");
});

test("check tries the status port of each process, and warns of more processes than cores", async () => {
  const port = await freePort();
  const held = await holdPort(port + 1);
  const settings = readSettings({ role: "balancer", env: { ...BASE, CT_PROCESSES: "64" } });
  const deps = { env: {}, nowMs: NOW_MS, statusPort: port };
  const two = await checkSettings({ ...settings, processes: 2, logDir: folder }, deps);
  const many = await checkSettings({ ...settings, statusPort: 0 }, { ...deps, statusPort: 0 });
  await held.release();
  const text = two.lines.join("\n");
  expect(text).toMatch(new RegExp(`CT_STATUS_PORT 127\\.0\\.0\\.1:${port} +free`));
  expect(text).toMatch(new RegExp(`CT_STATUS_PORT 127\\.0\\.0\\.1:${port + 1} +in use now`));
  expect(text).toMatch(/access-1\.log, error-1\.log, … +\//);
  expect(many.warnings).toEqual([
    expect.stringMatching(/^CT_PROCESSES=64 is more than the \d+ cores/),
  ]);
});

test("check reports a TLS key with a passphrase as such", async () => {
  const files = await certificateFor(100);
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const how = { format: "pem", cipher: "aes-256-cbc", passphrase: "canary" } as const;
  await writeFile(files.CT_TLS_KEY, privateKey.export({ type: "pkcs8", ...how }));
  const { problems } = await check(files);
  expect(problems).toEqual([expect.stringMatching(/^CT_TLS_KEY=.*protected by a passphrase/)]);
});

test("check shows certificates with their names and their expiry", async () => {
  const good = await check(await certificateFor(100));
  expect(good.lines.join("\n")).toMatch(/cert\.pem +DNS:edge\.example, until .* \(\d+ days\)/);
  expect(good.warnings).toEqual([]);
  const soon = await check(await certificateFor(5));
  expect(soon.warnings).toEqual([expect.stringMatching(/cert\.pem expires in [45] days$/)]);
  const late = await check(await certificateFor(-1));
  expect(late.warnings).toEqual([expect.stringMatching(/cert\.pem has expired$/)]);
  expect(late.problems).toEqual([]);
});

test("check reports two settings with the same port", async () => {
  const port = await freePort();
  const env = { ...(await certificateFor(100)), CT_PORT: `${port}`, CT_TLS_PORT: `${port}` };
  expect((await check(env)).problems).toEqual([
    `CT_TLS_PORT=${port}: CT_PORT is the same port; set one of them to another`,
  ]);
});

test("check shows that the status port is on every address when the store is on another machine", async () => {
  const { CT_WORKERS: _, ...base } = BASE;
  const env = { CT_SECRET: "s".repeat(32), CT_REDIS_URL: "redis://store.example:6379" };
  expect((await check(env, base)).lines.join("\n")).toContain("CT_STATUS_PORT 0.0.0.0:0");
  expect((await check({})).lines.join("\n")).toContain("CT_STATUS_PORT 127.0.0.1:0");
});

test("check shows the addresses on which a start would open the public ports", async () => {
  const { CT_BIND: _, ...base } = BASE;
  const everywhere = loopbacks().length > 1 ? "[::]" : "0.0.0.0";
  const shown = async (env: Record<string, string>) => (await check(env, base)).lines.join("\n");
  expect(await shown({})).toContain(`CT_PORT ${everywhere}:0`);
  expect(await shown(await certificateFor(100))).toContain(`CT_TLS_PORT ${everywhere}:0`);
  expect(await shown({ CT_BIND: "0.0.0.0" })).toContain("CT_PORT 0.0.0.0:0");
  const port = await freePort();
  const same = { ...(await certificateFor(100)), CT_PORT: `${port}`, CT_TLS_PORT: `${port}` };
  expect((await check(same, base)).problems).toEqual([
    `CT_TLS_PORT=${port}: CT_PORT is the same port; set one of them to another`,
  ]);
});

test("check reports all problems, each with its setting", async () => {
  const { problems } = await check({
    CT_WORKERS: "127.0.0.1:3001,127.0.0.1:3001",
    CT_TLS_CERT: join(folder, "missing.pem"),
    CT_TLS_KEY: join(folder, "missing.pem"),
    CT_TRUSTED_PROXIES: "10.0.0.0/40",
    CT_LOG_DIR: join(folder, "a", "b"),
    CT_BIND: "203.0.113.1",
  });
  expect(problems).toEqual([
    expect.stringMatching(/^CT_TRUSTED_PROXIES="10\.0\.0\.0\/40" is not allowed/),
    expect.stringMatching(/^CT_TLS_CERT=.*missing\.pem: it cannot be read/),
    expect.stringMatching(/^CT_WORKERS names 127\.0\.0\.1:3001 twice/),
    expect.stringMatching(/^CT_LOG_DIR=.*cannot be written there/),
    expect.stringMatching(/^CT_PORT=0: .*EADDRNOTAVAIL/),
    expect.stringMatching(/^CT_TLS_PORT=0: .*EADDRNOTAVAIL/),
  ]);
});

test("check accepts a port in use: it may be the running balancer's own", async () => {
  const held = await holdPort();
  try {
    const { lines, problems } = await check({ CT_PORT: String(held.port) });
    expect(problems).toEqual([]);
    expect(lines.join("\n")).toContain(`CT_PORT 127.0.0.1:${held.port}`);
    expect(lines.join("\n")).toContain("in use now");
  } finally {
    await held.release();
  }
});

test("check reports missing workers and unknown settings", async () => {
  const noWorkers = await check({ CT_SECRET: "x".repeat(32), CT_NONSENSE: "1" }, {});
  expect(noWorkers.problems).toContain(
    "neither CT_WORKERS nor CT_REDIS_URL is set; a balancer needs one of them",
  );
  expect(noWorkers.warnings).toEqual(["CT_NONSENSE is not a setting of this program"]);
});

const PROGRAM = fileURLToPath(new URL("../../../dist/balancer/main.js", import.meta.url));

function run(args: readonly string[]): Promise<{ status: number; out: string; err: string }> {
  const env = { PATH: process.env["PATH"] ?? "", ...BASE, CT_STATUS_PORT: "0" };
  return new Promise((resolve) => {
    execFile(process.execPath, [PROGRAM, ...args], { env }, (error, out, err) => {
      resolve({ status: error === null ? 0 : Number(error.code), out, err });
    });
  });
}

test("the check command exits with 0, or with 1 and a line for each problem", async () => {
  const good = await run(["check", "--trusted-proxies", "10.0.0.0/8"]);
  expect(good).toMatchObject({ status: 0, err: "" });
  expect(good.out).toMatch(/^ct-balancer [\d.]+ would use\n/);
  expect(good.out).toMatch(/CT_TRUSTED_PROXIES +10\.0\.0\.0\/8\n/);
  const bad = await run(["check", "--workers", "127.0.0.1:1,127.0.0.1:1"]);
  expect(bad).toMatchObject({
    status: 1,
    err: "CT_WORKERS names 127.0.0.1:1 twice; name each worker once\n",
  });
  const unreadable = await run(["check", "--max-head-bytes", "none"]);
  expect(unreadable.status).toBe(1);
  expect(unreadable.err).toMatch(/^--max-head-bytes="none" is not allowed; use a whole number /);
  const removed = await run(["check", "--max-fields", "100"]);
  expect(removed.status).toBe(1);
  expect(removed.err).toMatch(/^--max-fields is no longer a setting\. Remove it: /);
});

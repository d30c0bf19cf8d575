/**
 * The Debian package in a throw-away copy of the machine with a systemd of its own: installed, stopped, upgraded, removed and
 * purged as operators do it, while people work with unmodified clients.
 */
import { mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, type TestContext, test } from "vitest";
import { packDeb } from "../../deploy/package/deb.ts";
import { readProduct } from "../../deploy/package/product.ts";
import { buildOnce } from "../support/build.ts";
import { everybodyHears, openSession } from "../support/people.ts";
import { freePort } from "../support/ports.ts";
import { startRedis, type TestRedis } from "../support/redis.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { until } from "../support/until.ts";
import { openBox, provideNode, type SystemdBox } from "./systemd-box.ts";

const NAME = "codetogether-edge";
const SETTINGS = `/etc/${NAME}/edge.env`;
const work = tempFolder();

let box: SystemdBox | string = "it was not started";
let port = 0;
let redis: TestRedis | undefined;

beforeAll(async () => {
  await buildOnce();
  box = await openBox();
  if (typeof box === "string") return;
  const epoch = Math.floor(Date.now() / 1000);
  packDeb(readProduct(), { work: join(work, "work"), out: work, base: NAME, epoch });
  await provideNode(box);
  // As a tool that sets machines up does: the settings come before the package. Their ports are free ones.
  port = await freePort();
  const ports = `CT_PORT=${port}\nCT_TLS_PORT=${await freePort()}\nCT_STATUS_PORT=${await freePort()}\n`;
  const own = "CT_WORKER_PORT=0\nCT_WARM_UP_MS=0\n";
  const shipped = readFileSync(join(import.meta.dirname, "../../deploy/package/edge.env"), "utf8");
  mkdirSync(box.path(`/etc/${NAME}`));
  writeFileSync(box.path(SETTINGS), shipped + ports + own);
  writeFileSync(box.path("/tmp/edge.deb"), readFileSync(join(work, `${NAME}.deb`)));
}, 120_000);

afterAll(async () => {
  if (typeof box !== "string") await box.close();
});

/** The tests build on each other, in this order. Skips a test where there is no box. */
function theBox(context: TestContext): SystemdBox {
  if (typeof box !== "string") return box;
  process.stderr.write(`NOT TESTED HERE: the Debian package: ${box}\n`);
  return context.skip(box);
}

const baseUrl = (): string => `http://127.0.0.1:${port}`;

function install(at: SystemdBox): Promise<string> {
  return at.read("dpkg", "--force-confold", "-i", "/tmp/edge.deb");
}

/** Properties of a unit, as `systemctl show` prints them. */
async function show(at: SystemdBox, unit: string): Promise<Record<string, string>> {
  const lines = (await at.read("systemctl", "show", unit)).split("\n");
  return Object.fromEntries(lines.map((line) => line.split(/=(.*)/s).slice(0, 2)));
}

test("the installed service is ready when dpkg returns, and runs as a user of its own with a secret that no other user reads", async (context) => {
  const at = theBox(context);
  await install(at);
  const unit = await show(at, "ct-edge");
  expect(unit).toMatchObject({
    ActiveState: "active",
    SubState: "running",
    UnitFileState: "enabled",
    StatusText: expect.stringContaining(`available on port ${port} (HTTP)`) as string,
  });
  const response = await fetch(`${baseUrl()}/api/meta`);
  expect(response.status).toBe(200);

  const status = readFileSync(at.path(`/proc/${unit["MainPID"]}/status`), "utf8");
  // No capability, no way to one, and a filter of system calls.
  expect(status).toMatch(/^CapBnd:\t0{16}\nCapAmb:\t0{16}\nNoNewPrivs:\t1\nSeccomp:\t2$/m);

  const secret = at.path(`/etc/${NAME}/secret`);
  expect(statSync(secret).mode & 0o777).toBe(0o640);
  expect(statSync(at.path(SETTINGS)).mode & 0o777).toBe(0o640);
  const list = await at.read("ps", "-eo", "user:32,args");
  const processes = list.split("\n").filter((line) => line.includes(`/usr/lib/${NAME}/`));
  expect(processes).toHaveLength(4);
  expect(processes.every((line) => line.startsWith(`${NAME} `))).toBe(true);
  expect(list).not.toContain(readFileSync(secret, "utf8").trim());
  expect(await at.read("ct-edge", "ps")).toContain("worker-2");
});

test("systemd finds nothing to complain about in the installed units", async (context) => {
  const at = theBox(context);
  const units = ["ct-edge.service", "ct-balancer.service", "ct-worker@3001.service"];
  expect(await at.read("systemd-analyze", "verify", "--man=no", ...units)).toBe("");
});

test("people are back in their session after the service was stopped and started, reloaded, and upgraded", async (context) => {
  const at = theBox(context);
  const { host, guests } = await openSession({ baseUrl: baseUrl(), guestCount: 1 });
  const everybody = [host, ...guests];
  const returned = async (what: string, change: () => Promise<unknown>): Promise<void> => {
    const before = everybody.map(({ servedMs }) => servedMs.length);
    await change();
    await until(
      `people are back after ${what}`,
      () => everybody.every(({ servedMs }, index) => servedMs.length > (before[index] ?? 0)),
      20_000,
    );
    await everybodyHears(host, guests, what);
  };
  await returned("a stop", async () => {
    await at.read("systemctl", "stop", "ct-edge");
    expect(await show(at, "ct-edge")).toMatchObject({ Result: "success", ExecMainStatus: "0" });
    await at.read("systemctl", "start", "ct-edge");
  });
  const { MainPID } = await show(at, "ct-edge");
  await at.read("systemctl", "reload", "ct-edge");
  expect(await show(at, "ct-edge")).toMatchObject({ MainPID, ActiveState: "active" });
  const secret = readFileSync(at.path(`/etc/${NAME}/secret`), "utf8");
  await returned("an upgrade", () => install(at));
  expect((await show(at, "ct-edge"))["MainPID"]).not.toBe(MainPID);
  expect(readFileSync(at.path(`/etc/${NAME}/secret`), "utf8")).toBe(secret);
  expect(host.joinRequests).toHaveLength(1);
}, 60_000);

test("a worker's unit that is stopped drains first, if need be for longer than its TimeoutStopSec, and nobody is disconnected", async (context) => {
  const at = theBox(context);
  redis = await startRedis({ port: true });
  const url = `redis://127.0.0.1:${redis.port}`;
  await at.read("systemctl", "disable", "--now", "ct-edge");
  writeFileSync(
    at.path(SETTINGS),
    `${readFileSync(at.path(SETTINGS), "utf8")}CT_REDIS_URL=${url}\nCT_LOGIN_SIMPLE=true\nCT_DRAIN_DELAY_MS=2000\nCT_DRAIN_TIMEOUT_MS=3000\n`,
  );
  const dropIn = at.path("/etc/systemd/system/ct-worker@.service.d");
  mkdirSync(dropIn, { recursive: true });
  writeFileSync(join(dropIn, "short.conf"), "[Service]\nTimeoutStopSec=1s\n");
  await at.read("systemctl", "daemon-reload");
  const workers = [await freePort(), await freePort()].map((at) => `ct-worker@${at}`);
  await at.read("systemctl", "start", "ct-balancer", ...workers);
  const { host, guests, sessionId } = await openSession({ baseUrl: baseUrl(), guestCount: 1 });
  await until("all are on WebSockets", () =>
    [host, ...guests].every(({ isOnWebSocket }) => isOnWebSocket),
  );
  const ownerOf = async (): Promise<string> => {
    const json = await at.read("ct-edge", "sessions", "--json", "--full", "--redis", url);
    const { sessions } = JSON.parse(json) as { sessions: { id: string; owner: string }[] };
    return sessions.find(({ id }) => id === sessionId)?.owner ?? "none";
  };
  const owner = await ownerOf();
  const unit = workers.find((name) => name.endsWith(owner.slice(owner.lastIndexOf("-") + 1))) ?? "";
  expect(workers).toContain(unit);

  await at.read("systemctl", "stop", "--no-block", unit);
  await until("the unit says that it stops", async () => {
    const { StatusText, ActiveState } = await show(at, unit);
    return StatusText === "stopping" && ActiveState === "deactivating";
  });
  await until("it has stopped", async () => (await show(at, unit))["ActiveState"] === "inactive");
  expect(await show(at, unit)).toMatchObject({ Result: "success", ExecMainStatus: "0" });
  await everybodyHears(host, guests, "the session has moved");
  expect(await ownerOf()).not.toBe(owner);
  expect([host, ...guests].map(({ lostMs }) => lostMs)).toEqual([[], []]);
}, 60_000);

test("a removal stops all services and keeps settings and data; a purge removes them and the user", async (context) => {
  const at = theBox(context);
  await at.read("dpkg", "--remove", NAME);
  const left = await at.read("ps", "-eo", "args");
  expect(left).not.toContain(`/usr/lib/${NAME}/`);
  const kept = [`/etc/${NAME}/secret`, SETTINGS, `/var/lib/${NAME}`, `/var/log/${NAME}/server.log`];
  await at.read("ls", "-d", ...kept);
  await at.read("dpkg", "--purge", NAME);
  const gone = await at.run("ls", "-d", `/etc/${NAME}`, `/var/lib/${NAME}`, `/var/log/${NAME}`);
  expect(gone.output.match(/No such file/g)).toHaveLength(3);
  expect(await at.run("getent", "passwd", NAME)).toEqual({ status: 2, output: "" });
  expect(await at.run("getent", "group", NAME)).toEqual({ status: 2, output: "" });
  expect(await at.read("find", "/etc/systemd/system", "-name", "ct-*.service")).toBe("");
});

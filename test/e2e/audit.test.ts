/** The audit log of real workers: what people did is in it, and `ct-edge audit` verifies and erases it. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { Verification } from "../../edge/audit/verify.ts";
import { findFiles } from "../../shared/audit/files.ts";
import { auditLines, keysOf, writeAuditLog } from "../support/audit.ts";
import { CLUSTER_SECRET, type Cluster, startCluster } from "../support/cluster.ts";
import { type CommandResult, runCommand } from "../support/command.ts";
import { person } from "../support/people.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { until } from "../support/until.ts";

interface Audited {
  readonly cluster: Cluster;
  readonly folder: string;
  readonly baseUrl: string;
  readonly run: (...args: readonly string[]) => Promise<CommandResult>;
  readonly verify: () => Promise<Verification>;
}

async function startAudited(
  env: Readonly<Record<string, string>> = {},
  folder = "",
): Promise<Audited> {
  const parent = tempFolder();
  const dir = folder || join(parent, "audit");
  const cluster = await startCluster({
    workers: 1,
    balancers: 1,
    env: { CT_AUDIT: "on", CT_AUDIT_DIR: dir, ...env },
  });
  const run = (...args: readonly string[]) =>
    runCommand(["audit", ...args], {
      CT_AUDIT_DIR: dir,
      CT_SECRET: CLUSTER_SECRET,
      CT_REDIS_URL: cluster.redisUrl,
    });
  return {
    cluster,
    folder: dir,
    baseUrl: cluster.balancers[0]?.url ?? "",
    run,
    async verify() {
      const { stdout, stderr } = await run("verify", "--json");
      if (stdout === "") throw new Error(stderr);
      return JSON.parse(stdout) as Verification;
    },
  };
}

const kindsIn = (folder: string) => auditLines(folder).map(({ kind }) => kind);

/** Ada hosts, and Grace joins. */
async function playSession(baseUrl: string): Promise<void> {
  const host = person({ baseUrl, name: "Ada" });
  const sessionId = await host.host();
  await person({ baseUrl, name: "Grace" }).join(sessionId);
}

test("what people do is in the audit log, which is verified, erased from, and verified again", async () => {
  const { cluster, folder, baseUrl, run } = await startAudited();
  await playSession(baseUrl);
  await until(
    "all is written",
    () => kindsIn(folder).filter((kind) => kind === "peer.joined").length === 2,
  );
  expect(kindsIn(folder)).toEqual(
    expect.arrayContaining([
      "audit.started",
      "sign-in",
      "session.created",
      "join.asked",
      "join.approved",
    ]),
  );
  expect(await run("verify")).toMatchObject({ status: 0, stderr: "" });

  expect(await run("erase", "Grace", "--dry-run")).toMatchObject({ status: 0, stderr: "" });
  expect(kindsIn(folder)).not.toContain("audit.erased");
  const erased = await run("erase", "Grace");
  expect(erased).toMatchObject({ status: 0, stderr: "" });
  expect(erased.stdout).toMatch(/recorded in audit-ct-edge-\S+\.jsonl\n$/);
  expect(kindsIn(folder)).toContain("audit.erased");
  const [first] = (await findFiles(folder)).filter(({ worker }) => worker === "worker-1");
  const text = () => readFileSync(first?.path ?? "", "utf8");
  expect(text()).not.toContain("Grace");
  expect(text()).toContain("Ada");

  await cluster.workers[0]?.stop();
  const fine = await run("verify");
  expect(fine).toMatchObject({ status: 0 });
  expect(fine.stdout).toContain("complete: the process has ended it");

  const whole = text();
  writeFileSync(first?.path ?? "", whole.replace("Ada", "Bob"));
  const changed = await run("verify");
  expect(changed.status).toBe(1);
  expect(changed.stdout).toMatch(
    /CHANGED worker-1, chain .*\n.*\.jsonl line \d+: this line was changed/,
  );
  writeFileSync(first?.path ?? "", whole);

  const [last] = (await findFiles(folder)).slice(-1);
  const lines = readFileSync(last?.path ?? "", "utf8").split("\n");
  writeFileSync(last?.path ?? "", `${lines.slice(0, -2).join("\n")}\n`);
  const cut = await run("verify");
  expect(cut.status).toBe(1);
  expect(cut.stdout).toContain("the end is cut off");
  expect((await run("verify", "--offline")).status).toBe(0);

  expect((await run("erase", "Nobody")).stderr).toContain("nobody called Nobody is in ");
}, 90_000);

test("a worker that is killed while it records leaves a log that is fine, and verify says up to where it is certain", async () => {
  const { cluster, folder, baseUrl, verify, run } = await startAudited();
  await until(
    "there is a checkpoint",
    async () => (await verify()).chains[0]?.certain !== undefined,
  );
  const [worker] = cluster.workers;
  const playing = Array.from({ length: 20 }, () => playSession(baseUrl).catch(() => {}));
  await until("it records", () => kindsIn(folder).length > 10);
  await worker?.kill();
  await Promise.all(playing);
  const [chain] = (await verify()).chains;
  expect(chain).toMatchObject({ isEnded: false, certain: { by: "its checkpoint in the store" } });
  expect(chain?.problem).toBeUndefined();
  const { certain, to } = chain ?? {};
  expect(certain?.seq).toBeLessThanOrEqual(to?.seq ?? 0);

  await cluster.addWorker({ env: { CT_WORKER_ID: "worker-1" } });
  await until(
    "the next chain has begun",
    () => kindsIn(folder).filter((kind) => kind === "audit.started").length === 2,
  );
  const { stdout, status } = await run("verify");
  expect(status).toBe(0);
  expect(stdout).toContain(`certain up to seq ${to?.seq} (`);
  expect(stdout).toContain(", by the start of the next chain (");
}, 90_000);

test("with CT_AUDIT_FAILURE=refuse nobody hosts while the log cannot be written, and reads why", async () => {
  const parent = tempFolder();
  const place = join(parent, "place");
  writeFileSync(place, "no folder");
  const { baseUrl, cluster, run } = await startAudited(
    { CT_AUDIT_FAILURE: "refuse" },
    join(place, "audit"),
  );
  const host = person({ baseUrl, name: "Ada" });
  await expect(host.host()).rejects.toThrow("This server cannot record what happens at the moment");
  expect(cluster.workers[0]?.output()).toContain("the audit log cannot be written");
  expect(await run("verify")).toMatchObject({ status: 2 });
  rmSync(place);
  mkdirSync(place);
  await until("sessions are created again", () =>
    person({ baseUrl, name: "Ada" })
      .host()
      .then(
        () => true,
        () => false,
      ),
  );
  // What was refused meanwhile, and what happened, waited.
  await until("all is written", () => kindsIn(join(place, "audit")).includes("session.created"));
  expect(kindsIn(join(place, "audit")).filter((kind) => kind === "sign-in").length).toBeGreaterThan(
    1,
  );
  expect(await run("verify")).toMatchObject({ status: 0 });
}, 90_000);

test("audit erase without its store says that its record has no checkpoint", async () => {
  const folder = tempFolder();
  await writeAuditLog(folder, 4, { keys: keysOf(CLUSTER_SECRET) });
  const env = {
    CT_AUDIT_DIR: folder,
    CT_SECRET: CLUSTER_SECRET,
    CT_REDIS_URL: "redis://127.0.0.1:1",
  };
  const erased = await runCommand(["audit", "erase", "Ada"], env);
  expect(erased.status).toBe(0);
  expect(erased.stdout).toContain("Ada: erased from 2 lines in 1 files");
  expect(erased.stderr).toMatch(
    /audit-ct-edge-\S+\.jsonl has no checkpoint in the store, so nobody would notice that it was deleted: the store cannot be reached/,
  );
  const [event] = auditLines(folder).filter(({ kind }) => kind === "audit.erased");
  expect(event?.["details"]).toEqual({ people: 1, lines: 2, files: 1, complete: true });
  expect(await runCommand(["audit", "verify", "--offline"], env)).toMatchObject({ status: 0 });
}, 60_000);

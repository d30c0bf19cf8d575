/** Audit logs for tests: written by the code of the worker, into a folder of the test. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { type Verification, type VerifyOptions, verifyFiles } from "../../edge/audit/verify.ts";
import type { ActivityEvent } from "../../shared/activity/event.ts";
import type { Checkpoint } from "../../shared/audit/checkpoint.ts";
import { findFiles } from "../../shared/audit/files.ts";
import { type AuditKeys, auditKeys } from "../../shared/audit/line.ts";
import { systemClock } from "../../shared/base/clock.ts";
import { createCounters } from "../../shared/metrics/metrics.ts";
import { createKeyring } from "../../shared/settings/keyring.ts";
import { AuditLog, type AuditLogDeps } from "../../worker/audit/audit-log.ts";
import { collectingLog } from "./logs.ts";

export const AUDIT_SECRET = "the secret with which the tests of the audit log sign";

export function keysOf(secret: string = AUDIT_SECRET, previous?: string): AuditKeys {
  return auditKeys(createKeyring({ secret, previous }).audit);
}

let nextId = 1;

/** Somebody has asked to join. */
export function auditEvent(name = "Ada", more: Partial<ActivityEvent> = {}): ActivityEvent {
  return {
    id: `event-${nextId++}`,
    kind: "join.asked",
    atMs: Date.now(),
    worker: "worker-1",
    session: "aB3xY9aB-0123456789abcdef",
    actor: {
      type: "user",
      id: `id-of-${name}`,
      name,
      email: `${name.toLowerCase()}@example.com`,
      way: "Company account",
      address: "192.0.2.7",
      client: "Visual Studio Code@1.99",
    },
    details: { rule: "everyone", guests: 3 },
    ...more,
  };
}

export interface TestAudit {
  readonly log: AuditLog;
  readonly lines: readonly string[];
  readonly counters: ReturnType<typeof createCounters>;
  /** Those that it has written, oldest first. */
  readonly checkpoints: Checkpoint[];
}

export function openAuditLog(folder: string, more: Partial<AuditLogDeps> = {}): TestAudit {
  const { log, lines } = collectingLog();
  const counters = createCounters();
  const checkpoints: Checkpoint[] = [];
  const worker = more.worker ?? "worker-1";
  const audit = new AuditLog({
    folder,
    worker,
    keys: keysOf(),
    days: 90,
    async onCheckpoint(position) {
      checkpoints.push({ ...position, worker });
      return true;
    },
    clock: systemClock,
    log,
    counters,
    ...more,
  });
  onTestFinished(() => audit.close());
  return { log: audit, lines, counters, checkpoints };
}

/** One chain, with so many events, to its end. Returns its checkpoint. */
export async function writeAuditLog(
  folder: string,
  events: number,
  more: Partial<AuditLogDeps> = {},
): Promise<Checkpoint> {
  const { log, checkpoints } = openAuditLog(folder, more);
  for (let n = 0; n < events; n++) {
    log.write(auditEvent(n % 2 === 0 ? "Ada" : "Grace"));
    // Each in a batch of its own, so that small files are rotated.
    if (more.maxFileBytes !== undefined) await log.flush();
  }
  await log.close();
  const last = checkpoints.at(-1);
  if (last === undefined) throw new Error("no checkpoint");
  return last;
}

/** What `ct-edge audit verify` finds in all files of the folder, by default without checkpoints. */
export async function verifyAudit(
  folder: string,
  more: Partial<VerifyOptions> = {},
): Promise<Verification> {
  const paths = (await findFiles(folder)).map(({ path }) => path);
  return verifyFiles(paths, {
    ...{ isFolder: true, hasAllWorkers: true, checkpoints: [], days: 90 },
    ...{ keys: keysOf(), wallMs: Date.now() },
    ...more,
  });
}

/** As `ct-edge audit verify --offline` says. */
export async function isAuditFine(folder: string): Promise<boolean> {
  return (await verifyAudit(folder)).isFine;
}

/** The path of the oldest file. */
export async function firstFile(folder: string): Promise<string> {
  const [file] = await findFiles(folder);
  if (file === undefined) throw new Error(`no audit log in ${folder}`);
  return file.path;
}

/** By name, in the order of their names. */
export function readAudit(folder: string): Record<string, string> {
  const names = readdirSync(folder).sort();
  return Object.fromEntries(names.map((name) => [name, readFileSync(join(folder, name), "utf8")]));
}

/** All lines, parsed. */
export function auditLines(folder: string): Record<string, unknown>[] {
  return Object.values(readAudit(folder)).flatMap((text) =>
    text
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as Record<string, unknown>),
  );
}

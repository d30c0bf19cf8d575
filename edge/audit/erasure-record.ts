/**
 * Records in the audit log that `ct-edge audit erase` has erased data. A command cannot write to the chain of a worker: each has one of
 * its own, in a file of its own beside the others, which is verified like them.
 */
import { createHash } from "node:crypto";
import { realpathSync } from "node:fs";
import { chown, stat } from "node:fs/promises";
import { hostname } from "node:os";
import { basename, resolve } from "node:path";
import type { Checkpoint } from "../../shared/audit/checkpoint.ts";
import { findFiles } from "../../shared/audit/files.ts";
import type { AuditKeys, Position } from "../../shared/audit/line.ts";
import type { Clock } from "../../shared/base/clock.ts";
import type { Sender } from "../../shared/control/command.ts";
import { createLog } from "../../shared/logs/log.ts";
import { createCounters } from "../../shared/metrics/metrics.ts";
import { AuditLog } from "../../worker/audit/audit-log.ts";
import { ignoreForbidden } from "./erase.ts";

/** What was erased, without naming anybody. */
export interface Erasure {
  readonly people: number;
  readonly lines: number;
  readonly files: number;
  /** Not, when a file could not be changed. */
  readonly isComplete: boolean;
}

export class NotRecordedError extends Error {}

const PREFIX = "ct-edge-";
const DIGEST_CHARS = 8;

/**
 * What chains of commands have as the name of their worker. It is another one for each folder: verifying one must not miss chains that
 * are in another one.
 */
export function commandWorker(folder: string): string {
  const digest = createHash("sha256")
    .update(`${hostname()}\n${realOf(folder)}`)
    .digest("hex");
  return PREFIX + digest.slice(0, DIGEST_CHARS);
}

export function isCommandWorker(worker: string): boolean {
  return worker.startsWith(PREFIX) && worker.length === PREFIX.length + DIGEST_CHARS;
}

function realOf(folder: string): string {
  try {
    return realpathSync(folder);
  } catch {
    return resolve(folder);
  }
}

export type ErasureRecord = Awaited<ReturnType<typeof openErasureRecord>>;

/** Begins the file: what cannot be recorded must not be erased. Rejects with `NotRecordedError`. */
export async function openErasureRecord(deps: {
  readonly folder: string;
  readonly keys: AuditKeys;
  readonly by: Sender;
  readonly clock: Clock;
}) {
  const { folder, keys, by, clock } = deps;
  const worker = commandWorker(folder);
  let end: Position | undefined;
  const audit = new AuditLog({
    ...{ folder, worker, keys, clock },
    // Workers delete old files.
    days: 0,
    async onCheckpoint(position) {
      end = position;
      return true;
    },
    // A failure becomes the message of the command.
    log: createLog({ name: "command", level: "error", format: "text", sink: { write() {} } }),
    counters: createCounters(),
  });

  async function written(work: Promise<void>): Promise<void> {
    await work;
    const { problem } = audit;
    if (problem === undefined) return;
    await audit.close();
    throw new NotRecordedError(problem);
  }

  await written(audit.flush());
  const path = (await findFiles(folder)).filter((file) => file.worker === worker).at(-1)?.path;
  if (path === undefined) throw new NotRecordedError(`${folder}: the file is gone`);
  await giveTo(folder, path);
  return {
    /** Its name, without the folder. */
    file: basename(path),
    /** Writes it, and ends the chain. Rejects with `NotRecordedError`. */
    async finish({ people, lines, files, isComplete }: Erasure): Promise<Checkpoint> {
      audit.write({
        kind: "audit.erased",
        atMs: clock.wallMs(),
        worker,
        actor: { type: "operator", ...by },
        details: { people, lines, files, complete: isComplete },
      });
      await written(audit.close());
      if (end === undefined) throw new NotRecordedError("nothing was written");
      return { ...end, worker };
    },
  };
}

/** Under another user, the workers of the folder could not read it. */
async function giveTo(folder: string, path: string): Promise<void> {
  const { uid, gid } = await stat(folder);
  await chown(path, uid, gid).catch(ignoreForbidden);
}

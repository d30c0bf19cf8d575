/**
 * A file in the data directory with the members and session owners that a balancer saw last, so that it can route when it
 * starts while its store is away. `encodeSnapshot` and `decodeSnapshot` are pure. The file is replaced atomically: a
 * reader finds the old one or the new one.
 *
 * Format: JSON, one value per line: a head, the workers, the owners, and an end with their counts. A process that can
 * write the file can redirect clients, so only its owner has access, and its content is validated like the store's.
 */
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import type { Clock } from "../../shared/base/clock.ts";
import { describeError, errorCode } from "../../shared/base/errors.ts";
import { workerIdSchema } from "../../shared/base/id-schemas.ts";
import { type SessionKey, toSessionKey, type WorkerId } from "../../shared/base/ids.ts";
import { parseJson, readJson } from "../../shared/base/json.ts";
import { startPeriodicTask } from "../../shared/base/periodic-task.ts";
import { replaceFile } from "../../shared/base/replace-file.ts";
import type { Log } from "../../shared/logs/log.ts";
import { prepareDataDir } from "../../shared/store/embedded/data-dir.ts";
import { parseMember, type WorkerRecord } from "../../shared/store/member.ts";
import { storeFileName } from "./store-files.ts";

export interface Snapshot {
  readonly workers: readonly WorkerRecord[];
  readonly owners: Iterable<SavedOwner>;
}

export type SavedOwner = readonly [
  SessionKey,
  { readonly worker: WorkerId; readonly epoch: number },
];

/** Maximum saved owners, the newest ones. For the others the ring leads to where most sessions were created. */
export const MAX_KEPT_OWNERS = 20_000;
/** Longer keys are left out: they would make the file large, and no regular client uses them. */
const MAX_KEY_CHARS = 256;
const MAX_WORKERS = 10_000;
/** Far more than the largest file written. */
const MAX_FILE_BYTES = 32 * 1024 * 1024;
/** Lines encoded before the event loop runs again: about a millisecond. */
const LINES_PER_CHUNK = 1000;

// --- the file's text (pure) ---

/** The text, in chunks. */
export function* encodeSnapshot({ workers, owners }: Snapshot): Generator<string> {
  let count = 0;
  let lines = [JSON.stringify({ format: 1 }), ...workers.map((worker) => JSON.stringify(worker))];
  for (const [key, { worker, epoch }] of owners) {
    if (key.length > MAX_KEY_CHARS) continue;
    count++;
    lines.push(JSON.stringify([key, worker, epoch]));
    if (lines.length < LINES_PER_CHUNK) continue;
    yield `${lines.join("\n")}\n`;
    lines = [];
  }
  lines.push(JSON.stringify({ workers: workers.length, owners: count }));
  yield `${lines.join("\n")}\n`;
}

const headSchema = z.object({ format: z.literal(1) });
const ownerSchema = z.tuple([
  z.string().max(MAX_KEY_CHARS),
  workerIdSchema,
  z.number().int().nonnegative(),
]);
const endSchema = z.object({
  workers: z.number().int().max(MAX_WORKERS),
  owners: z.number().int().max(MAX_KEPT_OWNERS),
});

/** Undefined when `text` is not a complete snapshot. */
export function decodeSnapshot(text: string): Snapshot | undefined {
  const lines = text.split("\n");
  const end = readJson(endSchema, lines.at(-2) ?? "");
  const head = readJson(headSchema, lines[0] ?? "");
  if (lines.at(-1) !== "" || end === undefined || head === undefined) return undefined;
  const { workers: workerCount, owners: ownerCount } = end;
  if (lines.length !== workerCount + ownerCount + 3) return undefined;
  const workers: WorkerRecord[] = [];
  for (const line of lines.slice(1, 1 + workerCount)) {
    const member = parseMember(parseJson(line));
    if (member?.kind !== "worker") return undefined;
    workers.push(member);
  }
  const owners: SavedOwner[] = [];
  for (const line of lines.slice(1 + workerCount, 1 + workerCount + ownerCount)) {
    const [name = "", worker, epoch] = readJson(ownerSchema, line) ?? [];
    const key = toSessionKey(name);
    if (key === undefined || worker === undefined || epoch === undefined) return undefined;
    owners.push([key, { worker, epoch }]);
  }
  return { workers, owners };
}

// --- the file ---

export interface SnapshotFile {
  /** The last snapshot. Undefined when there is no file, or it is unusable, which is logged. */
  read(): Promise<Snapshot | undefined>;
  /** Never rejects. The first of several failures is logged. */
  write(snapshot: Snapshot): Promise<void>;
}

/** `storeName`: of this edge's store (`storeNameOf`). */
export function createSnapshotFile(deps: {
  readonly dataDir: string;
  readonly storeName: string;
  readonly log: Log;
}): SnapshotFile {
  const { log } = deps;
  const name = storeFileName(deps.storeName, "snapshot");
  let isFailing = false;

  return {
    async read() {
      const path = join(deps.dataDir, name);
      try {
        const { size } = await stat(path);
        const text = size > MAX_FILE_BYTES ? "" : await readFile(path, "utf8");
        const snapshot = decodeSnapshot(text);
        if (snapshot === undefined)
          log.error({ path }, "the snapshot of the workers is damaged and is ignored");
        return snapshot;
      } catch (error) {
        if (errorCode(error) !== "ENOENT") {
          log.error(
            { path, cause: describeError(error) },
            "the snapshot of the workers cannot be read; check its permissions",
          );
        }
        return undefined;
      }
    },
    async write(snapshot) {
      try {
        const path = join(prepareDataDir(deps.dataDir), name);
        await replaceFile(path, encodeSnapshot(snapshot));
        isFailing = false;
      } catch (error) {
        if (!isFailing) {
          log.warn(
            { cause: describeError(error) },
            "the snapshot of the workers cannot be written, so a balancer that starts while the store is away has none to route to; check CT_DATA_DIR and its disk",
          );
        }
        isFailing = true;
      }
    },
  };
}

// --- keeping it up to date ---

/** How often it checks for changes. */
const CHECK_PERIOD_MS = 1000;
/** Owners change all the time; a change of the workers is written by the next check. */
const OWNERS_PERIOD_MS = 10_000;

export interface SnapshotKeeper {
  /** Writes pending changes. */
  close(): Promise<void>;
}

/** Writes `source` when it has changed, unless it has no workers: the last snapshot is then better. */
export function startSnapshotKeeper(deps: {
  readonly file: Pick<SnapshotFile, "write">;
  readonly clock: Clock;
  readonly source: {
    workers(): readonly WorkerRecord[];
    owners(): Iterable<SavedOwner>;
    /** Changes with every change of the owners. */
    ownersRevision(): number;
  };
}): SnapshotKeeper {
  const { clock, file, source } = deps;
  let writtenText = "";
  let writtenRevision = source.ownersRevision();
  let writtenMs = Number.NEGATIVE_INFINITY;
  const keeping = startPeriodicTask({
    clock,
    periodMs: CHECK_PERIOD_MS,
    work: () => writeChanges(OWNERS_PERIOD_MS),
  });

  async function writeChanges(ownersPeriodMs: number): Promise<void> {
    const workers = source.workers();
    if (workers.length === 0) return;
    // The load changes with each heartbeat, and is useless later.
    const text = JSON.stringify(workers.map((worker) => ({ ...worker, load: 0 })));
    const revision = source.ownersRevision();
    const areOwnersDue = clock.nowMs() - writtenMs >= ownersPeriodMs;
    if (text === writtenText && (revision === writtenRevision || !areOwnersDue)) return;
    writtenText = text;
    writtenRevision = revision;
    writtenMs = clock.nowMs();
    await file.write({ workers, owners: source.owners() });
  }

  return {
    async close() {
      keeping.close();
      await keeping.settled();
      await writeChanges(0);
    },
  };
}

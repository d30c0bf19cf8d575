/**
 * What a balancer needs to route when it starts and its store is away: the members and the owners of sessions that it saw
 * last, in a file of the data directory. `encodeSnapshot` and `decodeSnapshot` are pure; the rest reads, and writes such
 * that a reader finds the old file or the new one, never a part.
 *
 * The file is JSON, one value a line: a head, the workers, the owners, an end that counts them. Whoever may write it may
 * send clients elsewhere, so it is readable and writable by its owner only, and what is read is checked like what comes
 * from the store.
 */
import { createHash, randomBytes } from "node:crypto";
import { open, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import type { Clock, Timer } from "../../shared/base/clock.ts";
import { describeError, errorCode } from "../../shared/base/errors.ts";
import { isWorkerId, type SessionKey, toSessionKey, type WorkerId } from "../../shared/base/ids.ts";
import type { Log } from "../../shared/logs/log.ts";
import { prepareDataDir } from "../../shared/store/embedded/data-dir.ts";
import { parseMember, type WorkerRecord } from "../../shared/store/member.ts";

export interface Snapshot {
  readonly workers: readonly WorkerRecord[];
  readonly owners: Iterable<SavedOwner>;
}

export type SavedOwner = readonly [
  SessionKey,
  { readonly worker: WorkerId; readonly epoch: number },
];

/** Owners that are kept, those learnt last: for the others the ring leads back to where most sessions began. */
export const MAX_KEPT_OWNERS = 20_000;
/** Longer keys are left out: they would make the file large, and nothing but a stranger makes them. */
const MAX_KEY_CHARS = 256;
const MAX_WORKERS = 10_000;
/** Far more than the largest that is written. */
const MAX_FILE_BYTES = 32 * 1024 * 1024;
/** Lines that are made without letting anything else run: about a millisecond. */
const LINES_PER_PIECE = 1000;

// --- the file's text (pure) ---

/** The text, in pieces. */
export function* encodeSnapshot({ workers, owners }: Snapshot): Generator<string> {
  let count = 0;
  let lines = [JSON.stringify({ format: 1 }), ...workers.map((worker) => JSON.stringify(worker))];
  for (const [key, { worker, epoch }] of owners) {
    if (key.length > MAX_KEY_CHARS) continue;
    count++;
    lines.push(JSON.stringify([key, worker, epoch]));
    if (lines.length < LINES_PER_PIECE) continue;
    yield `${lines.join("\n")}\n`;
    lines = [];
  }
  lines.push(JSON.stringify({ workers: workers.length, owners: count }));
  yield `${lines.join("\n")}\n`;
}

const headSchema = z.object({ format: z.literal(1) });
const ownerSchema = z.tuple([
  z.string().max(MAX_KEY_CHARS),
  z.custom<WorkerId>((value) => typeof value === "string" && isWorkerId(value)),
  z.number().int().nonnegative(),
]);
const endSchema = z.object({
  workers: z.number().int().max(MAX_WORKERS),
  owners: z.number().int().max(MAX_KEPT_OWNERS),
});

/** Undefined when it is no snapshot, or not all of one. */
export function decodeSnapshot(text: string): Snapshot | undefined {
  const lines = text.split("\n");
  const end = endSchema.safeParse(readJson(lines.at(-2)));
  if (lines.at(-1) !== "" || !end.success || !headSchema.safeParse(readJson(lines[0])).success) {
    return undefined;
  }
  const { workers: workerCount, owners: ownerCount } = end.data;
  if (lines.length !== workerCount + ownerCount + 3) return undefined;
  const workers: WorkerRecord[] = [];
  for (const line of lines.slice(1, 1 + workerCount)) {
    const member = parseMember(readJson(line));
    if (member?.kind !== "worker") return undefined;
    workers.push(member);
  }
  const owners: SavedOwner[] = [];
  for (const line of lines.slice(1 + workerCount, 1 + workerCount + ownerCount)) {
    const owner = ownerSchema.safeParse(readJson(line));
    const key = owner.success ? toSessionKey(owner.data[0]) : undefined;
    if (!owner.success || key === undefined) return undefined;
    owners.push([key, { worker: owner.data[1], epoch: owner.data[2] }]);
  }
  return { workers, owners };
}

function readJson(line: string | undefined): unknown {
  try {
    return JSON.parse(line ?? "");
  } catch {
    return undefined;
  }
}

// --- the file ---

export interface SnapshotFile {
  /** What was written last. Undefined when there is nothing, or nothing of use: then a line in the log says so. */
  read(): Promise<Snapshot | undefined>;
  /** Never rejects; a failure is a line in the log, one until it works again. */
  write(snapshot: Snapshot): Promise<void>;
}

/**
 * `storeName`: whatever tells this edge's store from others, such as its URL: edges that share a data directory keep
 * their own files.
 */
export function createSnapshotFile(deps: {
  readonly dataDir: string;
  readonly storeName: string;
  readonly log: Log;
}): SnapshotFile {
  const { log } = deps;
  const digest = createHash("sha256").update(deps.storeName).digest("hex").slice(0, 8);
  const name = `balancer-${digest}.snapshot`;
  let isFailing = false;

  async function replaceFile(snapshot: Snapshot): Promise<void> {
    const path = join(prepareDataDir(deps.dataDir), name);
    const draft = `${path}.${randomBytes(4).toString("hex")}`;
    const file = await open(draft, "wx", 0o600);
    try {
      for (const piece of encodeSnapshot(snapshot)) await file.writeFile(piece);
      // Else a power cut may leave the new name with nothing behind it.
      await file.sync();
      await file.close();
      await rename(draft, path);
    } catch (error) {
      await file.close().catch(() => {});
      await rm(draft, { force: true });
      throw error;
    }
  }

  return {
    async read() {
      const path = join(deps.dataDir, name);
      try {
        const { size } = await stat(path);
        const text = size > MAX_FILE_BYTES ? "" : await readFile(path, "utf8");
        const snapshot = decodeSnapshot(text);
        if (snapshot === undefined) log.error({ path }, "the snapshot of the members is damaged");
        return snapshot;
      } catch (error) {
        if (errorCode(error) !== "ENOENT") {
          log.error({ path, cause: describeError(error) }, "the snapshot cannot be read");
        }
        return undefined;
      }
    },
    async write(snapshot) {
      try {
        await replaceFile(snapshot);
        isFailing = false;
      } catch (error) {
        if (!isFailing) {
          log.warn(
            { cause: describeError(error) },
            "the snapshot of the members cannot be written; a balancer that starts while the store is away will know nobody",
          );
        }
        isFailing = true;
      }
    },
  };
}

// --- keeping it up to date ---

/** How often it is looked whether something has changed. */
const LOOK_MS = 1000;
/** Owners change all the time; workers that come or go are written with the next look. */
const OWNERS_PERIOD_MS = 10_000;

export interface SnapshotKeeper {
  /** Writes once more what has changed. */
  close(): Promise<void>;
}

/** Writes `source` whenever it has changed, as long as there is a worker in it. */
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
  let running: Promise<void> | undefined;
  const timer: Timer = clock.every(LOOK_MS, () => void look(OWNERS_PERIOD_MS));

  async function look(ownersPeriodMs: number): Promise<void> {
    const workers = source.workers();
    if (running !== undefined || workers.length === 0) return;
    // The load changes with each beat, and is of no use later.
    const text = JSON.stringify(workers.map((worker) => ({ ...worker, load: 0 })));
    const revision = source.ownersRevision();
    const areOwnersDue = clock.nowMs() - writtenMs >= ownersPeriodMs;
    if (text === writtenText && (revision === writtenRevision || !areOwnersDue)) return;
    writtenText = text;
    writtenRevision = revision;
    writtenMs = clock.nowMs();
    running = file.write({ workers, owners: source.owners() }).finally(() => {
      running = undefined;
    });
    await running;
  }

  return {
    async close() {
      timer.cancel();
      await running;
      await look(0);
    },
  };
}

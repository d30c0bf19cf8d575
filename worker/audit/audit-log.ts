/**
 * The audit log of a worker: writes events to files as a chain (shared/audit/line.ts), without blocking. An event that cannot be
 * written now waits, up to a limit; what does not fit is counted, and a line says how many events are missing, and of when.
 *
 *     write ──▶ queue ──▶ batch, with macs ──▶ file ──▶ fdatasync ──▶ checkpoint in the store
 *                 ▲  full disk: again later │
 *                 └─────────────────────────┘
 */
import { join } from "node:path";
import { fileName, findFiles, readGenuineEnd, stampOf } from "../../shared/audit/files.ts";
import {
  type AuditKeys,
  type Entry,
  type OwnKind,
  type Position,
  writeLine,
} from "../../shared/audit/line.ts";
import type { Clock, Timer } from "../../shared/base/clock.ts";
import { describeError, errorCode } from "../../shared/base/errors.ts";
import { randomAlphanumerics } from "../../shared/base/ids.ts";
import { type PeriodicTask, startPeriodicTask } from "../../shared/base/periodic-task.ts";
import type { Log } from "../../shared/logs/log.ts";
import { dayEndMs } from "../../shared/logs/rotation.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import { type ChainFile, createChainFile, type OpenFile } from "./chain-file.ts";
import { CheckpointWriter } from "./checkpoint-writer.ts";
import { Gap, showTimes } from "./gap.ts";
import { removeExpired } from "./retention.ts";

export interface AuditLogDeps {
  readonly folder: string;
  readonly worker: string;
  readonly keys: AuditKeys;
  /** After how many days files are deleted; 0: never. */
  readonly days: number;
  readonly maxFileBytes?: number | undefined;
  /** Called with what is on the disk, at most every 10 s and at the end. Resolves with whether it was recorded; never rejects. */
  readonly onCheckpoint: (position: Position) => Promise<boolean>;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  readonly openFile?: OpenFile | undefined;
}

const MAX_FILE_BYTES = 50 * 1024 * 1024;
/** Events that wait for the disk; further ones are dropped. */
const MAX_WAITING = 10_000;
const MAX_BATCH = 200;
/** How long an event waits for others, so that many cost one system call. */
const GATHER_MS = 100;
const TICK_MS = 1000;
/** Older than this, a look at the file is repeated before a write: the process may have been stopped for a while. */
const LOOK_MS = 2000;
const DAY_MS = 86_400_000;
const CHAIN_CHARS = 16;

export class AuditLog {
  readonly #deps: AuditLogDeps;
  readonly #stamp: string;
  #queue: Entry[] = [];
  readonly #gap = new Gap();
  #position: Position;
  /** Of what is on the disk. */
  #synced: Position | undefined;
  readonly #checkpoints: CheckpointWriter;
  #file: ChainFile | undefined;
  #fileNumber = 0;
  #dayEndsMs = 0;
  #lookedMs = 0;
  #retentionMs = Number.NEGATIVE_INFINITY;
  #problem: string | undefined;
  #dropped = 0;
  #isClosed = false;
  #gathering: Timer | undefined;
  readonly #ticking: PeriodicTask;
  /** What is done to the file, one after the other. */
  #work: Promise<void> = Promise.resolve();

  constructor(deps: AuditLogDeps) {
    this.#deps = deps;
    const { clock, log } = deps;
    this.#checkpoints = new CheckpointWriter({ write: deps.onCheckpoint, clock, log });
    const nowMs = clock.wallMs();
    this.#stamp = stampOf(nowMs);
    this.#position = { chain: randomAlphanumerics(CHAIN_CHARS), seq: 0, mac: "", atMs: nowMs };
    this.#ticking = startPeriodicTask({
      clock,
      periodMs: TICK_MS,
      work: () => this.#exclusively(() => this.#tick()),
    });
    this.#gather();
  }

  /** Why events cannot be written at the moment. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** Why nobody would notice that the newest lines are cut off. */
  get checkpointProblem(): string | undefined {
    return this.#checkpoints.problem;
  }

  /** Events that were not written since the start. */
  get dropped(): number {
    return this.#dropped;
  }

  /** An event, or what a command has done. */
  write(event: Entry): void {
    if (this.#isClosed) return;
    const { counters } = this.#deps;
    if (this.#queue.length >= MAX_WAITING) {
      this.#dropped++;
      counters.count("worker.audit.dropped");
      this.#gap.add(event.atMs);
      return;
    }
    this.#queue.push(event);
    this.#gather();
  }

  /** Resolves when what waits is on the disk, or could not be written. */
  async flush(): Promise<void> {
    await this.#exclusively(async () => {
      await this.#drain();
      await this.#file?.sync();
    });
  }

  /** Writes what waits, with a last line, and the last checkpoint. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#gathering?.cancel();
    this.#ticking.close();
    await this.#exclusively(async () => {
      try {
        this.#reportGap();
        this.#reportUnchecked(true);
        this.#queue.push(this.#entry("audit.ended"));
        await this.#drain();
        await this.#finishFile();
        this.#synced = this.#position;
      } finally {
        await this.#checkpoints.finish(this.#synced);
      }
    });
    const lost = this.#queue.length;
    if (lost > 0) this.#deps.log.error({ lost }, "events were not written to the audit log");
  }

  // --- one after the other ---

  #exclusively(work: () => Promise<void>): Promise<void> {
    this.#work = this.#work.then(work).catch((error: unknown) => this.#failed(error));
    return this.#work;
  }

  #gather(): void {
    this.#gathering ??= this.#deps.clock.after(GATHER_MS, () => {
      this.#gathering = undefined;
      // While the disk is full, the tick tries again.
      if (this.#problem === undefined) void this.#exclusively(() => this.#drain());
    });
  }

  async #tick(): Promise<void> {
    const { clock } = this.#deps;
    const nowMs = clock.nowMs();
    // First: it may make room on a full disk.
    if (nowMs - this.#retentionMs >= DAY_MS) {
      this.#retentionMs = nowMs;
      await this.#removeExpired();
    }
    await this.#look();
    this.#reportUnchecked(false);
    try {
      await this.#drain();
      await this.#file?.sync();
      this.#synced = this.#position;
      this.#succeeded();
    } finally {
      // Also of what was on the disk before it failed.
      if (this.#synced !== undefined) this.#checkpoints.tick(this.#synced);
    }
  }

  #failed(error: unknown): void {
    const reason = describeError(error);
    if (this.#problem === undefined) {
      this.#deps.log.error(
        { folder: this.#deps.folder, reason },
        "the audit log cannot be written; events wait until it can be",
      );
    }
    this.#problem = reason;
  }

  #succeeded(): void {
    if (this.#problem === undefined) return;
    this.#problem = undefined;
    this.#deps.log.info({ dropped: this.#dropped }, "the audit log can be written again");
  }

  // --- writing ---

  /** Writes what waits. Rejects when it cannot be written; it waits on then. */
  async #drain(): Promise<void> {
    for (;;) {
      const start = await this.#prepareFile();
      if (start === undefined && this.#queue.length === 0) {
        if (this.#gap.isEmpty) return;
        this.#reportGap();
      }
      const file = this.#file;
      if (file === undefined) return;
      const count = Math.min(this.#queue.length, MAX_BATCH);
      const entries = [...(start === undefined ? [] : [start]), ...this.#queue.slice(0, count)];
      const { bytes, after } = this.#sign(entries);
      await file.append(bytes);
      this.#position = after;
      this.#checkpoints.appended(after);
      this.#queue.splice(0, count);
      this.#deps.counters.count("worker.audit.lines", "", entries.length);
      this.#succeeded();
    }
  }

  #sign(entries: readonly Entry[]): { readonly bytes: Buffer; readonly after: Position } {
    const { signing } = this.#deps.keys;
    let after = this.#position;
    let lines = "";
    for (const entry of entries) {
      const line = writeLine(entry, after, signing);
      lines += line.text;
      after = line.after;
    }
    return { bytes: Buffer.from(lines), after };
  }

  #reportGap(): void {
    const details = this.#gap.take();
    if (details !== undefined) this.#queue.push({ ...this.#entry("audit.gap"), details });
  }

  #reportUnchecked(isEnding: boolean): void {
    const unchecked = this.#checkpoints.takeUnchecked(isEnding);
    if (unchecked === undefined) return;
    this.#queue.push({ ...this.#entry("audit.unchecked"), details: showTimes(unchecked) });
  }

  #entry(kind: OwnKind): Entry {
    return { kind, atMs: this.#deps.clock.wallMs(), worker: this.#deps.worker };
  }

  // --- files ---

  /** Opens a file when there is none to write to. Returns the first line of an empty one. */
  async #prepareFile(): Promise<Entry | undefined> {
    const { clock, maxFileBytes = MAX_FILE_BYTES } = this.#deps;
    if (clock.nowMs() - this.#lookedMs > LOOK_MS) await this.#look();
    const isFull = this.#file !== undefined && this.#file.size >= maxFileBytes;
    const isOld = this.#queue.length > 0 && clock.wallMs() >= this.#dayEndsMs;
    if (isFull || isOld) await this.#finishFile();
    if (this.#file === undefined) await this.#openFile();
    if (this.#file !== undefined && this.#file.size > 0) return undefined;
    if (this.#position.seq > 0) {
      return { ...this.#entry("audit.continued"), previous: this.#position };
    }
    const previous = await this.#chainBefore();
    return { ...this.#entry("audit.started"), previous };
  }

  async #openFile(): Promise<void> {
    const { folder, worker, clock, openFile } = this.#deps;
    for (;;) {
      this.#fileNumber++;
      const name = fileName({ worker, stamp: this.#stamp, number: this.#fileNumber });
      try {
        this.#file = await createChainFile(join(folder, name), openFile);
        break;
      } catch (error) {
        // Another process of the same name has begun in the same millisecond.
        if (errorCode(error) !== "EEXIST") {
          this.#fileNumber--;
          throw error;
        }
      }
    }
    this.#lookedMs = clock.nowMs();
    this.#dayEndsMs = dayEndMs(clock.wallMs());
  }

  async #finishFile(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close();
  }

  /** Somebody may have deleted the file, or waits for it (`ct-edge audit erase`): then another one is begun. */
  async #look(): Promise<void> {
    const place = await this.#file?.look();
    this.#lookedMs = this.#deps.clock.nowMs();
    if (place === undefined || place === "in place") return;
    if (place === "gone") {
      this.#deps.log.error(
        { path: this.#file?.path },
        "this file of the audit log was deleted, moved or replaced while it was written; another one is begun",
      );
    }
    await this.#finishFile();
  }

  /** Where the chain before this one ended on this worker. */
  async #chainBefore(): Promise<Position | undefined> {
    const { folder, worker, keys } = this.#deps;
    const files = (await findFiles(folder)).filter(
      (file) => file.worker === worker && file.path !== this.#file?.path,
    );
    for (const { path } of files.reverse()) {
      const end = await readGenuineEnd(path, keys);
      if (end !== undefined) return end;
    }
    return undefined;
  }

  async #removeExpired(): Promise<void> {
    const { folder, days, keys, clock, log } = this.#deps;
    if (days === 0) return;
    const beforeMs = clock.wallMs() - days * DAY_MS;
    // Its own may be among them, when nothing has happened for that long.
    if (this.#position.atMs < beforeMs) await this.#finishFile();
    for (const details of await removeExpired({ folder, beforeMs, keys, log })) {
      this.#queue.push({ ...this.#entry("audit.removed"), details });
    }
  }
}

/**
 * Writes checkpoints of this worker's chain to the store. The store keeps the newest of all workers: those of chains that have ended are
 * repeated before they are dropped, by any worker, until their lines are older than CT_AUDIT_DAYS.
 */
import {
  appendCheckpoints,
  type Checkpoint,
  parseCheckpoint,
  readCheckpointTexts,
  writeCheckpoint,
} from "../../shared/audit/checkpoint.ts";
import type { AuditKeys, Position } from "../../shared/audit/line.ts";
import type { Clock } from "../../shared/base/clock.ts";
import { describeError } from "../../shared/base/errors.ts";
import { inTime, LATE } from "../../shared/base/time-limit.ts";
import type { Log } from "../../shared/logs/log.ts";
import { type Store, StoreAwayError } from "../../shared/store/store.ts";
import { STREAMS } from "../../shared/store/streams.ts";

type CheckpointStore = Pick<Store, "appendToStream" | "readStream">;

/** A store that does not answer must not keep the process from stopping, nor lines from the file. */
const STORE_MS = 800;
/** Half of what the store keeps lasts longer than this, with up to 60 workers that write one in 10 s. */
const REPEAT_MS = 300_000;
/** Chains whose checkpoints are repeated. */
const MAX_CHAINS = 1500;
const DAY_MS = 86_400_000;

export function createCheckpoints(deps: {
  readonly store: CheckpointStore;
  readonly worker: string;
  readonly keys: AuditKeys;
  readonly days: number;
  readonly clock: Clock;
  readonly log: Log;
  /** From 0 to below 1: workers do not repeat the same at the same time. */
  readonly random?: (() => number) | undefined;
}) {
  const { store, worker, keys, days, clock, log, random = Math.random } = deps;

  async function attempt(work: Promise<void>): Promise<boolean> {
    try {
      return (await inTime(work, STORE_MS)) !== LATE;
    } catch (error) {
      if (!(error instanceof StoreAwayError)) {
        log.error({ reason: describeError(error) }, "a checkpoint of the audit log was not stored");
      }
      return false;
    }
  }

  async function repeat(): Promise<void> {
    const texts = await readCheckpointTexts(store);
    const sinceMs = days === 0 ? Number.NEGATIVE_INFINITY : clock.wallMs() - days * DAY_MS;
    const endangered = textsToRepeat(
      texts.map((text) => ({ text, checkpoint: parseCheckpoint(text, keys) })),
      sinceMs,
    );
    if (endangered.length > 0) await appendCheckpoints(store, endangered);
  }

  const timer = clock.every(REPEAT_MS * (0.75 + random() / 4), () => void attempt(repeat()));
  return {
    /** Resolves with whether the store has it. */
    write: (position: Position) =>
      attempt(appendCheckpoints(store, [writeCheckpoint({ ...position, worker }, keys.signing)])),
    close: (): void => timer.cancel(),
  };
}

/**
 * Of the checkpoints that the store has, oldest first: the newest of each chain, where it would be dropped next. Those that cannot
 * be read are not ours. Pure.
 */
export function textsToRepeat(
  stored: readonly { readonly text: string; readonly checkpoint: Checkpoint | undefined }[],
  sinceMs: number,
  keep: number = STREAMS["audit-checkpoints"].keep,
): readonly string[] {
  const newest = new Map<string, { seq: number; index: number; text: string; atMs: number }>();
  stored.forEach(({ text, checkpoint }, index) => {
    if (checkpoint === undefined) return;
    const { chain, seq, atMs } = checkpoint;
    if (seq >= (newest.get(chain)?.seq ?? 0)) newest.set(chain, { seq, index, text, atMs });
  });
  const isFull = stored.length > keep / 2;
  const half = stored.length - keep / 2;
  return [...newest.values()]
    .filter(({ index, atMs }) => isFull && index < half && atMs >= sinceMs)
    .sort((a, b) => b.index - a.index)
    .slice(0, MAX_CHAINS)
    .reverse()
    .map(({ text }) => text);
}

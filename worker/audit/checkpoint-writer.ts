/**
 * When checkpoints of a chain are written, and since when lines wait for one: without checkpoints nobody would notice that the
 * newest lines are cut off. A failed one is tried again 10 s later, until the store takes it.
 */
import type { Position } from "../../shared/audit/line.ts";
import type { Clock } from "../../shared/base/clock.ts";
import type { Log } from "../../shared/logs/log.ts";

const CHECKPOINT_MS = 10_000;
/** Lines that have waited for this long are a problem: six checkpoints have failed, or the disk hangs. */
const UNCHECKED_MS = 60_000;

/** A time without checkpoints, in wall time. */
export interface Unchecked {
  readonly fromMs: number;
  readonly toMs: number;
}

interface Since {
  readonly nowMs: number;
  readonly wallMs: number;
}

export class CheckpointWriter {
  readonly #write: (position: Position) => Promise<boolean>;
  readonly #clock: Pick<Clock, "nowMs" | "wallMs">;
  readonly #log: Log;
  /** Of the last line in the file. */
  #appended = 0;
  /** In the store. */
  #stored = 0;
  #triedMs = Number.NEGATIVE_INFINITY;
  /** Since when a line has been waiting. */
  #since: Since | undefined;
  #isReported = false;
  #ended: Unchecked | undefined;
  #writing: Promise<void> = Promise.resolve();

  constructor(deps: {
    readonly write: (position: Position) => Promise<boolean>;
    readonly clock: Pick<Clock, "nowMs" | "wallMs">;
    readonly log: Log;
  }) {
    this.#write = deps.write;
    this.#clock = deps.clock;
    this.#log = deps.log;
  }

  /** Since when there has been no checkpoint, when that is too long; undefined: it is not. */
  get problem(): string | undefined {
    const since = this.#since;
    if (since === undefined || this.#clock.nowMs() - since.nowMs <= UNCHECKED_MS) return undefined;
    return `no checkpoint could be stored since ${new Date(since.wallMs).toISOString()}`;
  }

  /** A time without checkpoints, once, when it has ended; at the end of the process also one that has not. */
  takeUnchecked(isEnding = false): Unchecked | undefined {
    const ended = this.#ended;
    this.#ended = undefined;
    if (ended !== undefined || !isEnding || this.problem === undefined) return ended;
    const fromMs = this.#since?.wallMs ?? this.#clock.wallMs();
    return { fromMs, toMs: this.#clock.wallMs() };
  }

  /** The file has lines up to this one. */
  appended({ seq }: Position): void {
    this.#appended = seq;
    this.#since ??= this.#here();
  }

  /** Called once a second, with what is on the disk: after a power failure the file must not end before its checkpoint. */
  tick(synced: Position): void {
    if (this.problem !== undefined && !this.#isReported) {
      this.#isReported = true;
      this.#log.error(
        { reason: this.problem },
        "the end of the audit log is not secured by checkpoints; they are tried again",
      );
    }
    const nowMs = this.#clock.nowMs();
    if (nowMs - this.#triedMs < CHECKPOINT_MS) return;
    this.#triedMs = nowMs;
    // The store may be slow: lines do not wait for it.
    this.#writing = this.#checkpoint(synced);
  }

  /** The last one. */
  async finish(synced: Position | undefined): Promise<void> {
    await this.#writing;
    if (synced !== undefined) await this.#checkpoint(synced);
  }

  async #checkpoint(synced: Position): Promise<void> {
    if (synced.seq === this.#stored) return;
    const begun = this.#here();
    if (!(await this.#write(synced))) return;
    this.#stored = synced.seq;
    if (this.problem !== undefined && this.#since !== undefined) {
      this.#ended = { fromMs: this.#since.wallMs, toMs: this.#clock.wallMs() };
    }
    // What was appended meanwhile waits since then.
    this.#since = this.#appended > synced.seq ? begun : undefined;
    if (!this.#isReported) return;
    this.#isReported = false;
    this.#log.info({}, "checkpoints of the audit log are stored again");
  }

  #here(): Since {
    return { nowMs: this.#clock.nowMs(), wallMs: this.#clock.wallMs() };
  }
}

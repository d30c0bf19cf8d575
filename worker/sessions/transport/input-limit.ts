/**
 * Limits how fast one client may send, over whatever carries its connection: a flood is not refused, it is not read until TCP
 * slows it down at its source.
 */
import type { Clock } from "../../../shared/base/clock.ts";
import type { Counters } from "../../../shared/metrics/metrics.ts";
import { createRateLimit, type RateLimit } from "./rate-limit.ts";

/** What is read from. */
export interface InputSource {
  pause(): void;
  resume(): void;
}

export class InputLimit {
  readonly #rateLimit: RateLimit;
  readonly #clock: Clock;
  readonly #counters: Counters;
  #source: InputSource | undefined;
  #isHeld = false;
  #pause: { readonly over: Promise<void>; readonly end: () => void } | undefined;

  constructor(deps: { clock: Clock; counters: Counters; maxMessagesPerSecond: number }) {
    this.#clock = deps.clock;
    this.#counters = deps.counters;
    this.#rateLimit = createRateLimit({ clock: deps.clock, perSecond: deps.maxMessagesPerSecond });
  }

  /** From now on input comes from `source`; undefined: from requests, which wait for `resumed`. */
  readFrom(source: InputSource | undefined): void {
    this.#source = source;
    if (this.#isStopped) source?.pause();
  }

  /** Counts one message. */
  spend(): void {
    const waitMs = this.#rateLimit.spend();
    if (waitMs > 0 && this.#pause === undefined) this.#stop(waitMs);
  }

  /** Resolves when the client may send again; undefined when it may now. */
  resumed(): Promise<void> | undefined {
    return this.#pause?.over;
  }

  /** Reads nothing more until `release`, for another reason than the rate. */
  hold(): void {
    this.#isHeld = true;
    this.#source?.pause();
  }

  release(): void {
    this.#isHeld = false;
    if (!this.#isStopped) this.#source?.resume();
  }

  /** The connection has ended. */
  close(): void {
    this.#pause?.end();
    this.#source = undefined;
  }

  get #isStopped(): boolean {
    return this.#isHeld || this.#pause !== undefined;
  }

  #stop(forMs: number): void {
    let end = (): void => {};
    const over = new Promise<void>((resolve) => {
      end = resolve;
    });
    this.#pause = { over, end };
    this.#counters.count("worker.floods_slowed");
    this.#source?.pause();
    this.#clock.after(forMs, () => this.#goOn());
  }

  #goOn(): void {
    const waitMs = this.#rateLimit.waitMs();
    if (waitMs > 0) {
      this.#clock.after(waitMs, () => this.#goOn());
      return;
    }
    this.#pause?.end();
    this.#pause = undefined;
    if (!this.#isHeld) this.#source?.resume();
  }
}

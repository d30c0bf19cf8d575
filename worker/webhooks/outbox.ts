/**
 * The events of this worker on their way into the store, from where one worker delivers them. They are appended in order, and
 * together: while an append is under way, what is written meanwhile waits for the next one.
 *
 * A store that comes back may have lost its last seconds (a Redis that was killed, or whose replica took over), so what was
 * appended shortly before is then appended again, in the same order.
 */
import type { ActivityEvent } from "../../shared/activity/event.ts";
import type { Clock, Timer } from "../../shared/base/clock.ts";
import { randomAlphanumerics, type WorkerId } from "../../shared/base/ids.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import { type Store, StoreAwayError } from "../../shared/store/store.ts";
import type { OutboxSink } from "../activity/recorder.ts";
import { gapEvent, markAgain, writeEvent } from "./event-text.ts";

export interface Outbox extends OutboxSink {
  /** Events that are not in the store yet. */
  readonly pending: number;
  /** Appends again what the store may have lost. Call it when the store was flushed or away. */
  reassert(): void;
  /** Appends what is left, if the store is there. Never rejects. */
  close(): Promise<void>;
}

/** An event that nobody waits for is in the store this soon. */
const FLUSH_MS = 100;
/** Between two attempts while the store is away. */
const RETRY_MS = 1000;
/** Redis syncs its log to disk once a second, and a replica may be that late too. */
const AGAIN_MS = 15_000;
/** About 8 MB; while the store is away for longer, the oldest are dropped. */
const MAX_PENDING = 10_000;
/** Of one append; the embedded store takes requests of a megabyte. */
const MAX_APPENDED = 50;
const ID_CHARS = 24;

export function createOutbox(deps: {
  readonly store: Pick<Store, "appendToStream" | "onHealth">;
  readonly worker: WorkerId;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  readonly maxPending?: number;
}): Outbox {
  const { store, clock, log } = deps;
  const maxPending = deps.maxPending ?? MAX_PENDING;
  /** The oldest first; those of the append under way are before them. */
  let pending: string[] = [];
  let underWay: readonly string[] = [];
  /** The oldest first, each with the time at which its append ended. */
  let appended: { readonly text: string; readonly atMs: number }[] = [];
  /** Whether the store may have lost what was appended before this time. */
  let lostBeforeMs: number | undefined;
  /** Events that were dropped, which is not in the store yet. */
  let dropped = 0;
  /** The append under way, and the one that begins after it. */
  let running: Promise<void> | undefined;
  let next: Promise<void> | undefined;
  let timer: Timer | undefined;
  let isReported = false;
  let isClosed = false;

  function write(event: ActivityEvent): void {
    pending.push(writeEvent(event));
    dropOldest();
    schedule(FLUSH_MS);
  }

  function dropOldest(): void {
    const count = pending.length - maxPending;
    if (count <= 0) return;
    pending = pending.slice(count);
    if (dropped === 0) {
      log.error(
        { kept: maxPending },
        "webhooks: events are lost, because the store has been away for too long; receivers are told how many",
      );
    }
    dropped += count;
    deps.counters.count("worker.webhooks.lost", "store away", count);
  }

  function schedule(delayMs: number): void {
    if (isClosed) return;
    timer ??= clock.after(delayMs, () => {
      timer = undefined;
      void flush();
    });
  }

  async function flush(): Promise<void> {
    try {
      await stored();
      isReported = false;
    } catch (error) {
      // A store that is away is reported by its connection.
      if (!(error instanceof StoreAwayError) && !isReported) {
        isReported = true;
        log.error({ err: error }, "webhooks: events could not be stored; it is tried again");
      }
      schedule(RETRY_MS);
    }
  }

  function stored(): Promise<void> {
    if (pending.length === 0 && lostBeforeMs === undefined) return running ?? Promise.resolve();
    if (running === undefined) return start();
    // The one under way does not have all of them, whatever becomes of it.
    next ??= running.then(start, start);
    return next;
  }

  function start(): Promise<void> {
    next = undefined;
    running = appendAll().finally(() => {
      running = undefined;
    });
    return running;
  }

  /** Appends what is pending now, or leaves the rest of it pending and rejects. */
  async function appendAll(): Promise<void> {
    takeAgain();
    tellDropped();
    for (let left = pending.length; left > 0 && pending.length > 0; left -= underWay.length) {
      underWay = pending.splice(0, Math.min(left, MAX_APPENDED));
      try {
        await store.appendToStream("webhooks", underWay);
      } catch (error) {
        pending = [...underWay, ...pending];
        underWay = [];
        dropOldest();
        throw error;
      }
      const atMs = clock.nowMs();
      appended.push(...underWay.map((text) => ({ text, atMs })));
      forgetBefore((lostBeforeMs ?? atMs) - AGAIN_MS);
    }
    underWay = [];
  }

  /** What the store may have lost goes first, so that the order stays. */
  function takeAgain(): void {
    if (lostBeforeMs === undefined) return;
    forgetBefore(lostBeforeMs - AGAIN_MS);
    pending = [...appended.map(({ text }) => markAgain(text)), ...pending];
    appended = [];
    lostBeforeMs = undefined;
  }

  /** In the place of the events that were dropped: the oldest. */
  function tellDropped(): void {
    if (dropped === 0) return;
    const gap = gapEvent({
      id: randomAlphanumerics(ID_CHARS),
      atMs: clock.wallMs(),
      worker: deps.worker,
      count: dropped,
      reason: "the store was away",
    });
    dropped = 0;
    pending.unshift(writeEvent(gap));
  }

  function forgetBefore(atMs: number): void {
    const from = appended.findIndex((one) => one.atMs >= atMs);
    appended = from < 0 ? [] : appended.slice(Math.max(from, appended.length - maxPending));
  }

  const stopListening = store.onHealth(({ state }) => {
    if (state === "away") lostBeforeMs ??= clock.nowMs();
    else void flush();
  });

  return {
    write,
    stored,
    get pending() {
      return pending.length + underWay.length;
    },
    reassert() {
      lostBeforeMs ??= clock.nowMs();
      void flush();
    },
    async close() {
      isClosed = true;
      timer?.cancel();
      stopListening();
      // What may be lost is appended by those that stay.
      if (pending.length === 0) return running?.catch(() => {});
      await stored().catch((error: unknown) => {
        log.warn(
          { events: pending.length, err: error },
          "webhooks: the last events could not be stored",
        );
      });
    },
  };
}

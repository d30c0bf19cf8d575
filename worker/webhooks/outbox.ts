/**
 * The events of this worker on their way into the store, from where one worker delivers them. They are appended in order, and
 * together: while an append is under way, what is written meanwhile waits for the next one.
 *
 * A store that comes back may have lost its last seconds (a Redis that was killed, or whose replica took over), so what was
 * appended shortly before is then appended again, in the same order.
 *
 * A store that is away delays what waits for its events. One that is there and does not take them (it is full, or refuses them)
 * delays nothing: sessions go on without webhooks, and the events are tried again.
 */
import type { ActivityEvent } from "../../shared/activity/event.ts";
import type { Clock, Timer } from "../../shared/base/clock.ts";
import { randomAlphanumerics, type WorkerId } from "../../shared/base/ids.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import { type Store, StoreAwayError, StoreFullError } from "../../shared/store/store.ts";
import type { OutboxSink } from "../activity/recorder.ts";
import { gapEvent, markAgain, writeEvent } from "./event-text.ts";

export interface Outbox extends OutboxSink {
  /**
   * Resolves when all that was written so far is in the store, or waits in memory because the store does not take it, or was dropped.
   * Rejects with `StoreAwayError` only, while the store is away.
   */
  stored(): Promise<void>;
  /** Events that are not in the store yet. */
  readonly pending: number;
  /** Appends again what the store may have lost. Call it when the store was flushed or away. */
  reassert(): void;
  /** Appends what is left, if the store is there. Never rejects. */
  close(): Promise<void>;
}

/** An event that nobody waits for is in the store this soon. */
const FLUSH_MS = 100;
/** Between two attempts while the store is away, or does not take events. */
const RETRY_MS = 1000;
/** An event that the store refuses for this long is dropped: it may be the only one that is refused, and others wait behind it. */
const GIVE_UP_MS = 60_000;
/** Redis syncs its log to disk once a second, and a replica may be that late too. */
const AGAIN_MS = 15_000;
/** About 8 MB; while the store is away for longer, the oldest are dropped. */
const MAX_PENDING = 10_000;
/** Of one append; the embedded store takes requests of a megabyte. */
const MAX_APPENDED = 50;
const ID_CHARS = 24;

interface Entry {
  readonly text: string;
  /** The store had it, and has lost it at most in a crash. */
  readonly isAgain?: true;
  /** It tells that this many events were dropped. */
  readonly gapOf?: number;
}

/** Why events are not stored, for receivers; by the cause in metrics. */
const REASONS = {
  "store away": "the store was away",
  "store full": "the store was full",
  "store refused": "the store refused them",
} as const;
type Cause = keyof typeof REASONS;

export function createOutbox(deps: {
  readonly store: Pick<Store, "appendToStream" | "onHealth">;
  readonly worker: WorkerId;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  readonly maxPending?: number;
}): Outbox {
  const { store, clock, log, counters } = deps;
  const maxPending = deps.maxPending ?? MAX_PENDING;
  /** The oldest first; those of the append under way are before them. */
  let pending: Entry[] = [];
  /** Number of events in the append under way. */
  let underWay = 0;
  /** The oldest first, each with the time at which its append ended. */
  let appended: (Entry & { readonly atMs: number })[] = [];
  /** Whether the store may have lost what was appended before this time. */
  let lostBeforeMs: number | undefined;
  /** Events that were dropped, which is not in the store yet. */
  let dropped = 0;
  /** The append under way, and the one that begins after it: there is never a second one at a time. */
  let running: Promise<void> | undefined;
  let next: Promise<void> | undefined;
  let timer: Timer | undefined;
  /** Of the last append; undefined: it succeeded. */
  let problem: Cause | undefined;
  /** So many are appended one by one, because the store has refused them together. */
  let oneByOne = 0;
  let refusedAlone: { readonly entry: Entry; readonly sinceMs: number } | undefined;
  let isRefusalReported = false;
  let isLossReported = false;
  let isClosed = false;

  function write(event: ActivityEvent): void {
    pending.push({ text: writeEvent(event) });
    dropOldest();
    schedule(FLUSH_MS);
  }

  function schedule(delayMs: number): void {
    if (isClosed) return;
    timer ??= clock.after(delayMs, () => {
      timer = undefined;
      flush();
    });
  }

  /** Its failure has been reported, and is tried again. */
  function flush(): void {
    append().catch(() => {});
  }

  function stored(): Promise<void> {
    // The store is there: what waits for its events could free the memory that they need.
    if (problem === "store full" || problem === "store refused") return Promise.resolve();
    return append();
  }

  // --- appends ---

  function append(): Promise<void> {
    if (next !== undefined) return next;
    if (pending.length === 0 && dropped === 0 && lostBeforeMs === undefined) {
      return running ?? Promise.resolve();
    }
    if (running === undefined) return start();
    // The one under way does not have all of them, whatever becomes of it.
    next = running.then(start, start);
    return next;
  }

  function start(): Promise<void> {
    next = undefined;
    running = appendAll().finally(() => {
      running = undefined;
    });
    return running;
  }

  /** Appends what is pending now, or leaves the rest of it pending. Rejects with `StoreAwayError`. */
  async function appendAll(): Promise<void> {
    takeAgain();
    tellDropped();
    for (let left = pending.length; left > 0 && pending.length > 0; ) {
      const batch = pending.splice(0, Math.min(left, oneByOne > 0 ? 1 : MAX_APPENDED));
      left -= batch.length;
      underWay = batch.length;
      try {
        await store.appendToStream(
          "webhooks",
          batch.map(({ text }) => text),
        );
      } catch (error) {
        pending = [...batch, ...pending];
        return handleFailure(error, batch);
      } finally {
        underWay = 0;
      }
      succeed(batch);
    }
  }

  function succeed(batch: readonly Entry[]): void {
    const atMs = clock.nowMs();
    appended.push(...batch.map((entry) => ({ ...entry, atMs })));
    forgetBefore((lostBeforeMs ?? atMs) - AGAIN_MS);
    problem = undefined;
    refusedAlone = undefined;
    isLossReported = false;
    oneByOne = Math.max(0, oneByOne - batch.length);
    if (!isRefusalReported || oneByOne > 0) return;
    isRefusalReported = false;
    log.info("webhooks: the store takes events again");
  }

  /** Throws `StoreAwayError`: only that may delay what waits for the events. */
  function handleFailure(error: unknown, batch: readonly Entry[]): void {
    problem = causeOf(error);
    schedule(RETRY_MS);
    if (problem === "store refused") handleRefusal(error, batch);
    dropOldest();
    // A store that is away or full is reported by its connection.
    if (problem === "store away") throw error;
  }

  function handleRefusal(error: unknown, batch: readonly Entry[]): void {
    counters.count("worker.webhooks.refused");
    if (!isRefusalReported) {
      isRefusalReported = true;
      log.error(
        { err: error },
        "webhooks: the store refuses events; they are tried again, and sessions go on without them",
      );
    }
    const [first] = batch;
    if (first === undefined || batch.length > 1) {
      oneByOne = batch.length;
      return;
    }
    const nowMs = clock.nowMs();
    if (refusedAlone?.entry !== first) refusedAlone = { entry: first, sinceMs: nowMs };
    if (nowMs - refusedAlone.sinceMs < GIVE_UP_MS) return;
    pending.shift();
    oneByOne = Math.max(0, oneByOne - 1);
    lose([first], "store refused");
  }

  /** What the store may have lost goes first, so that the order stays. */
  function takeAgain(): void {
    if (lostBeforeMs === undefined) return;
    forgetBefore(lostBeforeMs - AGAIN_MS);
    const again = appended.map(({ text, gapOf }): Entry => {
      const entry = { text: markAgain(text), isAgain: true } as const;
      return gapOf === undefined ? entry : { ...entry, gapOf };
    });
    pending = [...again, ...pending];
    appended = [];
    lostBeforeMs = undefined;
  }

  function forgetBefore(atMs: number): void {
    const from = appended.findIndex((one) => one.atMs >= atMs);
    appended = from < 0 ? [] : appended.slice(Math.max(from, appended.length - maxPending));
  }

  // --- events that are lost ---

  function dropOldest(): void {
    let count = pending.length - maxPending;
    if (count <= 0) return;
    // Those that the store had are lost only if it has lost them too.
    pending = pending.filter(({ isAgain }) => isAgain !== true || --count < 0);
    lose(pending.splice(0, Math.max(0, pending.length - maxPending)), problem ?? "store away");
  }

  function lose(entries: readonly Entry[], cause: Cause): void {
    const events = entries.filter(({ gapOf }) => gapOf === undefined).length;
    // A gap that nobody was told is part of the next one.
    dropped += entries.reduce((sum, { gapOf }) => sum + (gapOf ?? 1), 0);
    if (events === 0) return;
    counters.count("worker.webhooks.lost", cause, events);
    if (isLossReported) return;
    isLossReported = true;
    log.error(
      { cause, kept: maxPending },
      "webhooks: events are lost, because they could not be stored for too long; receivers are told how many",
    );
  }

  /** In the place of the events that were dropped: the oldest. */
  function tellDropped(): void {
    if (dropped === 0) return;
    const gap = gapEvent({
      id: randomAlphanumerics(ID_CHARS),
      atMs: clock.wallMs(),
      worker: deps.worker,
      count: dropped,
      reason: REASONS[problem ?? "store away"],
    });
    pending.unshift({ text: writeEvent(gap), gapOf: dropped });
    dropped = 0;
  }

  const stopListening = store.onHealth(({ state }) => {
    if (state === "away") {
      lostBeforeMs ??= clock.nowMs();
      problem = "store away";
    } else flush();
  });

  return {
    write,
    stored,
    get pending() {
      return pending.length + underWay;
    },
    reassert() {
      lostBeforeMs ??= clock.nowMs();
      flush();
    },
    async close() {
      isClosed = true;
      timer?.cancel();
      stopListening();
      // What may be lost is appended by those that stay.
      if (pending.length === 0 && dropped === 0) return running?.catch(() => {});
      const failure = await append().then(
        () => undefined,
        (error: unknown) => error,
      );
      if (pending.length === 0) return;
      log.warn(
        { events: pending.length, ...(failure !== undefined && { err: failure }) },
        "webhooks: the last events could not be stored",
      );
    },
  };
}

function causeOf(error: unknown): Cause {
  if (error instanceof StoreFullError) return "store full";
  return error instanceof StoreAwayError ? "store away" : "store refused";
}

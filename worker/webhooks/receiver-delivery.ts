/** Delivers events to one receiver: what its lanes choose is sent, and what becomes of it is counted and logged. */
import { BoundedSet } from "../../shared/base/bounded.ts";
import type { Clock } from "../../shared/base/clock.ts";
import { randomAlphanumerics } from "../../shared/base/ids.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import { STREAMS } from "../../shared/store/streams.ts";
import { bodyOf, gapEvent, type OutboxEvent } from "./event-text.ts";
import { type Delivery, type Entry, hasBy, Lanes, mayHaveLost, type Position } from "./lanes.ts";
import { type Receiver, wants } from "./receivers.ts";
import type { Failure, Sender } from "./sender.ts";

export interface ReceiverState {
  readonly name: string;
  /** `gone`: it has answered 410, and gets nothing until the file changes or another worker delivers. */
  readonly state: "ok" | "down" | "gone";
  readonly backlog: number;
  /** Of the oldest event that it does not have. */
  readonly oldestMs: number;
  readonly lastSuccessAgoMs: number | undefined;
  readonly lastFailure: { readonly reason: string; readonly agoMs: number } | undefined;
}

export type ReceiverDelivery = ReturnType<typeof createReceiverDelivery>;

/** `isKnown`: an entry before it has the same event. */
export interface StoreEntry extends Omit<Entry, "id" | "isSkipped"> {
  readonly id: string;
  readonly isKnown: boolean;
}

/** Deliveries under way to one receiver. */
export const AT_ONCE = 16;
/** An event that has failed this often is logged. */
const STUCK_AFTER = 6;
const ID_CHARS = 24;
/** How often the caller calls `pump`. */
export const TICK_MS = 500;
const GAP_REASON = "the receiver was away, and the store keeps no more events";

export function createReceiverDelivery(deps: {
  readonly receiver: Receiver;
  readonly sender: Sender;
  readonly worker: string;
  /** Whether this worker still delivers; checked before each event. */
  readonly mayDeliver: () => boolean;
  readonly keep?: number;
  readonly random: () => number;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
}) {
  const { receiver, sender, clock, log, counters } = deps;
  const keep = deps.keep ?? STREAMS.webhooks.keep;
  /** Ids of events that the receiver has, the oldest first. */
  const accepted = new BoundedSet<string>(keep);
  let lanes = newLanes();
  let isClosed = false;
  let sending = 0;
  let isGone = false;
  let isReportedDown = false;
  /** Events that the receiver does not get, and is not told about yet. */
  let gap: { notice: Delivery; count: number | undefined } | undefined;
  let lastSuccessMs: number | undefined;
  let lastFailure: { readonly reason: string; readonly atMs: number } | undefined;

  function newLanes(): Lanes {
    return new Lanes({ atOnce: AT_ONCE, keep, random: deps.random });
  }

  /** `lost`: earlier events that are in memory only. */
  function add(entries: readonly StoreEntry[], lost: readonly Entry[] = []): void {
    const added = entries.map(({ isKnown, ...entry }) => ({
      ...entry,
      isSkipped: isKnown || accepted.has(entry.event.id) || !wants(receiver, entry.event.kind),
    }));
    const dropped = lanes.add([...lost, ...added]);
    if (dropped > 0) tellGap(dropped);
  }

  /** `count`: undefined if it is not known how many are lost. */
  function tellGap(count: number | undefined): void {
    counters.count("worker.webhooks.lost", "receiver away", count ?? 1);
    if (gap !== undefined) {
      gap.count = count === undefined || gap.count === undefined ? undefined : gap.count + count;
      return;
    }
    log.error(
      { receiver: receiver.name },
      `webhooks: events are lost: ${GAP_REASON}; the receiver is told when it is back`,
    );
    gap = { notice: lanes.addNotice(gapNow(count)), count };
  }

  function gapNow(count: number | undefined, id = randomAlphanumerics(ID_CHARS)): OutboxEvent {
    const { worker } = deps;
    return gapEvent({ id, atMs: clock.wallMs(), worker, count, reason: GAP_REASON });
  }

  async function deliver(delivery: Delivery): Promise<void> {
    const from = lanes;
    sending++;
    // More may have been lost since the notice was made.
    const told = gap?.notice === delivery ? gap.count : undefined;
    const event = gap?.notice === delivery ? gapNow(told, delivery.event.id) : delivery.event;
    const attempt = await sender.send({ id: event.id, body: bodyOf(event, receiver) });
    sending--;
    if (attempt.outcome === "accepted") accepted.add(event.id);
    if (attempt.outcome === "aborted" || from !== lanes) return;
    if (attempt.outcome === "failed") fail(delivery, attempt);
    else {
      succeed(delivery);
      if (gap?.notice === delivery) endGap(told);
    }
    pump();
  }

  function endGap(told: number | undefined): void {
    const more = gap?.count === undefined || told === undefined ? 0 : gap.count - told;
    gap = more > 0 ? { notice: lanes.addNotice(gapNow(more)), count: more } : undefined;
  }

  function succeed(delivery: Delivery): void {
    lastSuccessMs = clock.nowMs();
    lanes.delivered(delivery);
    counters.count("worker.webhooks.delivered", receiver.name);
    if (!isReportedDown) return;
    isReportedDown = false;
    log.info({ receiver: receiver.name }, "webhooks: the receiver accepts events again");
  }

  function fail(delivery: Delivery, { cause, reason, retryAfterMs }: Failure): void {
    const nowMs = clock.nowMs();
    const { name } = receiver;
    lastFailure = { reason, atMs: nowMs };
    counters.count("worker.webhooks.failed", cause);
    const isRejected = cause === "status 4xx" || cause === "redirect" || cause === "status other";
    const as = isRejected ? "rejected" : "failed";
    const { failures, retryAtMs } = lanes.failed(delivery, { as, nowMs, retryAfterMs });
    // The later ones are found by the caller's ticks.
    if (retryAtMs - nowMs < TICK_MS) clock.after(retryAtMs - nowMs + 1, pump);
    if (cause === "gone") {
      isGone = true;
      log.error(
        { receiver: name, reason },
        "webhooks: the receiver gets no more events; change the file of CT_WEBHOOKS, or remove the receiver from it",
      );
    } else if (lanes.isDown && !isReportedDown) {
      isReportedDown = true;
      log.warn(
        { receiver: name, cause, reason },
        "webhooks: the receiver does not accept events; it is tried again until it does",
      );
    } else if (failures === STUCK_AFTER && !lanes.isDown) {
      log.warn(
        { receiver: name, event: delivery.event.id, cause, reason },
        "webhooks: the receiver does not accept one event, so later ones of the same session wait",
      );
    }
  }

  /** Sends what can be sent now. */
  function pump(): void {
    if (isGone || isClosed || !deps.mayDeliver()) return;
    for (const delivery of lanes.next(clock.nowMs())) void deliver(delivery);
  }

  return {
    receiver,
    get state(): ReceiverState {
      const nowMs = clock.nowMs();
      const { oldest } = lanes;
      return {
        name: receiver.name,
        state: isGone ? "gone" : lanes.isDown ? "down" : "ok",
        backlog: lanes.backlog,
        oldestMs: oldest === undefined ? 0 : Math.max(0, clock.wallMs() - oldest.atMs),
        lastSuccessAgoMs: lastSuccessMs === undefined ? undefined : nowMs - lastSuccessMs,
        lastFailure: lastFailure && { reason: lastFailure.reason, agoMs: nowMs - lastFailure.atMs },
      };
    },
    get position(): Position {
      return lanes.position();
    },
    /** Events that are under way. */
    get sending(): number {
      return sending;
    },
    /** Begins behind `position`; undefined: with the oldest. The entries are all that the store has. */
    begin(entries: readonly StoreEntry[], position: Position | undefined): void {
      if (position !== undefined) {
        const has = hasBy(position, entries);
        for (const [index, { event }] of entries.entries()) if (has[index]) accepted.add(event.id);
        // A shorter stream is one of a store that was flushed, where nothing has been pushed out.
        if (entries.length >= keep && mayHaveLost(position, entries)) tellGap(undefined);
      }
      add(entries);
    },
    /** Begins again, with what the store has after it may have lost some. */
    restart(entries: readonly StoreEntry[]): void {
      const inStore = new Set(entries.map(({ event }) => event.id));
      // Those of workers that are gone as well are only here.
      const lost = lanes
        .waiting()
        .filter(({ id }) => !inStore.has(id))
        .map((event) => ({ id: undefined, event, isAgain: true, isSkipped: false }));
      sender.abort();
      lanes = newLanes();
      if (gap !== undefined) {
        gap.notice = lanes.addNotice(gapNow(gap.count, gap.notice.event.id));
      }
      add(entries, lost);
    },
    add: (entries: readonly StoreEntry[]): void => add(entries),
    pump,
    async close(): Promise<void> {
      isClosed = true;
      await sender.close();
    },
  };
}

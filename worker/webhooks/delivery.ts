/**
 * Delivers the events in the store to the receivers, on the one worker that leads the role `webhooks`:
 *
 *     the stream ──▶ every receiver's lanes ──▶ requests
 *                            └─▶ positions, in the store, for the next leader
 *
 * A leader begins with all that the store has, so it knows which events are there twice. One that loses the role stops at once, and
 * forgets everything: its successor sends again what was under way.
 */
import { BoundedSet } from "../../shared/base/bounded.ts";
import type { Clock } from "../../shared/base/clock.ts";
import { startPeriodicTask } from "../../shared/base/periodic-task.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { LeaderElection } from "../../shared/membership/leader-election.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import { type Store, StoreAwayError } from "../../shared/store/store.ts";
import { STREAM_START, STREAMS, type StreamEntry } from "../../shared/store/streams.ts";
import { readEvent } from "./event-text.ts";
import { readPositions, writePositions } from "./positions.ts";
import {
  createReceiverDelivery,
  type ReceiverDelivery,
  type ReceiverState,
  type StoreEntry,
  TICK_MS,
} from "./receiver-delivery.ts";
import type { Receiver } from "./receivers.ts";
import type { Sender } from "./sender.ts";

export type WebhookDelivery = ReturnType<typeof startDelivery>;

/** When the store comes back, workers append again what it may have lost; they all need this long. */
const RETURN_MS = 2000;
const PAGE = 500;
/** Of the 1.7 s in which a worker stops. */
const CLOSE_MS = 500;

/** Events that are remembered, more than the stream has. */
const MAX_KNOWN = 2 * STREAMS.webhooks.keep;

export interface DeliveryDeps {
  readonly store: Pick<Store, "appendToStream" | "readStream" | "onHealth">;
  readonly leadership: Pick<LeaderElection, "isLeading">;
  readonly receivers: () => readonly Receiver[];
  readonly createSender: (receiver: Receiver) => Sender;
  readonly worker: string;
  readonly random: () => number;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
}

export function startDelivery(deps: DeliveryDeps) {
  const { store, leadership, clock, log } = deps;
  let run: Run | undefined;
  let isClosed = false;
  let returnedMs = Number.NEGATIVE_INFINITY;

  async function work(): Promise<void> {
    try {
      if (run?.isStale === true || !leadership.isLeading) await end();
      if (!leadership.isLeading || isClosed) return;
      if (clock.nowMs() < returnedMs + RETURN_MS) return run?.pump();
      if (run === undefined) {
        const begun = new Run(deps);
        await begun.begin();
        run = begun;
      }
      await run.readNew();
      run.pump();
      await run.writePositions();
    } catch (error) {
      // A store that is away may lose what was read, but not what was read here.
      if (error instanceof StoreAwayError) return run?.pump();
      log.error({ err: error }, "webhooks: delivery failed; it is tried again");
    }
  }

  async function end(): Promise<void> {
    const ended = run;
    run = undefined;
    await ended?.close();
  }

  // Reads the stream, and sends events whose time to wait is over.
  const working = startPeriodicTask({
    clock,
    periodMs: TICK_MS,
    work: () => (run === undefined && !leadership.isLeading ? undefined : work()),
  });
  const stopListening = store.onHealth(({ state }) => {
    if (state === "away") return;
    returnedMs = clock.nowMs();
    run?.storeReturned();
  });

  return {
    /** Undefined: another worker delivers. */
    get states(): readonly ReceiverState[] | undefined {
      return leadership.isLeading ? run?.states : undefined;
    },
    /** The receivers have changed. */
    reload(): void {
      if (run !== undefined) run.isStale = true;
    },
    /** Waits shortly for what is under way. Never rejects. */
    async close(): Promise<void> {
      isClosed = true;
      working.close();
      stopListening();
      await working.settled();
      await run?.settle();
      await end();
    },
  };
}

/** From the moment a worker leads until it does not. */
class Run {
  /** The receivers have changed, so that another one must begin. */
  isStale = false;
  readonly #deps: DeliveryDeps;
  readonly #receivers: readonly ReceiverDelivery[];
  /** Ids of the events that were read, the oldest first. */
  readonly #known = new BoundedSet<string>(MAX_KNOWN);
  #lastId = STREAM_START;
  #written = "";
  #hasReturned = false;
  #mustWrite = false;
  #isStopping = false;

  constructor(deps: DeliveryDeps) {
    this.#deps = deps;
    this.#receivers = deps.receivers().map((receiver) =>
      createReceiverDelivery({
        ...deps,
        receiver,
        sender: deps.createSender(receiver),
        mayDeliver: () => deps.leadership.isLeading && !this.#isStopping,
      }),
    );
  }

  get states(): readonly ReceiverState[] {
    return this.#receivers.map(({ state }) => state);
  }

  /** Rejects with `StoreAwayError`. */
  async begin(): Promise<void> {
    const positions = await readPositions(this.#deps.store);
    const entries = await this.#readAll();
    for (const one of this.#receivers) one.begin(entries, positions.get(one.receiver.name));
    this.#deps.log.info(
      {
        receivers: this.#receivers
          .map(({ state }) => `${state.name} (${state.backlog} to send)`)
          .join(", "),
      },
      "webhooks: this worker delivers now",
    );
  }

  async readNew(): Promise<void> {
    if (this.#hasReturned) {
      // Its new entries may even have the ids of those that it has lost.
      this.#known.clear();
      this.#lastId = STREAM_START;
      const entries = await this.#readAll();
      this.#hasReturned = false;
      this.#mustWrite = true;
      for (const one of this.#receivers) one.restart(entries);
      return;
    }
    const entries = await this.#readAll();
    if (entries.length > 0) for (const one of this.#receivers) one.add(entries);
  }

  pump(): void {
    for (const one of this.#receivers) one.pump();
  }

  storeReturned(): void {
    this.#hasReturned = true;
  }

  /** Rejects with `StoreAwayError`. */
  async writePositions(): Promise<void> {
    const positions = new Map(
      this.#receivers.map(({ receiver, position }) => [receiver.name, position]),
    );
    const written = JSON.stringify([...positions]);
    if (written === this.#written && !this.#mustWrite) return;
    await writePositions(this.#deps.store, positions);
    this.#written = written;
    this.#mustWrite = false;
  }

  /** Begins nothing more, and waits shortly for what is under way. */
  async settle(): Promise<void> {
    const { clock } = this.#deps;
    this.#isStopping = true;
    const untilMs = clock.nowMs() + CLOSE_MS;
    while (this.#receivers.some(({ sending }) => sending > 0) && clock.nowMs() < untilMs) {
      await new Promise<void>((resolve) => clock.after(10, resolve));
    }
  }

  async close(): Promise<void> {
    this.#isStopping = true;
    await Promise.all(this.#receivers.map((one) => one.close()));
    if (!this.#deps.leadership.isLeading) return;
    await this.writePositions().catch((error: unknown) => {
      this.#deps.log.debug(
        { err: error },
        "webhooks: positions not written; events are sent again",
      );
    });
  }

  /** What the stream has behind what was read last: all of it, or it rejects and nothing counts as read. */
  async #readAll(): Promise<StoreEntry[]> {
    const all: StreamEntry[] = [];
    let after = this.#lastId;
    for (let isMore = true; isMore; ) {
      const page = await this.#deps.store.readStream("webhooks", { after, limit: PAGE });
      all.push(...page);
      after = page.at(-1)?.id ?? after;
      isMore = page.length === PAGE;
    }
    this.#lastId = after;
    return all.flatMap((entry) => this.#parse(entry));
  }

  #parse({ id, text }: StreamEntry): StoreEntry[] {
    const read = readEvent(text);
    if (read === undefined) {
      this.#deps.counters.count("worker.webhooks.lost", "unreadable");
      this.#deps.log.error({ entry: id }, "webhooks: an entry in the store is not an event");
      return [];
    }
    const { event, isAgain } = read;
    return [{ id, event, isAgain, isKnown: !this.#known.addNew(event.id) }];
  }
}

/**
 * What one receiver gets next: a lane for each session, in which an event waits until the one before is accepted. Lanes do not wait
 * for each other, unless the receiver fails as a whole. Pure: the caller sends, and reports what became of it.
 */
import { createHash } from "node:crypto";
import { backoffMs } from "../../shared/base/backoff.ts";
import type { OutboxEvent } from "./event-text.ts";

/** An event, mostly as it is in the store. */
export interface Entry {
  /** Of the stream; undefined: the store has lost it. */
  readonly id: string | undefined;
  readonly event: OutboxEvent;
  /** It was appended again to a store that may have lost it, perhaps behind later events of other workers. */
  readonly isAgain: boolean;
  /** The receiver does not get it: it has another filter, or has it already. */
  readonly isSkipped: boolean;
}

/** Up to where a receiver has the events: enough for another worker to go on. */
export interface Position {
  /** The receiver has all entries up to this one; undefined: none. */
  readonly low?: string | undefined;
  /** Up to this one it has all entries that are not held. */
  readonly high?: string | undefined;
  /** By lane: the first entry that the receiver does not have. */
  readonly held: Readonly<Record<string, string>>;
}

export interface Delivery {
  readonly event: OutboxEvent;
}

/** `rejected`: the receiver does not want this event as it is. `failed`: it may want it later. */
export type Failing = "rejected" | "failed";

/** Up to a fifth of a delay is added or subtracted. */
const JITTER = [0.8, 1.2] as const;
const RETRY = {
  rejected: { firstMs: 10_000, maxMs: 600_000, jitter: JITTER },
  failed: { firstMs: 100, maxMs: 60_000, jitter: JITTER },
} as const;
/** After this many failures in a row, of any lanes, the receiver is down: one event at a time is tried. */
const DOWN_AFTER = 8;
const PAUSE = { firstMs: 1000, maxMs: 30_000, jitter: JITTER } as const;
/** In a position. With more, what is behind them is sent again to a receiver whose worker died. */
const MAX_HELD = 40;
const MAX_LANE_CHARS = 40;

interface Item extends Entry {
  /** Undefined: the receiver does not get it. */
  readonly lane: Lane | undefined;
  isDone: boolean;
}

type LaneItem = Item & { readonly lane: Lane };

interface Lane {
  readonly name: string;
  /** What the receiver does not have, the oldest first. */
  readonly items: Delivery[];
  /** An event of it is under way, perhaps one that was dropped since. */
  isSending: boolean;
  failures: number;
  retryAtMs: number;
}

export class Lanes {
  readonly #atOnce: number;
  readonly #keep: number;
  readonly #random: () => number;
  /** In the order of the stream; from the first that the receiver does not have, with some before it. */
  #items: Item[] = [];
  #head = 0;
  #low: string | undefined;
  #undone = 0;
  readonly #lanes = new Map<string, Lane>();
  /** Their first event can be sent now, those that have waited longest first. */
  readonly #ready = new Set<Lane>();
  readonly #resting = new Set<Lane>();
  readonly #sending = new Map<Delivery, Lane>();
  #failures = 0;
  #pauses = 0;
  #pausedUntilMs = Number.NEGATIVE_INFINITY;

  /** `keep`: as many entries as the stream keeps; those before them are dropped. */
  constructor(options: {
    readonly atOnce: number;
    readonly keep: number;
    readonly random: () => number;
  }) {
    this.#atOnce = options.atOnce;
    this.#keep = options.keep;
    this.#random = options.random;
  }

  /** Events that the receiver does not have. */
  get backlog(): number {
    return this.#undone;
  }

  /** The oldest event that the receiver does not have. */
  get oldest(): OutboxEvent | undefined {
    return this.#items[this.#head]?.event;
  }

  get isDown(): boolean {
    return this.#failures >= DOWN_AFTER;
  }

  /** Adds the next entries of the stream. Returns how many events were dropped, because the receiver is too far behind. */
  add(entries: readonly Entry[]): number {
    const added = entries.map((entry): Item => {
      const lane = entry.isSkipped ? undefined : this.#laneOf(entry.event);
      return { ...entry, lane, isDone: entry.isSkipped };
    });
    for (const item of inOrder(added)) {
      this.#undone++;
      this.#push(item.lane, item);
    }
    this.#items.push(...added);
    this.#advance();
    return this.#drop();
  }

  /** Adds an event of ours for this receiver only. It has no place in a position. */
  addNotice(event: OutboxEvent): Delivery {
    const notice = { event };
    this.#push(this.#laneOf(event), notice);
    return notice;
  }

  /** The events that the receiver does not have, those of each lane in their order; without notices. */
  waiting(): OutboxEvent[] {
    return [...this.#lanes.values()].flatMap(({ items }) =>
      items.filter(isItem).map(({ event }) => event),
    );
  }

  /** The events to send now. The outcome of each must be reported. */
  next(nowMs: number): Delivery[] {
    for (const lane of this.#resting) {
      if (lane.retryAtMs > nowMs) continue;
      this.#resting.delete(lane);
      this.#ready.add(lane);
    }
    const chosen: Delivery[] = [];
    if (nowMs < this.#pausedUntilMs) return chosen;
    const atOnce = this.isDown ? 1 : this.#atOnce;
    for (const lane of this.#ready) {
      if (this.#sending.size >= atOnce) break;
      this.#ready.delete(lane);
      this.#resting.delete(lane);
      const [first] = lane.items;
      if (first === undefined || lane.isSending) continue;
      lane.isSending = true;
      this.#sending.set(first, lane);
      chosen.push(first);
    }
    return chosen;
  }

  delivered(delivery: Delivery): void {
    const wasDown = this.isDown;
    this.#failures = 0;
    this.#pauses = 0;
    this.#pausedUntilMs = Number.NEGATIVE_INFINITY;
    const lane = this.#ended(delivery);
    if (lane.items[0] === delivery) this.#take(lane);
    this.#goOn(lane);
    if (!wasDown) return;
    // They wait because the receiver was down.
    for (const other of this.#resting) this.#ready.add(other);
    this.#resting.clear();
  }

  /** Returns how often this event has failed, and when it is due again. */
  failed(
    delivery: Delivery,
    outcome: {
      readonly as: Failing;
      readonly nowMs: number;
      readonly retryAfterMs?: number | undefined;
    },
  ): { readonly failures: number; readonly retryAtMs: number } {
    const { as, nowMs, retryAfterMs } = outcome;
    this.#failures++;
    // Those that were under way when it went down count once.
    if (this.isDown && nowMs >= this.#pausedUntilMs) {
      this.#pausedUntilMs = nowMs + backoffMs(PAUSE, this.#pauses++, this.#random());
    }
    if (retryAfterMs !== undefined) {
      this.#pausedUntilMs = Math.max(this.#pausedUntilMs, nowMs + retryAfterMs);
    }
    const lane = this.#ended(delivery);
    if (lane.items[0] !== delivery) {
      // It was dropped meanwhile.
      this.#goOn(lane);
      return { failures: 1, retryAtMs: nowMs };
    }
    lane.retryAtMs = nowMs + backoffMs(RETRY[as], lane.failures, this.#random());
    lane.failures++;
    this.#resting.add(lane);
    return lane;
  }

  /** For the store: what another worker needs to go on here. */
  position(): Position {
    const held: Record<string, string> = {};
    let high = this.#low;
    let count = 0;
    for (let index = this.#head; index < this.#items.length; index++) {
      const item = this.#items[index];
      // Without an id it has no place in a position.
      if (item?.id === undefined) break;
      if (!item.isDone && item.lane !== undefined && held[item.lane.name] === undefined) {
        if (count === MAX_HELD) break;
        count++;
        held[item.lane.name] = item.id;
      }
      high = item.id;
    }
    return { low: this.#low, high, held };
  }

  // --- the parts ---

  #laneOf(event: OutboxEvent): Lane {
    const name = laneOf(event);
    const known = this.#lanes.get(name);
    if (known !== undefined) return known;
    const lane: Lane = { name, items: [], isSending: false, failures: 0, retryAtMs: 0 };
    this.#lanes.set(name, lane);
    return lane;
  }

  #push(lane: Lane, delivery: Delivery): void {
    lane.items.push(delivery);
    if (lane.items.length === 1) this.#goOn(lane);
  }

  #ended(delivery: Delivery): Lane {
    const lane = this.#sending.get(delivery);
    if (lane === undefined) throw new TypeError("an outcome of what was not sent");
    this.#sending.delete(delivery);
    lane.isSending = false;
    return lane;
  }

  /** Takes the first event out: the receiver has it, or never gets it. */
  #take(lane: Lane): void {
    const delivery = lane.items.shift();
    lane.failures = 0;
    this.#resting.delete(lane);
    if (delivery === undefined || !isItem(delivery)) return;
    delivery.isDone = true;
    this.#undone--;
    this.#advance();
  }

  /** The first event can be sent, when none is under way; without one, the lane ends. */
  #goOn(lane: Lane): void {
    if (lane.isSending) return;
    if (lane.items.length > 0) this.#ready.add(lane);
    else {
      this.#ready.delete(lane);
      this.#lanes.delete(lane.name);
    }
  }

  #advance(): void {
    for (let item = this.#items[this.#head]; item?.isDone; item = this.#items[this.#head]) {
      this.#low = item.id ?? this.#low;
      this.#head++;
    }
    if (this.#head < COMPACT_AFTER) return;
    this.#items = this.#items.slice(this.#head);
    this.#head = 0;
  }

  #drop(): number {
    let dropped = 0;
    while (this.#items.length - this.#head > this.#keep) {
      const item = this.#items[this.#head];
      const lane = item?.lane;
      if (item === undefined || lane === undefined) break;
      dropped++;
      this.#discard(lane, item);
    }
    return dropped;
  }

  #discard(lane: Lane, item: Item): void {
    if (lane.items[0] === item) this.#take(lane);
    else {
      // Events that were appended again may be in another order than in the stream.
      lane.items.splice(lane.items.indexOf(item), 1);
      item.isDone = true;
      this.#undone--;
      this.#advance();
    }
    this.#goOn(lane);
  }
}

const COMPACT_AFTER = 1000;

/** Which of the entries a receiver has, by its position; the entries are all that the store has. */
export function hasBy(
  { low, high, held }: Position,
  entries: readonly Omit<Entry, "isSkipped">[],
): readonly boolean[] {
  const lowAt = low === undefined ? -1 : entries.findIndex(({ id }) => id === low);
  // Without it, nothing is known about those behind it.
  const highAt = lowAt < 0 ? -1 : entries.findIndex(({ id }) => id === high);
  const heldFrom = new Set<string>();
  return entries.map(({ id, event }, index) => {
    if (index <= lowAt) return true;
    const lane = laneOf(event);
    if (held[lane] === id) heldFrom.add(lane);
    return index <= highAt && !heldFrom.has(lane);
  });
}

/**
 * Whether a stream that is full may have dropped entries that the receiver does not have, by its position. The first of those is the
 * first that is held; if none is held, it came later, and is not known.
 */
export function mayHaveLost(
  { low, held }: Position,
  entries: readonly Pick<Entry, "id">[],
): boolean {
  const ids = new Set(entries.map(({ id }) => id));
  if (low !== undefined && ids.has(low)) return false;
  const first = Object.values(held);
  return first.length === 0 || first.some((id) => !ids.has(id));
}

function isItem(delivery: Delivery): delivery is Item {
  return "isDone" in delivery;
}

/** Events of one session; without a session, of one person, and otherwise of one kind. */
function laneOf({ kind, session, actor, target }: OutboxEvent): string {
  if (session !== undefined) return shorten(session);
  const party = [target, actor].find((one) => one?.type === "user") ?? actor;
  // Strangers whose sign-in is refused have an address only.
  const name = party?.id ?? party?.address ?? party?.way;
  return shorten(name === undefined ? `kind ${kind}` : `${party?.type} ${name}`);
}

function shorten(name: string): string {
  if (name.length <= MAX_LANE_CHARS) return name;
  return createHash("sha256").update(name).digest("base64url").slice(0, MAX_LANE_CHARS);
}

/**
 * Those in lanes. Workers that append again do so at the same time, and each only what it had itself: in a lane with such events,
 * they are put into the order of their times. All others stay as the stream has them, because clocks of machines differ.
 */
function inOrder(items: readonly Item[]): readonly LaneItem[] {
  const inLanes = items.filter((item): item is LaneItem => item.lane !== undefined);
  const mixed = new Set(inLanes.filter(({ isAgain }) => isAgain).map(({ lane }) => lane));
  if (mixed.size === 0) return inLanes;
  const sorted = inLanes
    .filter(({ lane }) => mixed.has(lane))
    .sort((a, b) => a.event.atMs - b.event.atMs);
  return [...inLanes.filter(({ lane }) => !mixed.has(lane)), ...sorted];
}

/**
 * A person of the long haul: socket.io's client, and numbered messages to the others of the session. Knows what it has not
 * got, got twice or out of order, and whether that was while it and the sender were connected.
 */
import { Tally } from "../../../test/support/counted/tally.ts";
import { RawPeer, type WireMessage } from "../../../test/worker/sessions/raw-peer.ts";

/** What went wrong with the messages to one person or to many. */
export interface Faults {
  readonly lost: number;
  readonly doubled: number;
  readonly reordered: number;
}

export const NO_FAULTS: Faults = { lost: 0, doubled: 0, reordered: 0 };

export interface Counts {
  readonly expected: number;
  /** While sender and receiver stayed connected: there must be none. */
  readonly connected: Faults;
  /** While one of them reconnected. */
  readonly reconnecting: Faults;
}

/** From shortly before its end until the client is in its session again. */
interface Break {
  /** When the client noticed it. */
  readonly atMs: number;
  readonly fromMs: number;
  toMs: number;
}

/** A message that did not arrive. */
export interface Loss {
  readonly sentMs: number;
  readonly isReconnecting: boolean;
  /** From the nearest end of a connection of the two until it was sent; undefined if neither lost one. */
  readonly sinceBreakMs: number | undefined;
}

/** What was sent shortly before a client noticed the end of its connection may have been lost with it. */
const BEFORE_MS = 5000;
/** For this long a balancer keeps a WebSocket whose worker has gone, until another one goes on with it. */
const KEPT_MS = 20_000;
/** Messages that wait for a client arrive after it has connected. */
const AFTER_MS = 2000;

export class Talker {
  readonly peer: RawPeer;
  id = "";
  others: readonly Talker[] = [];
  /** When a message last arrived. */
  heardMs = 0;
  /** When each of its messages was sent, by its number. */
  readonly sentMs: number[] = [];
  readonly #breaks: Break[] = [];
  readonly #heard = new Map<Talker, Heard>();

  /** `lastDisturbanceMs`: when a process was last ended or halted. */
  constructor(url: string, roomToken: string, lastDisturbanceMs: () => number) {
    this.peer = new RawPeer({ url, roomToken });
    const { socket } = this.peer;
    socket.on("disconnect", () => {
      const nowMs = performance.now();
      const disturbedMs = lastDisturbanceMs();
      // A client whose worker has ended notices it when its balancer has waited in vain.
      const isOfIt = nowMs - disturbedMs < KEPT_MS + BEFORE_MS;
      const fromMs = Math.min(nowMs, isOfIt ? disturbedMs : nowMs) - BEFORE_MS;
      this.#breaks.push({ atMs: nowMs, fromMs, toMs: Number.POSITIVE_INFINITY });
    });
    socket.on("connect", () => {
      const last = this.#breaks.at(-1);
      if (last !== undefined) last.toMs = performance.now();
    });
    socket.on("message", () => {
      // A long run has many messages.
      for (const message of this.peer.received.splice(0)) this.#receive(message);
    });
  }

  get isConnected(): boolean {
    return this.peer.socket.connected;
  }

  get disconnects(): number {
    return this.#breaks.length;
  }

  say(): void {
    const number = this.sentMs.length;
    this.sentMs.push(performance.now());
    this.peer.broadcast(
      `${this.id} ${number} ${PADDING}`,
      this.others.map(({ id }) => id),
    );
  }

  /** Loses its connection, and reconnects as after a change of the network. */
  drop(): void {
    this.peer.socket.io.engine.close();
  }

  /** Whether something that each of the others sent after `sinceMs` has arrived. */
  hasHeardSince(sinceMs: number): boolean {
    return this.others.every((other) => (this.#heard.get(other)?.lastSentMs ?? 0) > sinceMs);
  }

  /** Whether the last message of each of the others has arrived: what is missing then is lost. */
  get hasLatest(): boolean {
    return this.others.every(
      (other) => (this.#heard.get(other)?.lastSentMs ?? 0) === (other.sentMs.at(-1) ?? 0),
    );
  }

  counts(): Counts {
    const all: Faults[] = [...this.#heard.values()].map(({ connected }) => connected);
    const reconnecting = [...this.#heard.values()].map((heard) => heard.reconnecting);
    for (const { isReconnecting } of this.losses) {
      (isReconnecting ? reconnecting : all).push({ ...NO_FAULTS, lost: 1 });
    }
    return {
      expected: this.others.reduce((sum, { sentMs }) => sum + sentMs.length, 0),
      connected: sumOf(all),
      reconnecting: sumOf(reconnecting),
    };
  }

  /** What has not arrived, with the time at which it was sent. */
  get losses(): Loss[] {
    return this.others.flatMap((other) =>
      this.#missingOf(other).map((number) => {
        const sentMs = other.sentMs[number] ?? 0;
        return {
          sentMs,
          isReconnecting: this.#isBroken(other, sentMs),
          sinceBreakMs: this.#sinceBreak(other, sentMs),
        };
      }),
    );
  }

  #missingOf(other: Talker): number[] {
    const sent = other.sentMs.length;
    return this.#heard.get(other)?.tally.missing(sent) ?? Array.from({ length: sent }, (_, i) => i);
  }

  #receive(message: WireMessage): void {
    const { kind, content } = message;
    if (content instanceof Uint8Array) {
      this.#count(Buffer.from(content).toString());
      return;
    }
    const { method, params } = content as { method?: string; params?: [{ id: string }] };
    if (method === "peer/info") this.id = params?.[0].id ?? "";
    else if (kind === "request" && method === "peer/join") this.peer.decide(message, true);
  }

  #count(text: string): void {
    const [id, number] = text.split(" ");
    const from = this.others.find((other) => other.id === id);
    if (from === undefined) return;
    this.heardMs = performance.now();
    const heard = this.#heard.get(from) ?? new Heard();
    this.#heard.set(from, heard);
    const sentMs = from.sentMs[Number(number)] ?? 0;
    heard.add(Number(number), sentMs, this.#isBroken(from, sentMs));
  }

  #sinceBreak(sender: Talker, sentMs: number): number | undefined {
    return [...this.#breaks, ...sender.#breaks]
      .map(({ atMs }) => sentMs - atMs)
      .sort((one, other) => Math.abs(one) - Math.abs(other))[0];
  }

  /** Whether one of the two reconnected around the time at which a message was sent, or since then. */
  #isBroken(sender: Talker, sentMs: number): boolean {
    return [...this.#breaks, ...sender.#breaks].some(
      ({ fromMs, toMs }) => sentMs > fromMs && sentMs < toMs + AFTER_MS,
    );
  }
}

/** What one person has heard of another one. */
class Heard {
  readonly tally = new Tally();
  lastSentMs = 0;
  connected = NO_FAULTS;
  reconnecting = NO_FAULTS;

  add(number: number, sentMs: number, isBroken: boolean): void {
    const { doubled, reordered } = this.tally;
    this.tally.add(number);
    this.lastSentMs = Math.max(this.lastSentMs, sentMs);
    const added = {
      lost: 0,
      doubled: this.tally.doubled - doubled,
      reordered: this.tally.reordered - reordered,
    };
    if (isBroken) this.reconnecting = sumOf([this.reconnecting, added]);
    else this.connected = sumOf([this.connected, added]);
  }
}

export function sumOf(all: readonly Faults[]): Faults {
  const total = (of: keyof Faults): number => all.reduce((sum, one) => sum + one[of], 0);
  return { lost: total("lost"), doubled: total("doubled"), reordered: total("reordered") };
}

/** As long as a small encrypted edit. */
const PADDING = "x".repeat(80);

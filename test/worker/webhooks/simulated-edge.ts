/**
 * An edge in one process, with simulated time: workers with outboxes and deliveries, a store that may be away and lose its last
 * second, sessions that record numbered events, and a receiver that fails. What happens is drawn from a seed.
 */
import type { Clock, Timer } from "../../../shared/base/clock.ts";
import type { WorkerId } from "../../../shared/base/ids.ts";
import { createCounters } from "../../../shared/metrics/metrics.ts";
import { type Store, StoreAwayError, type StoreHealth } from "../../../shared/store/store.ts";
import { STREAM_START, STREAMS, type StreamName } from "../../../shared/store/streams.ts";
import { startDelivery, type WebhookDelivery } from "../../../worker/webhooks/delivery.ts";
import { createOutbox, type Outbox } from "../../../worker/webhooks/outbox.ts";
import type { Receiver } from "../../../worker/webhooks/receivers.ts";
import type { Attempt, Sender } from "../../../worker/webhooks/sender.ts";
import { silentLog } from "../../support/logs.ts";
import { createStepClock, type StepClock } from "../../support/step-clock.ts";

export type Random = () => number;

type StreamStore = Pick<Store, "appendToStream" | "readStream" | "onHealth">;

class SimulatedStore {
  readonly #clock: StepClock;
  readonly #streams = new Map<StreamName, { id: string; text: string; atMs: number }[]>();
  readonly #listeners = new Set<(health: StoreHealth) => void>();
  #next = 1;
  isAway = false;

  constructor(clock: StepClock) {
    this.#clock = clock;
  }

  /** As one process reaches it, until it is dead. */
  connect(process: { isDead: boolean }): StreamStore {
    const reach = async (): Promise<void> => {
      // The reply of a request of a dead process never comes.
      if (process.isDead) await new Promise(() => {});
      await Promise.resolve();
      if (this.isAway) throw new StoreAwayError("simulated");
    };
    return {
      appendToStream: async (stream, texts) => {
        await reach();
        const entries = this.#streams.get(stream) ?? [];
        this.#streams.set(stream, entries);
        for (const text of texts) {
          entries.push({ id: `${this.#next++}-0`, text, atMs: this.#clock.nowMs() });
        }
        entries.splice(0, Math.max(0, entries.length - STREAMS[stream].keep));
      },
      readStream: async (stream, { after, limit }) => {
        await reach();
        const entries = this.#streams.get(stream) ?? [];
        if (after === undefined) return entries.slice(-limit);
        const from = after === STREAM_START ? 0 : Number.parseInt(after, 10);
        return entries.filter(({ id }) => Number.parseInt(id, 10) > from).slice(0, limit);
      },
      onHealth: (listener) => {
        const listen = (health: StoreHealth): void => {
          if (!process.isDead) listener(health);
        };
        this.#listeners.add(listen);
        return () => this.#listeners.delete(listen);
      },
    };
  }

  crash(): void {
    this.isAway = true;
    for (const listener of this.#listeners) listener({ state: "away", reason: "simulated" });
  }

  /** Comes back without what was written in the last `lostMs`; with `isBehind` its new ids are those of what it has lost. */
  comeBack(crashedMs: number, lostMs: number, isBehind: boolean): void {
    for (const entries of this.#streams.values()) {
      const from = entries.findIndex(({ atMs }) => atMs > crashedMs - lostMs);
      if (from < 0) continue;
      const [first] = entries.splice(from);
      if (isBehind && first !== undefined)
        this.#next = Math.min(this.#next, Number.parseInt(first.id, 10));
    }
    this.isAway = false;
    for (const listener of this.#listeners) listener({ state: "up" });
  }
}

// --- workers ---

interface SimulatedWorker {
  readonly id: WorkerId;
  readonly process: { isDead: boolean };
  readonly outbox: Outbox;
  readonly delivery: WebhookDelivery;
  leadsUntilMs: number;
}

interface Session {
  readonly name: string;
  owner: SimulatedWorker;
  /** The last event whose effect is stored. */
  stored: number;
  isRecording: boolean;
}

export interface Arrival {
  readonly session: string;
  readonly number: number;
  readonly id: string;
  readonly body: string;
}

export class SimulatedEdge {
  readonly clock = createStepClock();
  readonly arrivals: Arrival[] = [];
  readonly random: Random;
  /** Share of the attempts that fail, before or after the receiver has the event. */
  failing = 0.3;
  readonly #store = new SimulatedStore(this.clock);
  readonly #workers: SimulatedWorker[] = [];
  readonly #sessions: Session[];
  #started = 0;
  #crashedMs = 0;
  #workerDiedMs = 0;
  #storeReturnedMs = 0;

  constructor(random: Random) {
    this.random = random;
    for (let index = 0; index < 3; index++) this.#workers.push(this.#start());
    this.#sessions = ["a", "b", "c", "d"].map((name) => ({
      ...{ name, stored: 0, isRecording: false },
      owner: this.#pick(this.#workers),
    }));
    this.#elect();
  }

  #pick<T>(from: readonly T[]): T {
    return from[Math.floor(this.random() * from.length)] as T;
  }

  #start(): SimulatedWorker {
    const process = { isDead: false };
    const id = `worker-${++this.#started}` as WorkerId;
    const clock = clockOf(this.clock, process);
    const store = this.#store.connect(process);
    const common = {
      store,
      worker: id,
      clock,
      log: silentLog(),
      counters: createCounters(),
    };
    const outbox = createOutbox(common);
    const worker = { id, process, outbox, leadsUntilMs: 0 };
    const isLeading = (): boolean => !process.isDead && this.clock.nowMs() < started.leadsUntilMs;
    const delivery = startDelivery({
      ...common,
      leadership: {
        get isLeading() {
          return isLeading();
        },
      },
      receivers: () => [RECEIVER],
      createSender: () => this.#createSender(process),
      random: this.random,
    });
    const started: SimulatedWorker = { ...worker, delivery };
    return started;
  }

  #createSender(process: { isDead: boolean }): Sender {
    let stops = 0;
    return {
      send: ({ body }) =>
        new Promise<Attempt>((resolve) => {
          const before = stops;
          const isLost = this.random() < this.failing / 2;
          const isUnanswered = this.random() < this.failing / 2;
          const tookMs = 1 + this.random() * 400;
          // Once sent, it arrives, even if the sender is dead by then.
          this.clock.after(tookMs / 2, () => {
            if (!isLost) this.#arrive(body);
          });
          this.clock.after(tookMs, () => {
            if (process.isDead) return;
            if (stops > before) resolve({ outcome: "aborted" });
            else if (isLost || isUnanswered) {
              resolve({ outcome: "failed", cause: "connection closed", reason: "simulated" });
            } else resolve({ outcome: "accepted", status: 200 });
          });
        }),
      abort() {
        stops++;
      },
      async close() {
        stops++;
      },
    };
  }

  #arrive(body: string): void {
    const { id, session, details } = JSON.parse(body);
    this.arrivals.push({ session, number: details?.number, id, body });
  }

  /** Lets one worker lead; the one before goes on for a while, as if it did not know. */
  #elect(): void {
    const nowMs = this.clock.nowMs();
    const before = this.#workers.find(({ leadsUntilMs }) => leadsUntilMs > nowMs);
    if (before !== undefined) before.leadsUntilMs = nowMs + this.random() * 1000;
    this.#pick(this.#workers).leadsUntilMs = Number.POSITIVE_INFINITY;
  }

  /** As a session does: records, waits until webhooks have it, and stores. */
  #record(session: Session): void {
    if (session.isRecording) return;
    session.isRecording = true;
    const { owner } = session;
    const number = session.stored + 1;
    owner.outbox.write({
      id: `${session.name}/peer.joined/${number}`,
      kind: "peer.joined",
      atMs: this.clock.wallMs(),
      worker: "any",
      session: session.name,
      details: { number },
    });
    const end = (): void => {
      if (session.owner === owner) session.isRecording = false;
    };
    owner.outbox.stored().then(() => {
      if (session.owner !== owner || owner.process.isDead) return;
      session.stored = number;
      end();
    }, end);
  }

  #killWorker(): void {
    const index = Math.floor(this.random() * this.#workers.length);
    const dead = this.#workers[index];
    if (dead === undefined) return;
    dead.process.isDead = true;
    this.#workers[index] = this.#start();
    this.#workerDiedMs = this.clock.nowMs();
    for (const session of this.#sessions) if (session.owner === dead) this.#move(session);
    if (dead.leadsUntilMs > this.clock.nowMs()) this.#elect();
  }

  #move(session: Session): void {
    session.owner = this.#pick(this.#workers);
    session.isRecording = false;
  }

  /** One thing happens, and some time passes. */
  async step(): Promise<void> {
    const nowMs = this.clock.nowMs();
    const chance = this.random();
    if (chance < 0.03 && !this.#store.isAway && nowMs - this.#storeReturnedMs > 20_000) {
      this.#killWorker();
    } else if (chance < 0.06) this.#elect();
    else if (chance < 0.12 && !this.#store.isAway && nowMs - this.#workerDiedMs > 20_000) {
      await this.#crashInTheMiddle();
    } else if (chance < 0.2 && this.#store.isAway) this.#bringBack();
    else this.#record(this.#pick(this.#sessions));
    await this.pass(this.random() * (chance > 0.9 ? 5000 : 300));
  }

  /** Sessions move between workers in the last moments of the store, which it forgets. */
  async #crashInTheMiddle(): Promise<void> {
    for (let times = 0; times < 8; times++) {
      for (const session of this.#sessions) this.#record(session);
      await this.pass(60);
      for (const session of this.#sessions) if (!session.isRecording) this.#move(session);
    }
    if (this.random() < 0.5) this.#elect();
    this.#store.crash();
    this.#crashedMs = this.clock.nowMs();
  }

  #bringBack(): void {
    this.#storeReturnedMs = this.clock.nowMs();
    this.#store.comeBack(this.#crashedMs, 1000 * this.random(), this.random() < 0.3);
  }

  async pass(ms: number): Promise<void> {
    for (let leftMs = ms; leftMs > 0; leftMs -= 250) {
      this.clock.advance(Math.min(leftMs, 250));
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** Nothing fails any more; resolves when the receiver has all that it will get. */
  async settle(): Promise<void> {
    this.failing = 0;
    if (this.#store.isAway) this.#bringBack();
    this.#elect();
    for (let round = 0; round < 40 && !this.#isDone(); round++) await this.pass(5000);
    await this.pass(1000);
  }

  #isDone(): boolean {
    const has = new Set(this.arrivals.map(({ id }) => id));
    return this.expected().every((id) => has.has(id));
  }

  /** Ids of the events whose effect is stored. */
  expected(): string[] {
    return this.#sessions.flatMap(({ name, stored }) =>
      Array.from({ length: stored }, (_, index) => `${name}/peer.joined/${index + 1}`),
    );
  }
}

const RECEIVER: Receiver = {
  name: "simulated",
  url: new URL("https://receiver.example/"),
  secrets: [],
  events: undefined,
  hasPersonalData: true,
  authority: undefined,
};

function clockOf(clock: Clock, process: { isDead: boolean }): Clock {
  const unlessDead = (action: () => void) => (): void => {
    if (!process.isDead) action();
  };
  const add = (how: "after" | "every", ms: number, action: () => void): Timer =>
    clock[how](ms, unlessDead(action));
  return {
    wallMs: () => clock.wallMs(),
    nowMs: () => clock.nowMs(),
    after: (ms, action) => add("after", ms, action),
    every: (ms, action) => add("every", ms, action),
  };
}

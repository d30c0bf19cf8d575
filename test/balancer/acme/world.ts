/** Balancers that share a certificate, with a store, an authority and a clock of the test. */
import { setImmediate } from "node:timers/promises";
import { generate } from "selfsigned";
import { Acme } from "../../../balancer/acme/acme.ts";
import type {
  CaJob,
  CaResult,
  CaStep,
  InspectJob,
  OrderJob,
} from "../../../balancer/acme/ca-protocol.ts";
import type { RecordCopy } from "../../../balancer/acme/record-copy.ts";
import type { Wanted } from "../../../balancer/acme/schedule.ts";
import { createCounters } from "../../../shared/metrics/metrics.ts";
import { onlyKey } from "../../../shared/settings/keyring.ts";
import { type Store, StoreAwayError, type StoreHealth } from "../../../shared/store/store.ts";
import { collectingLog } from "../../support/logs.ts";
import { createStepClock, type StepClock } from "../../support/step-clock.ts";

export const WANTED: Wanted = {
  directory: "https://ca.test/directory",
  domains: ["edge.test"],
  email: undefined,
  binding: undefined,
  ca: undefined,
};

export interface Pair {
  readonly cert: string;
  readonly key: string;
}

const DAY_MS = 86_400_000;

/** Each is another certificate, valid for 90 days from `fromMs`. */
export function makePairs(count: number, fromMs: number): Promise<Pair[]> {
  return Promise.all(
    Array.from({ length: count }, async () => {
      const { cert, private: key } = await generate([{ name: "commonName", value: "edge.test" }], {
        notBeforeDate: new Date(fromMs),
        notAfterDate: new Date(fromMs + 90 * DAY_MS),
        keyType: "ec",
      });
      return { cert, key };
    }),
  );
}

/** What of the store the certificate needs, in memory. */
export class MemoryStore {
  readonly #clock: StepClock;
  readonly #listeners = new Set<(health: StoreHealth) => void>();
  readonly #tickets = new Map<string, unknown>();
  #entries: { readonly id: string; readonly text: string }[] = [];
  #next = 1;
  #isAway = false;
  /** It responds, and takes nothing. */
  isReadOnly = false;

  constructor(clock: StepClock) {
    this.#clock = clock;
  }

  set isAway(value: boolean) {
    this.#isAway = value;
    const health: StoreHealth = value ? { state: "away", reason: "test" } : { state: "up" };
    for (const listener of this.#listeners) listener(health);
  }

  empty(): void {
    this.#entries = [];
    this.#tickets.clear();
  }

  backUp(): unknown {
    return [...this.#entries];
  }

  /** What `backUp` returned. Ids go on, as those of Redis, which are times. */
  restore(entries: unknown): void {
    this.#entries = (entries as { id: string; text: string }[]).map(({ text }) => ({
      id: `${this.#next++}`,
      text,
    }));
  }

  get isEmpty(): boolean {
    return this.#entries.length === 0;
  }

  /** For one client. */
  open(): Store {
    const check = async (): Promise<void> => {
      if (this.#isAway) throw new StoreAwayError("test");
    };
    const store = {
      onHealth: (listener: (health: StoreHealth) => void) => {
        this.#listeners.add(listener);
        return () => this.#listeners.delete(listener);
      },
      async timeMs() {
        await check();
        return clock.wallMs();
      },
      appendToStream: async (_stream: string, texts: readonly string[]) => {
        await check();
        if (this.isReadOnly) throw new StoreAwayError("test");
        for (const text of texts) this.#entries.push({ id: `${this.#next++}`, text });
        this.#entries = this.#entries.slice(-64);
      },
      readStream: async (_stream: string, { after, limit }: { after?: string; limit: number }) => {
        await check();
        return after === undefined
          ? this.#entries.slice(-limit)
          : this.#entries.filter(({ id }) => Number(id) > Number(after)).slice(0, limit);
      },
      putTicket: async ({ token, question }: { token: string; question: unknown }) => {
        await check();
        this.#tickets.set(token, question);
      },
      dropTicket: async (_kind: string, token: string) => {
        await check();
        this.#tickets.delete(token);
      },
      readTicket: async (_kind: string, token: string) => {
        await check();
        const question = this.#tickets.get(token);
        return question === undefined ? undefined : { state: "waiting", token, question };
      },
    };
    const clock = this.#clock;
    return { ...store, deferred: store } as unknown as Store;
  }
}

export interface Balancer {
  readonly acme: Acme;
  readonly lines: string[];
  isLeading: boolean;
  /** The certificate that its clients get. */
  cert(): string | undefined;
  close(): Promise<void>;
}

/** What the authority does with an order, step by step. */
export type Order = (job: OrderJob, takeStep: (step: CaStep) => Promise<void>) => Promise<CaResult>;

export interface World {
  readonly clock: StepClock;
  readonly store: MemoryStore;
  readonly jobs: CaJob[];
  /** By default each order is issued the next certificate. */
  order: Order;
  inspect: (job: InspectJob) => Promise<CaResult>;
  open(options?: { secret?: string; copy?: RecordCopy; wanted?: Wanted }): Promise<Balancer>;
  /** Lets time pass, in small steps. */
  pass(ms: number): Promise<void>;
  /** The store's clock goes on by days, without all that happens meanwhile. */
  jump(ms: number): void;
}

export async function createWorld(pairs: readonly Pair[], startMs = Date.now()): Promise<World> {
  const clock = createStepClock(startMs);
  const store = new MemoryStore(clock);
  let issued = 0;
  const world: World = {
    clock,
    store,
    jobs: [],
    async order(job, takeStep) {
      if (job.account === undefined) await takeStep({ step: "account", url: "a", key: "k" });
      const number = issued++;
      const pair = pairs[number % pairs.length];
      if (pair === undefined) throw new Error("no certificates");
      if (job.open === undefined) {
        await takeStep({ step: "order", url: `order-${number}`, key: pair.key });
      }
      await takeStep({
        step: "challenges",
        challenges: [{ type: "http-01", token: "t", response: "r" }],
      });
      return { outcome: "issued", ...pair, challenge: "http-01" };
    },
    inspect: async () => ({
      outcome: "inspected",
      window: undefined,
      retryAfterMs: undefined,
      isRevoked: false,
    }),
    async open({ secret = "one", copy, wanted = WANTED } = {}) {
      const { log, lines } = collectingLog();
      const balancer = {
        lines,
        isLeading: false,
        cert: () => acme.certificates[0]?.cert,
        close: () => acme.close(),
      };
      const acme = new Acme({
        wanted,
        store: store.open(),
        keys: onlyKey(Buffer.alloc(32, secret)),
        elect: () => ({
          get isLeading() {
            return balancer.isLeading;
          },
          close: async () => {},
        }),
        copy,
        async askCa(job, takeStep, signal) {
          world.jobs.push(job);
          signal.throwIfAborted();
          return job.kind === "order" ? world.order(job, takeStep) : world.inspect(job);
        },
        clock,
        random: () => 0.5,
        log,
        counters: createCounters(),
        onCertificates: () => {},
      });
      const starting = acme.start();
      await settle();
      clock.advance(1000);
      await starting;
      acme.join();
      return Object.assign(balancer, { acme });
    },
    jump(ms) {
      clock.setWall(clock.wallMs() + ms);
    },
    async pass(ms) {
      // Balancers look every 2 s.
      const stepMs = ms > 10_000 ? 2000 : 1000;
      for (let passed = 0; passed < ms; passed += stepMs) {
        clock.advance(Math.min(stepMs, ms - passed));
        await settle();
      }
    },
  };
  return world;
}

/** What follows from promises that are resolved. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 3; turn++) await setImmediate();
}

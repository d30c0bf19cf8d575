/**
 * The store of the model: the embedded store's own state machine behind the simulated network, and the contract as a
 * process sees it. Clients give up as the real ones do, and what they gave up may have been done, or be done later.
 */

import { parseRecord, type Restored } from "../../shared/store/embedded/format/records.ts";
import type {
  Operation,
  Operations,
  StoreTime,
} from "../../shared/store/embedded/state/operations.ts";
import { createStoreState, type StoreState } from "../../shared/store/embedded/state/state.ts";
import {
  type Change,
  type ResumeOutcome,
  type Store,
  StoreAwayError,
  type StoreHealth,
} from "../../shared/store/store.ts";
import { createProcess, type Kernel, type Process } from "./kernel.ts";
import type { Lane, Network, Place } from "./network.ts";
import type { Random } from "./random.ts";

/** As in the embedded store's client (shared/store/embedded/client.ts). */
const ANSWER_TIMEOUT_MS = 2000;
const RETRY_MS = [20, 1000] as const;
const SWEEP_MS = 1000;

/** Its name on the network. */
export const STORE_MACHINE = "store";

export interface StoreHost {
  readonly process: Process;
  readonly state: StoreState;
  readonly time: StoreTime;
  readonly isUp: boolean;
  /** A client for the process at `place`. */
  connect(place: Place): Store;
  stop(): void;
  goOn(): void;
  /** Ends it. */
  down(): void;
  /** Starts it with what it remembers, or empty. */
  up(memory: "kept" | "lost"): void;
  /** Everything is forgotten while it runs, as by FLUSHALL. */
  flush(): void;
}

/** Told of each operation after it was applied. */
export interface StoreWatch {
  applied(name: Operation, args: readonly unknown[], outcome: unknown, before: Before): void;
  /** Members could not renew: the store started empty. */
  began(): void;
}

/** What the state held before an operation, for those that may change an owner. */
export type Before = ReturnType<Operations["findSession"]>;

interface Subscriber {
  readonly place: Place;
  readonly lane: Lane;
  readonly hear: (change: Change) => void;
}

export function createStoreHost(needs: {
  readonly kernel: Kernel;
  readonly network: Network;
  readonly random: Random;
  readonly watch: StoreWatch;
}): StoreHost {
  const { kernel, network, random, watch } = needs;
  const subscribers = new Set<Subscriber>();
  let place: Place;
  let state: StoreState;

  const time = (): StoreTime => ({ wallMs: Math.floor(kernel.wallMs), nowMs: kernel.nowMs });

  function begin(restored: Iterable<Restored>): void {
    state = createStoreState(time());
    state.restore(restored);
    watch.began();
  }

  function start(restored: Iterable<Restored>): void {
    place = { machine: STORE_MACHINE, process: createProcess(kernel, STORE_MACHINE) };
    begin(restored);
    place.process.clock.every(SWEEP_MS, () => {
      state.sweep(time());
      announceChanges();
    });
  }

  function remembered(): Restored[] {
    const restored: Restored[] = [];
    for (const [key, value] of state.entries()) {
      const record = parseRecord(key, value);
      if (record === undefined) throw new Error(`the store cannot read its own record ${key}`);
      restored.push(record);
    }
    return restored;
  }

  function apply(name: Operation, args: readonly unknown[]): unknown {
    const before =
      name === "resumeSession"
        ? state.operations.findSession(time(), (args[0] as { sessionId: never }).sessionId)
        : undefined;
    const operation = state.operations[name] as (now: StoreTime, ...rest: unknown[]) => unknown;
    const outcome = unlessSettling(operation(time(), ...args));
    watch.applied(name, args, outcome, before);
    announceChanges();
    return outcome;
  }

  /**
   * The embedded store is never asked by processes that knew it before it was empty, so it knows no `unsettled`. Redis is,
   * and the model does to its store what can happen to Redis.
   */
  function unlessSettling(outcome: unknown): unknown {
    const isUnknown = (outcome as ResumeOutcome | undefined)?.outcome === "unknown";
    return isUnknown && !state.operations.members(time()).booted ? UNSETTLED : outcome;
  }

  function announceChanges(): void {
    for (const change of state.takeEffects().changes) {
      for (const { place: to, lane, hear } of subscribers) {
        // A hint: what cannot be said now is not said.
        if (!network.isCut(STORE_MACHINE, to.machine)) {
          network.send(place, to, lane, () => hear(change));
        }
      }
    }
  }

  function connect(from: Place): Store {
    const clock = from.process.clock;
    const healthListeners = new Set<(health: StoreHealth) => void>();
    const changeListeners = new Set<(change: Change) => void>();
    const pending = new Set<(error: StoreAwayError) => void>();
    let health: StoreHealth = { state: "away", reason: "not connected yet" };
    let hasFailed = false;
    let connection: { readonly there: Lane; readonly back: Lane; readonly to: Place } | undefined;
    let isClosed = false;

    const subscriber: Subscriber = {
      place: from,
      lane: { lastArrivalMs: 0 },
      hear(change) {
        if (health.state === "up") for (const listener of changeListeners) listener(change);
      },
    };
    subscribers.add(subscriber);
    from.process.onKilled(() => subscribers.delete(subscriber));

    function setHealth(next: StoreHealth): void {
      const isChange = next.state !== health.state;
      health = next;
      if (isChange) for (const listener of healthListeners) listener(next);
    }

    function open(): void {
      if (isClosed) return;
      const opened = { there: { lastArrivalMs: 0 }, back: { lastArrivalMs: 0 }, to: place };
      connection = opened;
      const { process } = opened.to;
      process.onKilled(() =>
        network.send(opened.to, from, opened.back, () => {
          if (connection === opened) lose("closed");
        }),
      );
      put("timeMs", []).then(
        () => {
          if (connection === opened) setHealth({ state: "up" });
        },
        () => {
          // Said where it was lost.
        },
      );
    }

    function lose(reason: string): void {
      connection = undefined;
      hasFailed = true;
      setHealth({ state: "away", reason });
      for (const fail of [...pending]) fail(new StoreAwayError(reason));
      clock.after(random.between(...RETRY_MS), open);
    }

    function put(name: Operation, args: readonly unknown[]): Promise<unknown> {
      const asked = connection;
      if (asked === undefined) return Promise.reject(new StoreAwayError(name));
      return new Promise((resolve, reject) => {
        const loseIt = (reason: string): void => {
          if (connection === asked) lose(reason);
        };
        const limit = clock.after(ANSWER_TIMEOUT_MS, () => loseIt("no answer"));
        const isLate = random.oneIn(2);
        const over = (): void => {
          limit.cancel();
          pending.delete(fail);
        };
        const fail = (error: StoreAwayError): void => {
          over();
          reject(error);
        };
        pending.add(fail);
        // Once the connection was given up, some of what was sent on it still arrives.
        const mayArrive = (): boolean => connection === asked || isLate;
        const refuse = (): void => {
          network.send({ machine: STORE_MACHINE, process: from.process }, from, asked.back, () =>
            loseIt("refused"),
          );
        };
        network.send(from, { machine: STORE_MACHINE, process: WIRE }, asked.there, () => {
          if (asked.to.process.state === "dead") {
            refuse();
            return;
          }
          asked.to.process.deliver(() => {
            if (!mayArrive()) return;
            const outcome = apply(name, args);
            network.send(asked.to, from, asked.back, () => {
              if (!pending.has(fail)) return;
              over();
              resolve(outcome);
            });
          });
        });
      });
    }

    function ask(name: Operation, args: readonly unknown[]): Promise<unknown> {
      if (isClosed || (health.state === "away" && hasFailed)) {
        return Promise.reject(new StoreAwayError(name));
      }
      return put(name, args);
    }

    open();
    const operations = Object.fromEntries(
      Object.keys(state.operations).map((name) => [
        name,
        (...args: unknown[]) => ask(name as Operation, args),
      ]),
    ) as unknown as Pick<Store, Operation>;
    return {
      ...operations,
      deferred: operations,
      stopDeferring() {},
      get health() {
        return health;
      },
      localAddress: "192.0.2.1",
      onHealth(listener) {
        healthListeners.add(listener);
        return () => healthListeners.delete(listener);
      },
      onChange(listener) {
        changeListeners.add(listener);
        return () => changeListeners.delete(listener);
      },
      async close() {
        isClosed = true;
        connection = undefined;
        subscribers.delete(subscriber);
        for (const fail of [...pending]) fail(new StoreAwayError("closed"));
      },
    };
  }

  start([]);
  return {
    get process() {
      return place.process;
    },
    get state() {
      return state;
    },
    get time() {
      return time();
    },
    get isUp() {
      return place.process.state === "running";
    },
    connect,
    stop: () => place.process.stop(),
    goOn: () => place.process.goOn(),
    down: () => place.process.kill(),
    up(memory) {
      if (place.process.state !== "dead") return;
      start(memory === "kept" ? remembered() : []);
    },
    flush: () => begin([]),
  };
}

const UNSETTLED: ResumeOutcome = { outcome: "unsettled" };

/** What arrives at a machine arrives there whatever its processes do. */
const WIRE: Process = {
  name: "wire",
  state: "running",
  clock: undefined as never,
  deliver: (input) => input(),
  stop() {},
  goOn() {},
  kill() {},
  onKilled() {},
};

/**
 * Heartbeats: a renewal of the lease, and with it everything that was deferred since the last one, in one script
 * (scripts/heartbeat.lua), so that an idle process sends Redis one command a second. Each operation has its own outcome.
 *
 * Nothing piles up: what does not fit is sent at once, a heartbeat takes nothing along while another one has no reply, and
 * while the store is away there is nothing to take along.
 */
import type { Clock, Timer } from "../../../base/clock.ts";
import { HEARTBEAT_MS, StoreAwayError } from "../../store.ts";
import { type HeartbeatScript, isHeartbeatScript } from "../scripts/load-scripts.ts";
import type { Call, Connection, Runner } from "./connection.ts";

/** What is deferred goes without a renewal when none has come by then: the lease has ended, or the process was stopped. */
const PATIENCE_MS = 1.5 * HEARTBEAT_MS;
/** An idle leader defers about ten. */
const MAX_WAITING = 100;

/**
 * Redis refuses these when its memory is full, unless something else in the same script has written before; a renewal always
 * writes. So they come first.
 */
const REFUSED_WHEN_FULL: ReadonlySet<HeartbeatScript> = new Set([
  "claimDueSignIns",
  "appendToStream",
  "put",
]);

/** `onVersion` gets the number of the store's last change with each heartbeat. */
export function createHeartbeats(deps: {
  readonly connection: Pick<Connection, "health" | "onHealth" | "run" | "runTogether">;
  readonly clock: Clock;
  readonly onVersion: (version: number) => void;
}) {
  const { connection, clock } = deps;
  let waiting: Waiting[] = [];
  let timer: Timer | undefined;
  let lastRenewalMs = Number.NEGATIVE_INFINITY;
  let isOnItsWay = false;
  let isDeferring = true;

  connection.onHealth(({ state }) => {
    if (state === "away") rejectWaiting("the store is away");
  });

  function isRenewalExpected(): boolean {
    const isLeased = clock.nowMs() - lastRenewalMs < PATIENCE_MS;
    return isDeferring && isLeased && connection.health.state === "up";
  }

  function takeWaiting(): readonly Waiting[] {
    timer?.cancel();
    timer = undefined;
    const taken = waiting;
    waiting = [];
    return taken;
  }

  function rejectWaiting(reason: string): void {
    for (const { operation, reject } of takeWaiting()) {
      reject(new StoreAwayError(operation, new Error(reason)));
    }
  }

  async function send(unordered: readonly Waiting[]): Promise<void> {
    const calls = inOrder(unordered);
    isOnItsWay = true;
    try {
      const { version, outcomes } = await connection.runTogether(calls);
      deps.onVersion(version);
      for (const [i, call] of calls.entries()) {
        const outcome = outcomes[i];
        if (outcome?.status === "fulfilled") call.resolve(outcome.value);
        else call.reject(outcome?.reason);
      }
    } catch (error) {
      for (const { reject } of calls) reject(error);
    } finally {
      isOnItsWay = false;
    }
  }

  function sendAlone(): void {
    timer = undefined;
    if (isOnItsWay) timer = clock.after(PATIENCE_MS, sendAlone);
    else void send(takeWaiting());
  }

  /** Runs scripts at once; a renewal takes along what was deferred. */
  const atOnce: Runner = {
    run(operation, ...args) {
      if (operation !== "renew") return connection.run(operation, ...args);
      lastRenewalMs = clock.nowMs();
      if (waiting.length === 0 || isOnItsWay) return connection.run(operation, ...args);
      return new Promise((resolve, reject) => {
        void send([{ operation, args, resolve, reject }, ...takeWaiting()]);
      });
    },
  };

  /** Runs scripts with the next renewal, or at once when none is expected. */
  const deferred: Runner = {
    run(operation, ...args) {
      const mayWait = isHeartbeatScript(operation) && waiting.length < MAX_WAITING;
      if (!mayWait || !isRenewalExpected()) return connection.run(operation, ...args);
      timer ??= clock.after(PATIENCE_MS, sendAlone);
      return new Promise((resolve, reject) => {
        waiting.push({ operation, args, resolve, reject });
      });
    },
  };

  return {
    atOnce,
    deferred,
    /** See `Store`. */
    stopDeferring(): void {
      isDeferring = false;
      if (waiting.length > 0) void send(takeWaiting());
    },
    /** What is still deferred rejects with `StoreAwayError`. */
    close(): void {
      isDeferring = false;
      rejectWaiting("closed");
    },
  };
}

interface Waiting extends Call {
  readonly resolve: (reply: unknown) => void;
  readonly reject: (error: unknown) => void;
}

function inOrder(calls: readonly Waiting[]): readonly Waiting[] {
  const isFirst = ({ operation }: Waiting): boolean => REFUSED_WHEN_FULL.has(operation);
  return [...calls.filter(isFirst), ...calls.filter((call) => !isFirst(call))];
}

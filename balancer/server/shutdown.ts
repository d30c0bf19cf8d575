/**
 * How a balancer goes, so that nobody notices more than a short pause: first it says that it wants no traffic, then it
 * accepts nothing more and lets what is open end, one after the other: answers by themselves, WebSockets by their workers
 * (migrate.ts). Others take its place; it hands nothing over.
 */
import { type Clock, sleep } from "../../shared/base/clock.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { DrainState } from "../proxy/drain-state.ts";
import type { Tunnels } from "../proxy/tunnel.ts";
import type { Listener } from "./listener.ts";

/** Tunnels that end within a second: their clients come back to the others at this rate. */
const PER_SECOND = 100;
/** With so many that this pace takes longer, they are spread over this time. */
const MAX_SPREAD_MS = 30_000;
/** Of the time there is: clients that do not end their side need some, and so do requests under way. */
const USED_SHARE = 0.8;
/** A client on a slow line or a busy machine parts from its worker within this, or within this share of the time. */
const GRACE_MS = 3000;
const GRACE_SHARE = 0.1;
const LOOK_MS = 20;

/** Over how many ms so many tunnels are ended. Pure. */
export function spreadMs(tunnels: number, timeoutMs: number): number {
  return Math.min((tunnels * 1000) / PER_SECOND, MAX_SPREAD_MS, timeoutMs * USED_SHARE);
}

/**
 * Leaves: resolves when every connection of a client has ended and what it said is on its way, or `timeoutMs` after the
 * `delayMs` in which whoever sends us clients sees that we want none.
 */
export async function shutDown(needs: {
  readonly drainState: DrainState;
  readonly listener: Pick<Listener, "shutDown" | "connections">;
  readonly tunnels: Pick<Tunnels, "letAllGo" | "size">;
  readonly clock: Clock;
  readonly log: Log;
  readonly delayMs: number;
  readonly timeoutMs: number;
}): Promise<void> {
  const { drainState, listener, tunnels, clock, log, timeoutMs } = needs;
  drainState.isAnnounced = true;
  await sleep(clock, needs.delayMs);
  const untilMs = clock.nowMs() + timeoutMs;
  log.info({ connections: listener.connections, tunnels: tunnels.size }, "leaving");
  drainState.hasBegun = true;
  listener.shutDown();
  tunnels.letAllGo({
    spreadMs: spreadMs(tunnels.size, timeoutMs),
    graceMs: Math.min(GRACE_MS, timeoutMs * GRACE_SHARE),
  });
  const isBusy = (): boolean => listener.connections > 0 || tunnels.size > 0;
  while (isBusy() && clock.nowMs() < untilMs) await sleep(clock, LOOK_MS);
  if (!isBusy()) return;
  const left = { connections: listener.connections, tunnels: tunnels.size };
  log.warn(left, "the time to leave is over; the rest is cut off");
}

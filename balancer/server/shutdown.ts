/**
 * Graceful shutdown: fail the health check, stop accepting, then drain what is open such that clients notice no more than a
 * short pause. Responses under way complete; WebSockets are migrated by their workers (migrate-clients.ts), a few at a
 * time. Other balancers take over; nothing is handed to them.
 */
import { type Clock, sleep } from "../../shared/base/clock.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { DrainState } from "../downstream/drain-state.ts";
import type { Tunnels } from "../proxy/tunnels.ts";
import type { Listener } from "./listener.ts";

/** Tunnels migrated per second: their clients reconnect to other balancers at this rate. */
const PER_SECOND = 100;
/** Longest time over which they are spread: the rate is higher when there are more. */
const MAX_SPREAD_MS = 30_000;
/** Share of the timeout: clients that do not close their side need the rest, and so do requests under way. */
const USED_SHARE = 0.8;
/** Grace period for a migrated client to close, on a slow line or a busy machine; at most this share of the timeout. */
const GRACE_MS = 3000;
const GRACE_SHARE = 0.1;
const POLL_MS = 20;

/** Over how many ms this many tunnels are migrated. Pure. */
export function spreadMs(tunnels: number, timeoutMs: number): number {
  return Math.min((tunnels * 1000) / PER_SECOND, MAX_SPREAD_MS, timeoutMs * USED_SHARE);
}

/**
 * Resolves when every client connection has ended and what it sent is forwarded, or on a timeout: `timeoutMs` after the
 * `delayMs` in which load balancers in front see the failing health check.
 */
export async function shutDown(deps: {
  readonly drainState: DrainState;
  readonly listener: Pick<Listener, "shutDown" | "connections">;
  readonly tunnels: Pick<Tunnels, "migrateAll" | "size">;
  readonly clock: Clock;
  readonly log: Log;
  readonly delayMs: number;
  readonly timeoutMs: number;
}): Promise<void> {
  const { drainState, listener, tunnels, clock, log, timeoutMs } = deps;
  drainState.isAnnounced = true;
  await sleep(clock, deps.delayMs);
  const untilMs = clock.nowMs() + timeoutMs;
  log.info({ connections: listener.connections, tunnels: tunnels.size }, "draining clients");
  drainState.hasBegun = true;
  listener.shutDown();
  tunnels.migrateAll({
    spreadMs: spreadMs(tunnels.size, timeoutMs),
    graceMs: Math.min(GRACE_MS, timeoutMs * GRACE_SHARE),
  });
  const isBusy = (): boolean => listener.connections > 0 || tunnels.size > 0;
  while (isBusy() && clock.nowMs() < untilMs) await sleep(clock, POLL_MS);
  if (!isBusy()) return;
  const left = { connections: listener.connections, tunnels: tunnels.size };
  log.warn(left, "shutdown timeout: closing the remaining connections; see CT_DRAIN_TIMEOUT_MS");
}

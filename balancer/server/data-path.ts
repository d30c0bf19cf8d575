/**
 * The parts between the public ports and the workers, put together: what `main.ts` starts and the tests start too.
 */
import { randomBytes } from "node:crypto";
import type { Clock } from "../../shared/base/clock.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import type { WorkerState } from "../../shared/store/member.ts";
import type { Members } from "../discovery/discovery.ts";
import type { KnownOwner } from "../discovery/snapshot.ts";
import type { TrustedProxies } from "../http1/forwarding.ts";
import type { RequestLog } from "../logs/request-log.ts";
import { acceptRequest } from "../proxy/accept-request.ts";
import type { DownstreamLimits } from "../proxy/downstream.ts";
import { createDrainState, type DrainState } from "../proxy/drain-state.ts";
import { createRetryQueue } from "../proxy/retry-queue.ts";
import { createTunnels, type Tunnels } from "../proxy/tunnel.ts";
import { createRouter, type Router } from "../routing/router.ts";
import { createDeadlines } from "../transport/deadlines.ts";
import type { BugReport, TlsCertificate, Transport } from "../transport/transport.ts";
import type { WorkerStatus } from "../upstreams/health.ts";
import { Upstream } from "../upstreams/upstream.ts";
import { type Listener, listen } from "./listener.ts";
import { shutDown } from "./shutdown.ts";

export interface DataPath {
  readonly listener: Listener;
  readonly directory: Router;
  readonly tunnels: Tunnels;
  /** How far `leave` is. */
  readonly drainState: Readonly<DrainState>;
  /** Goes slowly: resolves when all connections of clients have ended, or the time is over. `close` follows. */
  shutDown(time: { readonly delayMs: number; readonly timeoutMs: number }): Promise<void>;
  /** Stops accepting, ends tunnels by FIN, closes the rest at once. */
  close(): void;
}

/** Opens the public ports. Rejects with a `SettingError` when one cannot be opened. */
export async function startDataPath(needs: {
  readonly transport: Transport;
  readonly reportBug: BugReport;
  /** Awaited when all else is ready: resolves when no predecessor of this process has the ports any more. */
  readonly portsReleased?: () => Promise<void>;
  readonly members: Pick<
    Members,
    "view" | "sessions" | "prove" | "probe" | "migrateRequests" | "onOtherIncarnation" | "isLeased"
  >;
  /** Of sessions, from before this process started. */
  readonly knownOwners: Iterable<KnownOwner>;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  readonly requestLog: RequestLog;
  readonly trusted: TrustedProxies;
  readonly certificates: readonly TlsCertificate[];
  /** CT_BIND; undefined: every address of the machine. */
  readonly bind: string | undefined;
  readonly port: number;
  readonly tlsPort: number;
  readonly maxConnections: number;
  readonly maxRequestsPerWorker: number;
  readonly connectTimeoutMs: number;
  readonly tlsHandshakeTimeoutMs: number;
  readonly limits: DownstreamLimits;
}): Promise<DataPath> {
  const { clock, counters, transport, log, members } = needs;
  const deadlines = createDeadlines({ clock, reportBug: needs.reportBug });
  const drainState = createDrainState();
  const tunnels = createTunnels({
    clock,
    random: Math.random,
    migrateRequests: members.migrateRequests,
    log,
  });
  const directory = createRouter({
    view: members.view,
    store: members.sessions,
    isLeased: members.isLeased,
    clock,
    counters,
    log,
    createUpstream: (record, onHealth) =>
      new Upstream(record, { ...needs, ...members, deadlines, onHealth }),
    onEpoch: (key, epoch, at) => tunnels.endMoved(key, epoch, at),
    random: Math.random,
  });
  for (const [key, { worker, epoch }] of needs.knownOwners) directory.learn(key, worker, epoch);
  const retryQueue = createRetryQueue({ clock });
  const exchangeDeps = {
    router: directory,
    tunnels,
    trusted: needs.trusted,
    counters,
    retryQueue,
    clock,
    drainState,
    isRootOurs: members.isLeased,
  };
  await needs.portsReleased?.();
  const listener = await listen({
    ...needs,
    transport,
    deadlines,
    drainState,
    nextRequestId: createRequestIds(),
    acceptRequest: (head, client) => acceptRequest(head, client, exchangeDeps),
  });

  counters.gauge("balancer.connections", () => listener.connections);
  counters.gauge("balancer.tunnels", () => tunnels.size);
  counters.gauge("balancer.holding", () => retryQueue.size);
  counters.gauge("balancer.workers", () => countStates(directory));

  return {
    listener,
    directory,
    tunnels,
    drainState,
    shutDown: (time) => shutDown({ drainState, listener, tunnels, clock, log, ...time }),
    close() {
      listener.close();
      tunnels.endAll();
      listener.destroyAll();
      directory.close();
      deadlines.close();
    },
  };
}

function countStates(
  directory: Router,
): Record<WorkerState | Exclude<WorkerStatus, "well">, number> {
  const count = { up: 0, suspended: 0, draining: 0, suspect: 0, dead: 0 };
  for (const upstream of directory.upstreams) {
    const standing = directory.statusOfWorker(upstream);
    count[standing === "well" ? upstream.record.state : standing]++;
  }
  return count;
}

/** Ids that are unique over processes and time, and cheap: a random prefix and a count. */
function createRequestIds(): () => string {
  const prefix = randomBytes(6).toString("hex");
  let count = 0;
  return () => `${prefix}-${(++count).toString(36)}`;
}

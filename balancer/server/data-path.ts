/**
 * Builds the data path: the parts between the public ports and the workers. `main.ts` starts it, and so do tests.
 */
import { randomBytes } from "node:crypto";
import type { Clock } from "../../shared/base/clock.ts";
import type { Log } from "../../shared/logs/log.ts";
import { type Counters, createCounters } from "../../shared/metrics/metrics.ts";
import type { WorkerState } from "../../shared/store/member.ts";
import type { Discovery } from "../discovery/discovery.ts";
import type { SavedOwner } from "../discovery/snapshot.ts";
import { createDrainState, type DrainState } from "../downstream/drain-state.ts";
import type { DownstreamLimits } from "../downstream/served-client.ts";
import type { TrustedProxies } from "../http1/forwarding.ts";
import { createLimiter, type Limits } from "../limits/limiter.ts";
import { roomTokenSignature } from "../limits/room-token.ts";
import type { RequestLog } from "../logs/request-log.ts";
import { acceptRequest, isHealthTarget } from "../proxy/accept-request.ts";
import { createRefusals } from "../proxy/delayed-refusal.ts";
import { createSendResume } from "../proxy/resume-request.ts";
import { createRetryQueue } from "../proxy/retry-queue.ts";
import { createTrafficCounters } from "../proxy/traffic-counters.ts";
import { createTunnels, type Tunnels } from "../proxy/tunnels.ts";
import { createRouter, type Router } from "../routing/router.ts";
import { createDeadlines } from "../transport/deadlines.ts";
import type { BugReport, TlsCertificate, TlsChallenge, Transport } from "../transport/transport.ts";
import type { WorkerStatus } from "../upstreams/health.ts";
import { measureLinks } from "../upstreams/link-metrics.ts";
import { Upstream } from "../upstreams/upstream.ts";
import { noLinks, openLinks, type WorkerLinks } from "../upstreams/worker-links.ts";
import { type FormerStates, withFormerStates } from "./former-state-names.ts";
import { type Listener, listen } from "./listener.ts";
import { shutDown } from "./shutdown.ts";

export interface DataPath {
  readonly listener: Listener;
  readonly router: Router;
  readonly tunnels: Tunnels;
  /** How far `shutDown` is. */
  readonly drainState: Readonly<DrainState>;
  /** Graceful: resolves when all connections of clients have ended, or on the timeout. `close` must follow. */
  shutDown(time: { readonly delayMs: number; readonly timeoutMs: number }): Promise<void>;
  /** Stops accepting, ends tunnels by FIN, closes all other connections at once. */
  close(): void;
}

/** Opens the public ports. Rejects with a `SettingError` when one cannot be opened. */
export async function startDataPath(deps: {
  readonly transport: Transport;
  readonly reportBug: BugReport;
  /** Awaited last, before the ports open. */
  readonly beforePortsOpen?: () => Promise<void>;
  readonly discovery: Pick<
    Discovery,
    | "view"
    | "sessions"
    | "prove"
    | "tokenKeys"
    | "probe"
    | "migrateRequests"
    | "linkTarget"
    | "onOtherIncarnation"
    | "isLeased"
  >;
  /** Owners of sessions as an earlier process knew them. */
  readonly savedOwners: Iterable<SavedOwner>;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  readonly requestLog: RequestLog;
  readonly trusted: TrustedProxies;
  /** CT_PROXY_PROTOCOL: whether trusted proxies begin with a header of the PROXY protocol. */
  readonly takesProxyHeaders?: boolean;
  readonly certificates: readonly TlsCertificate[];
  /** Responses to challenges of a certificate authority; undefined: there are none. They never reject. */
  readonly challenges?:
    | {
        httpResponse(token: string): Promise<string | undefined>;
        tlsCertificate: TlsChallenge["certificateOf"];
      }
    | undefined;
  /** CT_BIND; undefined: every address of the machine. */
  readonly bind: string | undefined;
  readonly port: number;
  readonly tlsPort: number;
  /** Whether other processes of this balancer listen on the same ports. */
  readonly isShared?: boolean;
  readonly maxConnections: number;
  /** Of each address; undefined: none. */
  readonly addressLimits?: { readonly limits: Limits; readonly isDryRun: boolean };
  readonly maxRequestsPerWorker: number;
  readonly connectTimeoutMs: number;
  readonly tlsHandshakeTimeoutMs: number;
  readonly limits: DownstreamLimits;
}): Promise<DataPath> {
  const { clock, counters, transport, log, discovery, reportBug, challenges } = deps;
  const deadlines = createDeadlines({ clock, reportBug });
  const drainState = createDrainState();
  const tunnels = createTunnels({
    clock,
    random: Math.random,
    migrateRequests: discovery.migrateRequests,
    sendResume: (request, outcome) => sendResume(request, outcome),
    counters,
    log,
  });
  const addToMetrics = measureLinks(counters);
  const router = createRouter({
    view: discovery.view,
    store: discovery.sessions,
    isLeased: discovery.isLeased,
    clock,
    counters,
    log,
    createUpstream: (record, onHealth) =>
      new Upstream(record, {
        transport,
        clock,
        log,
        deadlines,
        reportBug,
        connectTimeoutMs: deps.connectTimeoutMs,
        maxRequestsPerWorker: deps.maxRequestsPerWorker,
        prove: discovery.prove,
        linksTo: (worker, address) => {
          const target = discovery.linkTarget(worker, address);
          if (typeof target === "string") return noLinks(target);
          const parts = { transport, clock, log, reportBug, random: Math.random };
          const links = openLinks(target, parts);
          addToMetrics(worker.id, links);
          return links;
        },
        probe: discovery.probe,
        isLeased: discovery.isLeased,
        onOtherIncarnation: discovery.onOtherIncarnation,
        onHealth,
      }),
    onEpoch: (key, epoch, at) => tunnels.endMoved(key, epoch, at),
    random: Math.random,
  });
  for (const [key, { worker, epoch }] of deps.savedOwners) router.learn(key, worker, epoch);
  const retryQueue = createRetryQueue({ clock });
  const limiter =
    deps.addressLimits &&
    createLimiter({
      ...deps.addressLimits,
      trusted: deps.trusted,
      roomTokenSignature: (values) => roomTokenSignature(values, discovery.tokenKeys),
      clock,
      counters,
    });
  const exchangeDeps = {
    router,
    limiter,
    refusals: createRefusals({ clock, trusted: deps.trusted }),
    tunnels,
    trusted: deps.trusted,
    counters,
    traffic: createTrafficCounters(counters),
    retryQueue,
    clock,
    drainState,
    isRootOurs: discovery.isLeased,
    httpChallenge: challenges && ((token: string) => challenges.httpResponse(token)),
  };
  // Clients have not sent these requests, so they are not counted as theirs.
  const traffic = createTrafficCounters(createCounters());
  const sendResume = createSendResume({ ...exchangeDeps, traffic });
  await deps.beforePortsOpen?.();
  const listener = await listen({
    transport,
    bind: deps.bind,
    port: deps.port,
    tlsPort: deps.tlsPort,
    isShared: deps.isShared ?? false,
    certificates: deps.certificates,
    tlsChallenge: challenges && { certificateOf: (name) => challenges.tlsCertificate(name) },
    tlsHandshakeTimeoutMs: deps.tlsHandshakeTimeoutMs,
    maxConnections: deps.maxConnections,
    admits: limiter && ((address) => limiter.admits(address)),
    limits: deps.limits,
    counters,
    requestLog: deps.requestLog,
    deadlines,
    drainState,
    nextRequestId: createRequestIds(),
    acceptRequest: (head, client) => acceptRequest(head, client, exchangeDeps),
    proxyHeaderFrom: deps.takesProxyHeaders === true ? deps.trusted : undefined,
    isHealthTarget,
  });

  counters.gauge("balancer.connections", () => listener.connections);
  counters.gauge("balancer.connections_limit", () => deps.maxConnections);
  counters.gauge("balancer.tunnels", () => tunnels.size);
  counters.gauge("balancer.resume.waiting", () => tunnels.resuming);
  counters.gauge("balancer.holding", () => retryQueue.size);
  counters.gauge("balancer.workers", () => countStates(router));
  counters.gauge("balancer.links", () => byWorker(router, ({ links }) => links));
  counters.gauge("balancer.link.streams", () => byWorker(router, ({ streams }) => streams));

  return {
    listener,
    router,
    tunnels,
    drainState,
    shutDown: (time) => shutDown({ drainState, listener, tunnels, clock, log, ...time }),
    close() {
      listener.close();
      tunnels.endAll();
      listener.destroyAll();
      router.close();
      limiter?.close();
      deadlines.close();
    },
  };
}

function countStates(
  router: Router,
): Record<WorkerState | Exclude<WorkerStatus, "healthy"> | keyof FormerStates, number> {
  const count = { up: 0, suspended: 0, draining: 0, unhealthy: 0, down: 0 };
  for (const upstream of router.upstreams) {
    const status = router.statusOfWorker(upstream);
    count[status === "healthy" ? upstream.record.state : status]++;
  }
  return withFormerStates(count);
}

function byWorker(router: Router, pick: (links: WorkerLinks) => number): Record<string, number> {
  return Object.fromEntries(router.upstreams.map(({ id, links }) => [id, pick(links)]));
}

/** Cheap ids that are unique over processes and time: a random prefix and a count. */
function createRequestIds(): () => string {
  const prefix = randomBytes(6).toString("hex");
  let count = 0;
  return () => `${prefix}-${(++count).toString(36)}`;
}

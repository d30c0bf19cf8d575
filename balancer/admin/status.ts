/**
 * The balancer's status port: readiness, and its view of the workers and the ring.
 */
import type { Clock } from "../../shared/base/clock.ts";
import { withFormerHealth } from "../../shared/cluster/former-health-names.ts";
import { readResumes } from "../../shared/cluster/resume-reports.ts";
import {
  type BalancerView,
  MAX_PROBLEM_CHARS,
  type ReportedAcme,
  type ReportedLinks,
} from "../../shared/cluster/status-reports.ts";
import { cut } from "../../shared/logs/escape.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import { writeExposition } from "../../shared/metrics/prometheus.ts";
import type { Publisher } from "../../shared/metrics/statsd/publisher.ts";
import type { StatusSource } from "../../shared/process/status-port.ts";
import { VERSION } from "../../shared/process/version.ts";
import type { Acme } from "../acme/acme.ts";
import type { Certificate } from "../certificates/certificates.ts";
import type { Discovery } from "../discovery/discovery.ts";
import type { Router } from "../routing/router.ts";
import type { DataPath } from "../server/data-path.ts";
import type { Upstream } from "../upstreams/upstream.ts";
import type { WorkerLinks } from "../upstreams/worker-links.ts";

export function statusOf(parts: {
  dataPath: Pick<DataPath, "listener" | "router" | "tunnels" | "drainState">;
  clock: Clock;
  discovery: Pick<Discovery, "view" | "storeHealth" | "refused" | "isRecalled">;
  counters: Counters;
  /** The `ct-edge` that started this balancer, if any. */
  edge: { readonly notReady: readonly string[] };
}): StatusSource {
  const { listener, router, tunnels, drainState } = parts.dataPath;
  const { discovery, clock } = parts;
  return {
    readiness() {
      const store = discovery.storeHealth();
      return {
        notReady: [
          ...(drainState.isAnnounced ? ["this balancer is shutting down"] : []),
          ...(router.usable > 0 ? [] : ["no worker takes new sessions"]),
          ...parts.edge.notReady,
        ],
        // Routing continues with the last known workers.
        degraded: [
          ...(store?.state === "away" ? [`store: ${store.reason}`] : []),
          ...(discovery.isRecalled ? ["the workers are those of the last snapshot"] : []),
        ],
      };
    },
    view: () => ({
      role: "balancer",
      version: VERSION,
      // Left out with a fixed list of workers.
      store: discovery.storeHealth(),
      refused: discovery.refused(),
      ring: discovery.view.ring.fingerprint,
      connections: listener.connections,
      tunnels: tunnels.size,
      workers: router.upstreams.map((upstream) => ({
        ...upstream.record,
        ...withFormerNames(describeHealth(upstream, router, clock)),
        inFlight: upstream.inFlight,
        link: describeLinks(upstream.links),
      })),
      gone: router.gone.map(({ id, incarnation, atMs }) => ({
        id,
        incarnation,
        agoMs: Math.round(clock.nowMs() - atMs),
      })),
      probesBelieved: !router.isPanicking,
      counters: parts.counters.snapshot(),
    }),
    metrics: () => writeExposition(parts.counters.series(), ["balancer", "process"]),
  };
}

/** A certificate may have hundreds of names; the first ones identify it. */
const MAX_NAMES_CHARS = 200;

/** This balancer's status report, for the dashboard and the commands. */
export function describeView(
  { listener, router, tunnels }: Pick<DataPath, "listener" | "router" | "tunnels">,
  parts: {
    readonly clock: Clock;
    readonly counters: Counters;
    readonly certificates: readonly Pick<Certificate, "names" | "expiresMs">[];
    readonly acme: ReportedAcme | undefined;
    readonly publisher: Pick<Publisher, "health"> | undefined;
  },
): BalancerView {
  const { clock, counters, certificates, publisher } = parts;
  return {
    role: "balancer",
    uptimeMs: Math.round(process.uptime() * 1000),
    rssBytes: process.memoryUsage.rss(),
    connections: listener.connections,
    tunnels: tunnels.size,
    workers: [
      ...router.upstreams.map((upstream) => {
        const { status, lastFailure } = describeHealth(upstream, router, clock);
        return {
          id: upstream.id,
          status,
          ...(lastFailure !== undefined && { lastFailure }),
          link: describeLinks(upstream.links),
        };
      }),
    ],
    resumes: readResumes(counters, tunnels.resuming),
    ...(publisher !== undefined && { statsd: publisher.health }),
    certificates: certificates.map(({ names, expiresMs }) => ({
      names: cut(names, MAX_NAMES_CHARS),
      expiresInMs: expiresMs - clock.wallMs(),
    })),
    ...(parts.acme !== undefined && { acme: parts.acme }),
  };
}

export function describeAcme(
  acme: Pick<Acme, "status">,
  clock: Pick<Clock, "wallMs">,
): ReportedAcme {
  const { domains, issuedMs, expiresMs, nextMs, isRevoked, failures, problem } = acme.status;
  const nowMs = clock.wallMs();
  return {
    domains,
    ...(issuedMs !== undefined && { issuedAgoMs: nowMs - issuedMs }),
    ...(expiresMs !== undefined && { expiresInMs: expiresMs - nowMs }),
    nextOrderInMs: nextMs - nowMs,
    ...(isRevoked && { isRevoked }),
    failures,
    ...(problem !== undefined && { problem: cut(problem, MAX_PROBLEM_CHARS) }),
  };
}

/**
 * `state` of the record is the worker's own; `status` is this balancer's view of it. `isAvoided`: it gets no new requests,
 * which also depends on whether probes are ignored.
 */
export function describeHealth(
  upstream: Upstream,
  router: Pick<Router, "statusOfWorker">,
  clock: Pick<Clock, "nowMs">,
) {
  const { health } = upstream;
  const { lastFailure } = health;
  return {
    isAvoided: router.statusOfWorker(upstream) !== "healthy",
    status: health.state,
    ...(lastFailure !== undefined && {
      lastFailure: {
        reason: lastFailure.reason,
        by: lastFailure.by,
        agoMs: Math.round(clock.nowMs() - lastFailure.atMs),
      },
    }),
  };
}

function describeLinks({ state, links, streams, counts }: WorkerLinks): ReportedLinks {
  const { streamsOpened: _left, ...reported } = counts;
  return { state, links, streams, ...reported };
}

/** With `health` and `suspect`, the names of the previous version, for one version. */
function withFormerNames(described: ReturnType<typeof describeHealth>) {
  return { ...withFormerHealth(described), suspect: described.isAvoided };
}

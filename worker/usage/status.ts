/** What a worker reports about itself: its record in the store, its readiness, its status and its metrics. */
import type { Incarnation, SessionId, WorkerId } from "../../shared/base/ids.ts";
import {
  MAX_PROBLEM_CHARS,
  type ReportedAudit,
  type ReportedPolicy,
  type ReportedWebhooks,
  type WorkerView,
} from "../../shared/cluster/status-reports.ts";
import type { RefusedMember } from "../../shared/membership/member-verification.ts";
import type { Counters, Series } from "../../shared/metrics/metrics.ts";
import { writeExposition } from "../../shared/metrics/prometheus.ts";
import type { SinkHealth } from "../../shared/metrics/statsd/sink.ts";
import type { PolicyState } from "../../shared/policy/policy-file.ts";
import type { StatusSource } from "../../shared/process/status-port.ts";
import { VERSION } from "../../shared/process/version.ts";
import type { KnownSecrets } from "../../shared/settings/keyring.ts";
import type { WorkerLoad, WorkerRecord, WorkerState } from "../../shared/store/member.ts";
import type { StoreHealth } from "../../shared/store/store.ts";
import type { AuditState } from "../audit/audit.ts";
import type { Registry } from "../sessions/registry.ts";

/** Inputs of the status report; read on every heartbeat and request. */
export interface Vitals {
  readonly self: {
    readonly id: WorkerId;
    readonly incarnation: Incarnation;
    readonly linkVersion: number | undefined;
    readonly resumeVersion: number | undefined;
  };
  /** The secrets that it knows. */
  readonly known: () => KnownSecrets;
  /** Where others reach this worker; empty until the store was reached for the first time. */
  readonly urls: () => { readonly url: string; readonly statusUrl: string };
  /** Members in the store that failed verification. */
  readonly refused: () => readonly RefusedMember[];
  readonly phase: () => "starting" | "running" | "stopping";
  readonly store: { readonly health: StoreHealth };
  readonly ring: () => { readonly fingerprint: string };
  readonly state: () => WorkerState;
  readonly load: () => WorkerLoad;
  readonly wanted: () => number | undefined;
  readonly sessionIds: () => readonly SessionId[];
  readonly waitingPolls: () => number;
  readonly counters: Pick<Counters, "snapshot" | "series">;
  readonly pages: StatusSource["pages"];
  /** Metrics of the whole cluster; none while the store is away. */
  readonly clusterSeries: () => Promise<readonly Series[]>;
}

/** The worker's record in the store as of now. */
export function describeWorker(vitals: Vitals): WorkerRecord {
  return {
    kind: "worker",
    ...vitals.self,
    ...vitals.known(),
    ...vitals.urls(),
    version: VERSION,
    zone: "",
    weight: 1,
    state: vitals.state(),
    load: vitals.load(),
    wanted: vitals.wanted(),
    ringFingerprint: vitals.ring().fingerprint,
  };
}

/** What the worker's status port shows. */
export function statusOf(vitals: Vitals): StatusSource {
  return {
    ...(vitals.pages !== undefined && { pages: vitals.pages }),
    readiness() {
      const phase = vitals.phase();
      const { health } = vitals.store;
      return {
        notReady: phase === "running" ? [] : [`the worker is ${phase}`],
        // Sessions continue and new ones start, so the worker still wants traffic.
        degraded: health.state === "away" ? [`the store is away: ${health.reason}`] : [],
      };
    },
    view: () => ({
      role: "worker",
      record: describeWorker(vitals),
      store: vitals.store.health,
      refused: vitals.refused(),
      sessions: vitals.sessionIds().map((id) => ({ id })),
      waitingPolls: vitals.waitingPolls(),
      counters: vitals.counters.snapshot(),
    }),
    async metrics() {
      const series = [...(await vitals.clusterSeries()), ...vitals.counters.series()];
      return writeExposition(series, ["cluster", "worker", "process"]);
    },
  };
}

function describePolicy({ digest, problem }: PolicyState): ReportedPolicy {
  if (problem === undefined) return { digest };
  return { digest, problem: problem.slice(0, MAX_PROBLEM_CHARS) };
}

function describeAudit({ problem, dropped }: AuditState): ReportedAudit {
  if (problem === undefined) return { dropped };
  return { dropped, problem: problem.slice(0, MAX_PROBLEM_CHARS) };
}

/** The worker's status report in the store, for the dashboard and the command line. */
export function describeView({
  registry,
  statsd,
  restarts,
  policy,
  webhooks,
  audit,
}: {
  readonly registry: Pick<Registry, "sessions">;
  readonly statsd: SinkHealth | undefined;
  readonly restarts: number | undefined;
  readonly policy: PolicyState | undefined;
  readonly webhooks: ReportedWebhooks | undefined;
  readonly audit: AuditState | undefined;
}): WorkerView {
  const sessions = [...registry.sessions()].map((session) => ({
    id: session.id,
    bytes: session.relayedBytes,
    idleMs: Math.max(0, Math.round(session.silentMs)),
    connected: [...session.peers].filter((peer) => peer.isConnected).map(({ id }) => id),
  }));
  return {
    role: "worker",
    uptimeMs: Math.round(process.uptime() * 1000),
    rssBytes: process.memoryUsage.rss(),
    ...(restarts !== undefined && { restarts }),
    ...(statsd !== undefined && { statsd }),
    ...(policy !== undefined && { policy: describePolicy(policy) }),
    ...(webhooks !== undefined && { webhooks }),
    ...(audit !== undefined && { audit: describeAudit(audit) }),
    sessions,
  };
}

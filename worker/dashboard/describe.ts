/**
 * Describes a snapshot of the edge for the dashboard. Pure. Unknown values are null, and a worker without a report of its
 * health is never shown as healthy.
 */
import { getOrAdd } from "../../shared/base/grouping.ts";
import {
  compareRings,
  type LinkSummary,
  ownerStateOf,
  sessionReports,
  summarizeAllResumes,
  summarizeLinks,
} from "../../shared/cluster/describe.ts";
import { ringProblem, unparsableRecords } from "../../shared/cluster/format.ts";
import type { PublishedView } from "../../shared/cluster/read.ts";
import { summarizeResumes } from "../../shared/cluster/resume-reports.ts";
import type { ReportedSession, ReportedWorker, View } from "../../shared/cluster/status-reports.ts";
import type { MetricName } from "../../shared/metrics/metric-list.ts";
import type { Series } from "../../shared/metrics/metrics.ts";
import { VERSION } from "../../shared/process/version.ts";
import type { BalancerRecord, WorkerRecord } from "../../shared/store/member.ts";
import type { SessionRecord, StoreHealth } from "../../shared/store/store.ts";
import type {
  BalancerLine,
  FormerWorkerState,
  OverviewResponse,
  SessionLine,
  SessionsResponse,
  WorkerLine,
  WorkerStatus,
  WorkersResponse,
} from "./responses.ts";
import type { Snapshot } from "./snapshot.ts";

/** Characters of a session id that are shown: the whole id would allow join requests. */
export const SHOWN_ID_CHARS = 8;

// --- overview ---

export function describeOverview(snapshot: Snapshot, health: StoreHealth): OverviewResponse {
  const { workers, balancers } = describeMembers(snapshot);
  const counts = { up: 0, suspended: 0, draining: 0, unhealthy: 0, down: 0, unknown: 0 };
  for (const { status } of workers) counts[status]++;
  const { unhealthy, down, ...same } = counts;
  return {
    atMs: snapshot.nowMs ?? null,
    version: VERSION,
    store: { state: health.state, reason: health.state === "away" ? health.reason : null },
    storeLatencyMs: snapshot.storeLatencyMs ?? null,
    tiles: describeTiles(snapshot.cluster),
    workerStatuses: counts,
    workers: { ...same, suspect: unhealthy, dead: down },
    balancers: balancers.length,
    concerns: concernsOf(workers, snapshot),
  };
}

/** The numbers of the whole edge; null where they are not known. */
export function describeTiles(cluster: readonly Series[]): OverviewResponse["tiles"] {
  const value = (name: MetricName): number | null => {
    const series = cluster.find((one) => one.name === name);
    return series !== undefined && series.kind !== "histogram" ? series.value : null;
  };
  return {
    usersOnline: value("users.online"),
    sessionsActive: value("sessions.active"),
    connectionsActive: value("connections.active"),
    lagMs: value("lag.average"),
    sessionsHosted: value("sessions.hosted"),
    downloads: value("downloads"),
  };
}

function concernsOf(
  workers: readonly WorkerLine[],
  { ownerById, membership, isCurrent }: Snapshot,
): string[] {
  // The page shows the store outage separately; older data is no reason to act now.
  if (!isCurrent) return [];
  const concerns: string[] = [];
  if (workers.every(({ status }) => status === "down" || status === "unhealthy")) {
    concerns.push("No worker is healthy: no session can be opened.");
  } else if (workers.every(({ status }) => status !== "up")) {
    concerns.push("No worker accepts new sessions.");
  }
  for (const { id, status, reason } of workers) {
    if (status === "down" || status === "unhealthy")
      concerns.push(`Worker ${id} is ${status}: ${reason}.`);
  }
  const live = new Set<string>(membership.members.map(({ id }) => id));
  const orphans = [...ownerById.values()].filter((owner) => !live.has(owner)).length;
  if (orphans > 0) {
    concerns.push(`Sessions whose worker is gone and that nobody has taken over yet: ${orphans}.`);
  }
  const ring = ringProblem(compareRings(membership.members));
  if (ring !== undefined) concerns.push(ring);
  if (membership.ignored > 0) {
    concerns.push(unparsableRecords("Member records", membership.ignored));
  }
  return concerns;
}

// --- workers and balancers ---

export function describeMembers(snapshot: Snapshot): WorkersResponse {
  const { membership, views } = snapshot;
  const seenById = whatBalancersSee(views);
  const linksById = summarizeLinks(views);
  const ownById = new Map(views.map((view) => [view.id, view]));
  const records = membership.members.filter((member) => member.kind === "worker");
  const balancers = membership.members.filter((member) => member.kind === "balancer");
  const speaking = views.filter(({ view }) => view.role === "balancer").length;
  const { differing } = compareRings(membership.members);
  const known = new Set<string>(records.map(({ id }) => id));
  const workers = [
    ...records.map((record) =>
      describeWorker(record, {
        seen: seenById.get(record.id) ?? [],
        speaking,
        own: ownById.get(record.id)?.view,
        link: linksById.get(record.id),
      }),
    ),
    ...[...seenById].filter(([id]) => !known.has(id)).map(([id, seen]) => describeGone(id, seen)),
  ];
  const resumes = snapshot.isCurrent ? summarizeAllResumes(views) : undefined;
  return {
    workers: workers.map((line) => (snapshot.isCurrent ? line : notKnownNow(line))).sort(byId),
    balancers: [...balancers]
      .sort(byId)
      .map((record) => describeBalancer(record, ownById.get(record.id)?.view, differing)),
    resumes: resumes ?? null,
  };
}

function byId(a: { readonly id: string }, b: { readonly id: string }): number {
  return a.id < b.id ? -1 : 1;
}

/** A balancer's view of a worker, with the store time of its report. */
type Seen = ReportedWorker & { readonly seenMs: number };

function whatBalancersSee(views: readonly PublishedView[]): Map<string, Seen[]> {
  const seenById = new Map<string, Seen[]>();
  for (const { view, seenMs } of views) {
    if (view.role !== "balancer") continue;
    for (const worker of view.workers) {
      getOrAdd(seenById, worker.id, () => []).push({ ...worker, seenMs });
    }
  }
  return seenById;
}

const NO_NUMBERS = {
  sessions: null,
  connections: null,
  lagMs: null,
  link: null,
  rssBytes: null,
  uptimeMs: null,
} as const;

/** During a store outage the state is unknown; the previous one is only mentioned, and never shown as current. */
function notKnownNow(line: WorkerLine): WorkerLine {
  return {
    ...line,
    ...named("unknown"),
    reason: `the store does not respond; it was ${line.status} before`,
    ...NO_NUMBERS,
  };
}

/** The worst status that a balancer sees wins; a worker's own state counts only if all see it as healthy. */
const WORST_FIRST = ["down", "unhealthy"] as const;

const FORMER_STATE = {
  up: "up",
  suspended: "suspended",
  draining: "draining",
  unhealthy: "suspect",
  down: "dead",
  unknown: "unknown",
} as const satisfies Record<WorkerStatus, FormerWorkerState>;

/** A status under its name and that of the version before. */
function named(status: WorkerStatus): Pick<WorkerLine, "status" | "state"> {
  return { status, state: FORMER_STATE[status] };
}

function describeWorker(
  record: WorkerRecord,
  reports: {
    readonly seen: readonly Seen[];
    /** Number of balancers that report. */
    readonly speaking: number;
    readonly own: View | undefined;
    readonly link: LinkSummary | undefined;
  },
): WorkerLine {
  const { seen, own } = reports;
  const worst = WORST_FIRST.find((status) => seen.some((one) => one.status === status));
  const view = own?.role === "worker" ? own : undefined;
  return {
    id: record.id,
    ...named(worst ?? record.state),
    reason: reasonOf(record, worst, seen, reports.speaking),
    lastFailure: lastFailure(seen),
    sessions: record.load.sessions,
    connections: record.load.connections,
    lagMs: record.load.lagMs,
    link: reports.link ?? null,
    rssBytes: view?.rssBytes ?? null,
    version: record.version,
    uptimeMs: view?.uptimeMs ?? null,
    restarts: view?.restarts ?? null,
    url: record.url,
  };
}

function reasonOf(
  record: WorkerRecord,
  worst: "down" | "unhealthy" | undefined,
  seen: readonly ReportedWorker[],
  balancers: number,
): string {
  if (worst !== undefined) {
    const those = seen.filter(({ status }) => status === worst);
    const why = those[0]?.lastFailure?.reason ?? "no reason given";
    return `${why} (seen by ${those.length} of ${balancers} balancers)`;
  }
  if (record.state === "draining") {
    return record.load.sessions > 0 ? "hands its sessions over" : "has handed its sessions over";
  }
  if (record.state === "suspended") return "takes no new sessions";
  return balancers === 0 ? "by its own word; no balancer says how it is" : "";
}

function lastFailure(seen: readonly Seen[]): WorkerLine["lastFailure"] {
  const failures = seen.flatMap(({ lastFailure: failure, seenMs }) =>
    failure === undefined
      ? []
      : { atMs: seenMs - failure.agoMs, reason: `${failure.reason}, ${failure.by}` },
  );
  return failures.sort((a, b) => b.atMs - a.atMs)[0] ?? null;
}

/** A worker that balancers still report, but whose lease has expired. */
function describeGone(id: string, seen: readonly Seen[]): WorkerLine {
  return {
    id,
    ...named("down"),
    reason: "its lease has expired",
    lastFailure: lastFailure(seen),
    ...NO_NUMBERS,
    version: "",
    restarts: null,
    url: "",
  };
}

function describeBalancer(
  record: BalancerRecord,
  own: View | undefined,
  differing: ReadonlySet<string>,
): BalancerLine {
  const view = own?.role === "balancer" ? own : undefined;
  return {
    id: record.id,
    version: record.version,
    uptimeMs: view?.uptimeMs ?? null,
    rssBytes: view?.rssBytes ?? null,
    connections: view?.connections ?? null,
    tunnels: view?.tunnels ?? null,
    resumes: (view?.resumes && summarizeResumes([view.resumes])) ?? null,
    ringDiffers: differing.has(record.id),
  };
}

// --- sessions ---

export function describeSessions(
  snapshot: Snapshot,
  records: readonly SessionRecord[],
): SessionsResponse {
  const reportById = sessionReports(snapshot);
  return {
    sessions: records.map((record) => describeSession(record, reportById.get(record.id), snapshot)),
    total: snapshot.ownerById.size,
  };
}

function describeSession(
  record: SessionRecord,
  seen: ReportedSession | undefined,
  { nowMs, isCurrent, membership }: Snapshot,
): SessionLine {
  return {
    id: record.id.slice(0, SHOWN_ID_CHARS),
    worker: record.owner,
    ownerState: isCurrent ? ownerStateOf(record, membership.members) : "unknown",
    epoch: record.epoch,
    isLocked: record.locked === true,
    ageMs: nowMs === undefined ? null : Math.max(0, nowMs - record.createdMs),
    bytes: seen?.bytes ?? null,
    lastActivityMs: seen?.idleMs ?? null,
    peers: record.peers.map(({ id, user, host, client }) => ({
      id,
      name: user.name,
      host,
      client,
      hasSignIn: user.signIn !== undefined,
      connected: seen === undefined || !isCurrent ? null : seen.connected.includes(id),
    })),
  };
}

/**
 * A snapshot of the edge as the dashboard tells it. Pure. What is not known is null, and a worker of which nobody says that
 * it is well is not shown as well.
 */
import type { BalancerRecord, WorkerRecord } from "../../shared/membership/member.ts";
import type { MetricName } from "../../shared/metric-list.ts";
import { ownerStateOf } from "../../shared/store/session-list.ts";
import type { SessionRecord, StoreHealth } from "../../shared/store/store.ts";
import { VERSION } from "../../shared/version.ts";
import type { BalancerView, SessionAsSeen, WorkerAsSeen, WorkerView } from "../../shared/views.ts";
import type {
  BalancerLine,
  OverviewAnswer,
  SessionLine,
  SessionsAnswer,
  WorkerLine,
  WorkerState,
  WorkersAnswer,
} from "./answers.ts";
import type { Snapshot } from "./snapshot.ts";

/** Characters of a session's id that are shown: all of it would be an invitation to ask. */
export const SHOWN_ID_CHARS = 8;

// --- overview ---

export function describeOverview(snapshot: Snapshot, health: StoreHealth): OverviewAnswer {
  const { workers, balancers } = describeMembers(snapshot);
  const value = (name: MetricName): number | null => {
    const series = snapshot.cluster.find((one) => one.name === name);
    return series !== undefined && series.kind !== "histogram" ? series.value : null;
  };
  const counts: Record<WorkerState, number> = {
    up: 0,
    suspended: 0,
    draining: 0,
    suspect: 0,
    dead: 0,
  };
  for (const { state } of workers) counts[state]++;
  return {
    atMs: snapshot.nowMs,
    version: VERSION,
    store: { state: health.state, reason: health.state === "away" ? health.reason : null },
    storeLatencyMs: snapshot.storeLatencyMs ?? null,
    tiles: {
      usersOnline: value("users.online"),
      sessionsActive: value("sessions.active"),
      connectionsActive: value("connections.active"),
      lagMs: value("lag.average"),
      sessionsHosted: value("sessions.hosted"),
      downloads: value("downloads"),
    },
    workers: counts,
    balancers: balancers.length,
    concerns: concernsOf(workers, balancers, snapshot),
  };
}

function concernsOf(
  workers: readonly WorkerLine[],
  balancers: readonly BalancerLine[],
  { sessions, membership }: Snapshot,
): string[] {
  const concerns: string[] = [];
  if (workers.every(({ state }) => state === "dead" || state === "suspect")) {
    concerns.push("No worker is well: nobody can open a session.");
  } else if (workers.every(({ state }) => state !== "up")) {
    concerns.push("No worker takes new sessions.");
  }
  for (const { id, state, reason } of workers) {
    if (state === "dead" || state === "suspect")
      concerns.push(`Worker ${id} is ${state}: ${reason}.`);
  }
  const orphans = sessions.filter(
    (session) => ownerStateOf(session, membership.members) === "gone",
  );
  if (orphans.length > 0) {
    concerns.push(
      `Sessions whose worker is gone and that nobody has taken over yet: ${orphans.length}.`,
    );
  }
  if (balancers.some(({ ringDiffers }) => ringDiffers)) {
    concerns.push("Balancers have different rings and may route the same session differently.");
  }
  if (membership.ignored > 0) {
    concerns.push(`Records of members in the store that make no sense: ${membership.ignored}.`);
  }
  return concerns;
}

// --- workers and balancers ---

export function describeMembers(snapshot: Snapshot): WorkersAnswer {
  const { membership, viewById } = snapshot;
  const views = [...viewById.values()].filter((view) => view.role === "balancer");
  const records = membership.members.filter((member) => member.kind === "worker");
  const balancers = membership.members.filter((member) => member.kind === "balancer");
  const ring = mostCommon(membership.members.map(({ ringFingerprint }) => ringFingerprint));
  const known = new Set<string>(records.map(({ id }) => id));
  return {
    workers: [
      ...records.map((record) => describeWorker(record, views, viewById.get(record.id), snapshot)),
      ...gone(views, known, snapshot),
    ].sort((a, b) => (a.id < b.id ? -1 : 1)),
    balancers: [...balancers]
      .sort((a, b) => (a.id < b.id ? -1 : 1))
      .map((record) => describeBalancer(record, viewById.get(record.id), ring)),
  };
}

/** Most that balancers may see of a worker comes first; a worker's own word only when none speaks against it. */
const WORST_FIRST = ["dead", "suspect"] as const;

function describeWorker(
  record: WorkerRecord,
  views: readonly BalancerView[],
  own: { readonly role: string } | undefined,
  { nowMs }: Snapshot,
): WorkerLine {
  const seen = views.flatMap(({ workers }) => workers.find(({ id }) => id === record.id) ?? []);
  const worst = WORST_FIRST.find((health) => seen.some((one) => one.health === health));
  const failure = lastFailure(seen, nowMs);
  const view = own?.role === "worker" ? (own as WorkerView) : undefined;
  return {
    id: record.id,
    state: worst ?? record.state,
    reason: reasonOf(record, worst, seen, views.length),
    lastFailure: failure,
    sessions: record.load.sessions,
    connections: record.load.connections,
    lagMs: record.load.lagMs,
    rssBytes: view?.rssBytes ?? null,
    version: record.version,
    uptimeMs: view?.uptimeMs ?? null,
    restarts: view?.restarts ?? null,
    url: record.url,
  };
}

function reasonOf(
  record: WorkerRecord,
  worst: "dead" | "suspect" | undefined,
  seen: readonly WorkerAsSeen[],
  balancers: number,
): string {
  if (worst !== undefined) {
    const those = seen.filter(({ health }) => health === worst);
    const why = those[0]?.lastFailure?.reason ?? "no reason given";
    return `${why} (seen by ${those.length} of ${balancers} balancers)`;
  }
  if (record.state === "draining") return "hands its sessions over";
  if (record.state === "suspended") return "takes no new sessions";
  return balancers === 0 ? "no balancer says how it is" : "";
}

function lastFailure(seen: readonly WorkerAsSeen[], nowMs: number): WorkerLine["lastFailure"] {
  const failures = seen.flatMap(({ lastFailure: failure }) => failure ?? []);
  const [latest] = failures.sort((a, b) => a.agoMs - b.agoMs);
  if (latest === undefined) return null;
  return { atMs: nowMs - latest.agoMs, reason: `${latest.reason}, ${latest.by}` };
}

/** Workers that balancers still speak of, whose lease is gone. */
function gone(
  views: readonly BalancerView[],
  known: ReadonlySet<string>,
  { nowMs }: Snapshot,
): WorkerLine[] {
  const seen = new Map<string, WorkerAsSeen[]>();
  for (const { workers } of views) {
    for (const worker of workers) {
      if (known.has(worker.id)) continue;
      seen.set(worker.id, [...(seen.get(worker.id) ?? []), worker]);
    }
  }
  return [...seen].map(([id, all]) => ({
    id,
    state: "dead",
    reason: "its lease is gone",
    lastFailure: lastFailure(all, nowMs),
    sessions: null,
    connections: null,
    lagMs: null,
    rssBytes: null,
    version: "",
    uptimeMs: null,
    restarts: null,
    url: "",
  }));
}

function describeBalancer(
  record: BalancerRecord,
  own: { readonly role: string } | undefined,
  ring: string | undefined,
): BalancerLine {
  const view = own?.role === "balancer" ? (own as BalancerView) : undefined;
  return {
    id: record.id,
    version: record.version,
    uptimeMs: view?.uptimeMs ?? null,
    rssBytes: view?.rssBytes ?? null,
    connections: view?.connections ?? null,
    tunnels: view?.tunnels ?? null,
    ringDiffers:
      ring !== undefined && record.ringFingerprint !== "" && record.ringFingerprint !== ring,
  };
}

function mostCommon(texts: readonly string[]): string | undefined {
  const counts = new Map<string, number>();
  for (const text of texts) if (text !== "") counts.set(text, (counts.get(text) ?? 0) + 1);
  return [...counts].sort(([, a], [, b]) => b - a)[0]?.[0];
}

// --- sessions ---

export function describeSessions(snapshot: Snapshot): SessionsAnswer {
  const seen = new Map<string, SessionAsSeen>();
  for (const view of snapshot.viewById.values()) {
    if (view.role === "worker") for (const session of view.sessions) seen.set(session.id, session);
  }
  return {
    sessions: snapshot.sessions.map((record) =>
      describeSession(record, seen.get(record.id), snapshot),
    ),
    total: snapshot.sessionCount,
  };
}

function describeSession(
  record: SessionRecord,
  seen: SessionAsSeen | undefined,
  { nowMs, membership }: Snapshot,
): SessionLine {
  return {
    id: record.id.slice(0, SHOWN_ID_CHARS),
    worker: record.owner,
    ownerState: ownerStateOf(record, membership.members),
    epoch: record.epoch,
    ageMs: Math.max(0, nowMs - record.createdMs),
    bytes: seen?.bytes ?? null,
    lastActivityMs: seen?.idleMs ?? null,
    peers: record.peers.map(({ id, user, host, client }) => ({
      name: user.name,
      host,
      client,
      connected: seen === undefined ? null : seen.connected.includes(id),
    })),
  };
}

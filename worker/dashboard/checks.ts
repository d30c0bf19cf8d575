/**
 * Health checks for operators: the store, workers and balancers, certificates, metrics and the license. A check whose inputs
 * are missing is `unknown`. Pure, except for the requests to the store.
 */

import type { Clock } from "../../shared/base/clock.ts";
import { counted } from "../../shared/base/counted.ts";
import { describeError } from "../../shared/base/errors.ts";
import { compareRings, compareSecrets } from "../../shared/cluster/describe.ts";
import { ringProblem, secretProblem, someOf } from "../../shared/cluster/format.ts";
import type { PublishedView } from "../../shared/cluster/read.ts";
import type {
  ReportedAcme,
  ReportedCertificate,
  ReportedReceiver,
} from "../../shared/cluster/status-reports.ts";
import { judgeLicense } from "../../shared/settings/license.ts";
import type { FoundLicense } from "../../shared/settings/license-file.ts";
import type { Store } from "../../shared/store/store.ts";
import { describeMembers } from "./describe.ts";
import type { CheckResponse } from "./responses.ts";
import type { Snapshot } from "./snapshot.ts";

export type Check = CheckResponse["checks"][number];
/** Of a check, whose name its caller knows. */
type Verdict = Omit<Check, "name">;

const good = (detail: string): Verdict => ({ outcome: "good", detail });
const bad = (detail: string): Verdict => ({ outcome: "bad", detail });
const unknown = (detail: string): Verdict => ({ outcome: "unknown", detail });
const off = (detail: string): Verdict => ({ outcome: "off", detail });

const STORE_AWAY = unknown("the store does not answer");
const NO_WORKER = unknown("no worker reports its status");

/** Above this, users notice the delay. */
const SLOW_STORE_MS = 50;
/** The median counts: a single response may be delayed by this machine. */
const STORE_REQUESTS = 5;
const DAY_MS = 86_400_000;
/** The same limit as for the warning in the balancers' logs (balancer/certificates/certificates.ts). */
const EXPIRES_SOON_MS = 14 * DAY_MS;
/** A receiver that refuses one event may accept all others. */
const LATE_WEBHOOK_MS = 300_000;

export async function checkStore(
  store: Pick<Store, "timeMs">,
  clock: Pick<Clock, "nowMs">,
): Promise<Check> {
  const tookMs: number[] = [];
  try {
    for (let sent = 0; sent < STORE_REQUESTS; sent++) {
      const sentMs = clock.nowMs();
      await store.timeMs();
      tookMs.push(clock.nowMs() - sentMs);
    }
  } catch (error) {
    return { name: "Store", outcome: "bad", detail: describeError(error) };
  }
  tookMs.sort((a, b) => a - b);
  const [median = 0, worst = 0] = [tookMs[STORE_REQUESTS >> 1], tookMs.at(-1)];
  return {
    name: "Store",
    outcome: median < SLOW_STORE_MS ? "good" : "bad",
    detail: `median response time ${median.toFixed(1)} ms over ${STORE_REQUESTS} requests (limit ${SLOW_STORE_MS} ms), worst ${worst.toFixed(1)} ms`,
  };
}

export function checkMembers(snapshot: Snapshot): Check[] {
  return [
    { name: "Workers", ...checkWorkers(snapshot) },
    { name: "Balancers agree", ...checkRings(snapshot) },
    { name: "Secret", ...checkSecrets(snapshot) },
    ...checkCertificates(snapshot).map((verdict) => ({ name: "TLS certificate", ...verdict })),
    ...checkAcme(snapshot.views).map((verdict) => ({ name: "TLS certificate", ...verdict })),
    { name: "Policy", ...checkPolicy(workersOf(snapshot)) },
    { name: "Webhooks", ...checkWebhooks(workersOf(snapshot)) },
    { name: "Audit", ...checkAudit(workersOf(snapshot)) },
    { name: "StatsD", ...checkStatsd(snapshot.views) },
  ];
}

/** The workers that report their status. */
function workersOf({ views }: Snapshot) {
  return views.flatMap(({ id, view }) => (view.role === "worker" ? [{ id, ...view }] : []));
}

type ReportingWorkers = ReturnType<typeof workersOf>;

function checkWorkers(snapshot: Snapshot): Verdict {
  if (!snapshot.isCurrent) return STORE_AWAY;
  const { workers } = describeMembers(snapshot);
  const ill = workers.filter(({ status }) => status === "down" || status === "unhealthy");
  const up = workers.filter(({ status }) => status === "up").length;
  if (ill.length > 0) {
    return bad(ill.map(({ id, status, reason }) => `${id} is ${status}: ${reason}`).join("; "));
  }
  return up > 0
    ? good(`${up} of ${workers.length} take new sessions`)
    : bad("none takes new sessions");
}

function checkRings(snapshot: Snapshot): Verdict {
  if (!snapshot.isCurrent) return STORE_AWAY;
  const { balancers } = describeMembers(snapshot);
  if (balancers.length === 0) {
    return unknown(
      "no balancer reports its status (a balancer with a static worker list has no store)",
    );
  }
  const problem = ringProblem(compareRings(snapshot.membership.members));
  if (problem !== undefined) return bad(problem);
  return good(`${balancers.length} of ${balancers.length} have the same ring`);
}

/** By the records: a process with another secret is ignored by the others, and its own reports say nothing of that. */
function checkSecrets({ membership, isCurrent }: Snapshot): Verdict {
  if (!isCurrent) return STORE_AWAY;
  if (membership.members.every(({ kind }) => kind === "worker")) {
    return unknown("no balancer has a lease");
  }
  const problem = secretProblem(compareSecrets(membership.members));
  if (problem !== undefined) return bad(problem);
  return good(`${membership.members.length} processes have the same`);
}

function checkCertificates({ views }: Snapshot): Verdict[] {
  const reported = views.flatMap(({ view, seenMs }) =>
    view.role === "balancer" && view.certificates !== undefined
      ? view.certificates.map((certificate) => ({ ...certificate, seenMs }))
      : [],
  );
  const isObtained = views.some(({ view }) => view.role === "balancer" && view.acme !== undefined);
  if (reported.length === 0 && isObtained) return [];
  if (reported.length === 0) {
    const hasBalancers = views.some(({ view }) => view.role === "balancer");
    return [
      hasBalancers
        ? unknown("no balancer has a certificate: TLS is terminated in front of them, or not used")
        : unknown("no balancer reports its status"),
    ];
  }
  // Balancers with different certificates get a line each.
  const soonestByNames = new Map<string, ReportedCertificate>();
  for (const certificate of reported) {
    const other = soonestByNames.get(certificate.names);
    if (other === undefined || certificate.expiresInMs < other.expiresInMs)
      soonestByNames.set(certificate.names, certificate);
  }
  return [...soonestByNames.values()].map(({ names, expiresInMs }) => ({
    outcome: expiresInMs > EXPIRES_SOON_MS ? "good" : "bad",
    detail:
      expiresInMs > 0
        ? `${names}: expires in ${Math.floor(expiresInMs / DAY_MS)} days`
        : `${names}: has expired`,
  }));
}

/** Balancers have a new certificate within 5 s, and report every 5 s. */
const FOLLOWED_MS = 60_000;

/** The certificate that the edge obtains itself. */
function checkAcme(views: readonly PublishedView[]): Verdict[] {
  const reported = views.flatMap(({ id, view }) =>
    view.role === "balancer" && view.acme !== undefined ? [{ id, ...view.acme }] : [],
  );
  const expiry = ({ expiresInMs = Number.NEGATIVE_INFINITY }: ReportedAcme): number => expiresInMs;
  const [latest, ...others] = reported.sort((a, b) => expiry(b) - expiry(a));
  if (latest === undefined) return [];
  const { domains, issuedAgoMs = 0, expiresInMs, nextOrderInMs } = latest;
  const isRevoked = reported.some((one) => one.isRevoked);
  const failing = reported.find((one) => one.problem !== undefined);
  const behind = others.filter((one) => expiry(latest) - expiry(one) > FOLLOWED_MS);
  const check = (outcome: Check["outcome"], detail: string): Verdict[] => [
    { outcome, detail: `${someOf(domains)}: ${detail}` },
  ];
  const reason = failing === undefined ? "" : `; ${reasonOf(failing)}`;
  if (isRevoked) return check("bad", `was revoked, another one is being ordered${reason}`);
  if (expiresInMs === undefined) {
    return check(reason === "" ? "unknown" : "bad", `there is none yet${reason}`);
  }
  if (expiresInMs <= 0) return check("bad", `has expired${reason}`);
  const valid = `expires in ${duration(expiresInMs)}`;
  if (reason !== "") return check("bad", `${valid}${reason}`);
  if (behind.length > 0 && issuedAgoMs > FOLLOWED_MS) {
    const names = someOf(behind.map(({ id }) => id));
    return check("bad", `${valid}, but not that of ${names}: look into the log there`);
  }
  return check("good", `${valid}, is renewed in ${duration(Math.max(0, nextOrderInMs))}`);
}

function reasonOf({ failures, problem = "" }: ReportedAcme): string {
  if (failures === 0) return problem;
  return `${counted(failures, "order")} failed, the last one because of: ${problem}`;
}

/** In days, or in hours where that is less than two. */
function duration(ms: number): string {
  const days = Math.floor(ms / DAY_MS);
  return days >= 2 ? `${days} days` : `${Math.floor(ms / 3_600_000)} hours`;
}

/** Each worker reads its own file: they may differ. */
function checkPolicy(workers: ReportingWorkers): Verdict {
  if (workers.length === 0) return NO_WORKER;
  const failing = workers.find(({ policy }) => policy?.problem !== undefined);
  if (failing !== undefined) {
    return bad(
      `the file has mistakes, so the last good policy stays in force: ${failing.policy?.problem} (seen by ${failing.id})`,
    );
  }
  const digests = new Map(workers.map(({ id, policy }) => [policy?.digest ?? "none", id]));
  const [digest = "none"] = digests.keys();
  if (digests.size > 1) {
    const which = [...digests].map(([of, id]) => `${of} (${id})`).join(", ");
    return bad(`workers have different policies: ${which}`);
  }
  return digest === "none"
    ? off("CT_POLICY is not set: everyone who has signed in may host")
    : good(`${workers.length} workers have policy ${digest}`);
}

/** Of the worker that delivers, which has reported it last. */
function checkWebhooks(workers: ReportingWorkers): Verdict {
  if (workers.length === 0) return NO_WORKER;
  const configured = workers.flatMap(({ id, webhooks }) =>
    webhooks === undefined ? [] : [{ id, ...webhooks }],
  );
  if (configured.length === 0) return off("CT_WEBHOOKS is not set");
  const without = workers.find(({ webhooks }) => webhooks === undefined);
  if (without !== undefined) {
    return bad(`CT_WEBHOOKS is not set for ${without.id}: its events are not sent`);
  }
  const wrong = configured.find(({ problem }) => problem !== undefined);
  if (wrong !== undefined) {
    return bad(
      `the file has mistakes, so the receivers stay as they were: ${wrong.problem} (seen by ${wrong.id})`,
    );
  }
  const receivers = configured.find((one) => one.receivers !== undefined)?.receivers;
  if (receivers === undefined) return unknown("no worker reports that it delivers");
  const failing = receivers.filter(
    ({ state, oldestMs }) => state !== "ok" || oldestMs > LATE_WEBHOOK_MS,
  );
  return failing.length === 0
    ? good(receivers.map(describeReceiver).join("; "))
    : bad(failing.map(describeReceiver).join("; "));
}

function describeReceiver({ name, state, backlog, lastFailure }: ReportedReceiver): string {
  if (state === "gone") return `${name} has answered 410 and gets no more events`;
  const failure = lastFailure === undefined ? "" : ` (last failure: ${lastFailure.reason})`;
  if (state === "down") return `${name} accepts nothing, ${backlog} events wait${failure}`;
  return backlog === 0
    ? `${name} has all events`
    : `${name}: ${backlog} ${backlog === 1 ? "event waits" : "events wait"}${failure}`;
}

/** Good only while it can be written, with checkpoints: whether lines were changed is for `ct-edge audit verify`. */
function checkAudit(workers: ReportingWorkers): Verdict {
  if (workers.length === 0) return NO_WORKER;
  const recording = workers.filter(({ audit }) => audit !== undefined);
  if (recording.length === 0) return off("CT_AUDIT is not set");
  const failing = workers.find(({ audit }) => audit?.problem !== undefined);
  if (failing !== undefined) return bad(`${failing.id}: ${failing.audit?.problem}`);
  const silent = workers.find(({ audit }) => audit === undefined);
  if (silent !== undefined) {
    return bad(`${silent.id} records nothing: CT_AUDIT is not set there`);
  }
  const dropped = recording.reduce((sum, { audit }) => sum + (audit?.dropped ?? 0), 0);
  const record = `${recording.length} of ${workers.length} workers record`;
  return dropped === 0
    ? good(`${record}; no event is missing`)
    : bad(`${record}; ${dropped} events are missing since the start`);
}

function checkStatsd(views: readonly PublishedView[]): Verdict {
  const senders = views.flatMap(({ id, view: { statsd } }) =>
    statsd === undefined ? [] : [{ id, ...statsd }],
  );
  if (views.length === 0) return unknown("no process reports its status");
  if (senders.length === 0) return off("CT_METRICS_STATSD_HOST is not set");
  const failing = senders.filter(({ state }) => state === "away");
  const last = senders
    .flatMap(({ id, lastError }) => (lastError === undefined ? [] : [{ id, ...lastError }]))
    .sort((a, b) => a.agoMs - b.agoMs)[0];
  const error =
    last === undefined
      ? "no error since start"
      : `last error ${Math.round(last.agoMs / 1000)} s ago at ${last.id}: ${last.reason}`;
  const total = senders.length;
  return failing.length > 0
    ? bad(`${failing.length} of ${total} cannot send; ${error}`)
    : good(`${total} of ${total} send; ${error} (UDP does not report losses)`);
}

/** `people`: connections of people in the whole edge; undefined while unknown. */
export function checkLicense(
  found: FoundLicense,
  wallMs: number,
  people: number | undefined,
): Check {
  const name = "License";
  const standing = judgeLicense(found.license, found.publicKey, wallMs);
  switch (standing.state) {
    case "community":
      return { name, outcome: "off", detail: "no license is installed: no limits apply" };
    case "forged":
      return { name, outcome: "bad", detail: "the signature does not match the issuer's key" };
    case "expired":
      return { name, outcome: "bad", detail: `expired: ${standing.license.expiration}` };
    case "valid": {
      const { licensee, maxConnections, expiration } = standing.license;
      return {
        name,
        outcome: people === undefined || people < maxConnections ? "good" : "bad",
        detail: `${licensee}, valid until ${expiration}; ${people ?? "an unknown number"} of ${maxConnections} connections in use`,
      };
    }
  }
}

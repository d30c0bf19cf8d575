/**
 * Status reports: each process writes its view of the edge to the store every few seconds, so that the dashboard and `explain`
 * can show the state of workers as balancers see it, and of sessions as workers see it, without a connection to each process.
 *
 * Times are durations, because clocks of different machines are never compared.
 */
import { z } from "zod";
import type { Clock } from "../base/clock.ts";
import type { WorkerId } from "../base/ids.ts";
import { startPeriodicTask } from "../base/periodic-task.ts";
import type { ReportedLinkCounts } from "../link/link-counts.ts";
import type { Log } from "../logs/log.ts";
import type { SinkHealth } from "../metrics/statsd/sink.ts";
import { reportUnlessAway } from "../store/report-unless-away.ts";
import { MAX_REPORT_BYTES, type Store } from "../store/store.ts";
import {
  type HealthStatus,
  healthFields,
  withFormerHealth,
  withStatus,
} from "./former-health-names.ts";
import { type ReportedResumes, resumesSchema } from "./resume-reports.ts";

/** The view of a balancer. */
export interface BalancerView {
  readonly role: "balancer";
  readonly uptimeMs: number;
  readonly rssBytes: number;
  readonly connections: number;
  readonly tunnels: number;
  readonly workers: readonly ReportedWorker[];
  /** Left out by balancers of the version before. */
  readonly resumes?: ReportedResumes;
  /** Left out where metrics are not sent. */
  readonly statsd?: SinkHealth;
  /** Certificates of its HTTPS port that are in files; empty without one. */
  readonly certificates?: readonly ReportedCertificate[];
  /** Left out without CT_ACME_DOMAINS. */
  readonly acme?: ReportedAcme;
}

/** The certificate that the edge obtains itself. */
export interface ReportedAcme {
  readonly domains: readonly string[];
  /** Since it is valid; left out while there is none. */
  readonly issuedAgoMs?: number;
  /** Negative when it has expired; left out while there is none. */
  readonly expiresInMs?: number;
  /** Negative when an order is due. */
  readonly nextOrderInMs: number;
  readonly isRevoked?: true;
  /** Orders that failed since the last one that succeeded. */
  readonly failures: number;
  /** Why the last one failed, or why the certificate in the store cannot be read. */
  readonly problem?: string;
}

export interface ReportedCertificate {
  /** The host names that it covers. */
  readonly names: string;
  /** Negative when it has expired. */
  readonly expiresInMs: number;
}

export interface ReportedWorker {
  readonly id: string;
  readonly status: HealthStatus;
  readonly lastFailure?: { readonly reason: string; readonly by: string; readonly agoMs: number };
  /** Left out by balancers of the version before. */
  readonly link?: ReportedLinks;
}

/** The links of a balancer to a worker, and what they have done since the worker's start. */
export interface ReportedLinks extends ReportedLinkCounts {
  readonly state: LinkState;
  /** Open links, and their open streams. */
  readonly links: number;
  readonly streams: number;
}

/** `connecting`: there is none now. `unsupported`: the worker accepts none. `off`: CT_LINK=off at the balancer. */
const LINK_STATES = ["open", "connecting", "unsupported", "off"] as const;
export type LinkState = (typeof LINK_STATES)[number];

/** The view of a worker. */
export interface WorkerView {
  readonly role: "worker";
  readonly uptimeMs: number;
  readonly rssBytes: number;
  /** How often its supervisor restarted it; left out without a supervisor. */
  readonly restarts?: number;
  /** Left out where metrics are not sent. */
  readonly statsd?: SinkHealth;
  /** Left out without CT_POLICY. */
  readonly policy?: ReportedPolicy;
  /** Left out without CT_WEBHOOKS. */
  readonly webhooks?: ReportedWebhooks;
  /** Left out without CT_AUDIT. */
  readonly audit?: ReportedAudit;
  /** The most recently active sessions, as many as fit. */
  readonly sessions: readonly ReportedSession[];
}

/** The policy in force. */
export interface ReportedPolicy {
  readonly digest: string;
  /** Why the file as it is now is not in force. */
  readonly problem?: string;
}

/** The audit log. */
export interface ReportedAudit {
  /** Events that were not written since the start. */
  readonly dropped: number;
  /** Why it cannot be written at the moment. */
  readonly problem?: string;
}

export const MAX_PROBLEM_CHARS = 1000;

export interface ReportedWebhooks {
  /** Events of this worker that are not in the store yet. */
  readonly pending: number;
  /** Why the file as it is now is not in force. */
  readonly problem?: string;
  /** Left out by workers that do not deliver: one does. */
  readonly receivers?: readonly ReportedReceiver[];
}

export interface ReportedReceiver {
  readonly name: string;
  /** `gone`: it has answered 410, and gets nothing more. */
  readonly state: "ok" | "down" | "gone";
  /** Events that it does not have yet, and the age of the oldest. */
  readonly backlog: number;
  readonly oldestMs: number;
  readonly lastSuccessAgoMs?: number;
  readonly lastFailure?: { readonly reason: string; readonly agoMs: number };
}

export interface ReportedSession {
  readonly id: string;
  /** Bytes relayed since this worker took the session over. */
  readonly bytes: number;
  readonly idleMs: number;
  /** Ids of the connected peers. */
  readonly connected: readonly string[];
}

export type View = BalancerView | WorkerView;

const count = z.number().nonnegative();
const word = z.string().max(256);

const statsdSchema = z.object({
  state: z.enum(["sending", "away"]),
  lastError: z.object({ reason: z.string().max(1000), agoMs: count }).exactOptional(),
});

const linkSchema = z.object({
  state: z.enum(LINK_STATES),
  links: count,
  streams: count,
  framesIn: count,
  framesOut: count,
  bytesIn: count,
  bytesOut: count,
  stalls: count,
  resets: count,
  errors: count,
});

const webhooksSchema = z.object({
  pending: count,
  problem: z.string().max(MAX_PROBLEM_CHARS).exactOptional(),
  receivers: z
    .array(
      z.object({
        name: word,
        state: z.enum(["ok", "down", "gone"]),
        backlog: count,
        oldestMs: count,
        lastSuccessAgoMs: count.exactOptional(),
        lastFailure: z
          .object({ reason: z.string().max(MAX_PROBLEM_CHARS), agoMs: count })
          .exactOptional(),
      }),
    )
    .max(100)
    .exactOptional(),
});

const balancerSchema = z.object({
  role: z.literal("balancer"),
  uptimeMs: count,
  rssBytes: count,
  connections: count,
  tunnels: count,
  workers: z
    .array(
      z.object({
        id: word,
        ...healthFields,
        lastFailure: z.object({ reason: word, by: word, agoMs: count }).exactOptional(),
        link: linkSchema.exactOptional(),
      }),
    )
    .max(1000)
    .transform((workers) => workers.flatMap((worker) => withStatus(worker) ?? [])),
  resumes: resumesSchema.exactOptional(),
  statsd: statsdSchema.exactOptional(),
  certificates: z
    .array(z.object({ names: z.string().max(10_000), expiresInMs: z.number() }))
    .max(100)
    .exactOptional(),
  acme: z
    .object({
      domains: z.array(z.string().max(253)).max(100),
      issuedAgoMs: z.number().exactOptional(),
      expiresInMs: z.number().exactOptional(),
      nextOrderInMs: z.number(),
      isRevoked: z.literal(true).exactOptional(),
      failures: count,
      problem: z.string().max(MAX_PROBLEM_CHARS).exactOptional(),
    })
    .exactOptional(),
});

const workerSchema = z.object({
  role: z.literal("worker"),
  uptimeMs: count,
  rssBytes: count,
  restarts: count.exactOptional(),
  statsd: statsdSchema.exactOptional(),
  policy: z
    .object({ digest: word, problem: z.string().max(MAX_PROBLEM_CHARS).exactOptional() })
    .exactOptional(),
  webhooks: webhooksSchema.exactOptional(),
  audit: z
    .object({ dropped: count, problem: z.string().max(MAX_PROBLEM_CHARS).exactOptional() })
    .exactOptional(),
  sessions: z
    .array(
      z.object({ id: word, bytes: count, idleMs: count, connected: z.array(word).max(10_000) }),
    )
    .max(10_000),
});

const viewSchema = z.discriminatedUnion("role", [balancerSchema, workerSchema]);

/** Parses a view from the store; undefined if it is invalid. */
export function parseView(text: string): View | undefined {
  try {
    return viewSchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

/**
 * The view as text. If it exceeds the size limit of the store, a balancer's is written without links, and of a worker's
 * sessions those that were active last are kept.
 */
export function writeView(view: View): string {
  if (view.role === "balancer") {
    const workers = view.workers.map(withFormerHealth);
    const whole = JSON.stringify({ ...view, workers });
    if (Buffer.byteLength(whole) <= MAX_REPORT_BYTES) return whole;
    return JSON.stringify({
      ...view,
      workers: workers.map((worker) => ({ ...worker, link: undefined })),
    });
  }
  let sessions = [...view.sessions].sort((a, b) => a.idleMs - b.idleMs);
  let text = JSON.stringify({ ...view, sessions });
  while (Buffer.byteLength(text) > MAX_REPORT_BYTES && sessions.length > 0) {
    sessions = sessions.slice(0, Math.floor(sessions.length / 2));
    text = JSON.stringify({ ...view, sessions });
  }
  return text;
}

export const STATUS_PERIOD_MS = 5000;
/** Only bounds how long a report stays in the store; leases show which processes are gone. */
const TTL_MS = 15_000;

/** Writes `describe()` to the store now and every 5 s. */
export function publishStatus(deps: {
  readonly store: Pick<Store, "report">;
  readonly clock: Clock;
  readonly log: Log;
  readonly self: WorkerId;
  readonly describe: () => View;
}): { close(): void } {
  const { store, clock, log, self, describe } = deps;
  return startPeriodicTask({
    clock,
    periodMs: STATUS_PERIOD_MS,
    startsNow: true,
    work: async () => store.report("view", self, writeView(describe()), TTL_MS),
    onError: reportUnlessAway(log, "the status report could not be written to the store"),
  });
}

/**
 * Status reports: each process writes its view of the edge to the store every few seconds, so that the dashboard and `explain`
 * can show the state of workers as balancers see it, and of sessions as workers see it, without a connection to each process.
 *
 * Times are durations, because clocks of different machines are never compared.
 */
import { z } from "zod";
import type { Clock } from "../base/clock.ts";
import type { WorkerId } from "../base/ids.ts";
import { readJson } from "../base/json.ts";
import { startPeriodicTask } from "../base/periodic-task.ts";
import type { Log } from "../logs/log.ts";
import { MAX_REPORT_BYTES } from "../store/schemas.ts";
import type { Store } from "../store/store.ts";
import { reportUnlessAway } from "../store/unless-away.ts";
import { healthFields, withFormerHealth, withStatus } from "./former-health-names.ts";
import { resumesSchema } from "./resume-reports.ts";

export const MAX_PROBLEM_CHARS = 1000;

const count = z.number().nonnegative();
const word = z.string().max(256);
const problem = z.string().max(MAX_PROBLEM_CHARS).exactOptional();

/** How metrics are sent; left out where they are not. */
const statsd = z
  .object({
    state: z.enum(["sending", "away"]),
    lastError: z.object({ reason: z.string().max(1000), agoMs: count }).exactOptional(),
  })
  .exactOptional();

/** The links of a balancer to a worker, and what they have done since the worker's start. */
const linksSchema = z.object({
  /** `connecting`: there is none now. `unsupported`: the worker accepts none. `off`: CT_LINK=off at the balancer. */
  state: z.enum(["open", "connecting", "unsupported", "off"]),
  /** Open links, and their open streams. */
  links: count,
  streams: count,
  /** As in `LinkCounts`. */
  framesIn: count,
  framesOut: count,
  bytesIn: count,
  bytesOut: count,
  stalls: count,
  resets: count,
  errors: count,
});
export type ReportedLinks = Readonly<z.infer<typeof linksSchema>>;
export type LinkState = ReportedLinks["state"];

// --- balancers ---

/** The certificate that the edge obtains itself. */
const acmeSchema = z.object({
  domains: z.array(z.string().max(253)).max(100).readonly(),
  /** Since it is valid; left out while there is none. */
  issuedAgoMs: z.number().exactOptional(),
  /** Negative when it has expired; left out while there is none. */
  expiresInMs: z.number().exactOptional(),
  /** Negative when an order is due. */
  nextOrderInMs: z.number(),
  isRevoked: z.literal(true).exactOptional(),
  /** Orders that failed since the last one that succeeded. */
  failures: count,
  /** Why the last one failed, or why the certificate in the store cannot be read. */
  problem,
});
export type ReportedAcme = Readonly<z.infer<typeof acmeSchema>>;

const seenWorkerSchema = z.object({
  id: word,
  ...healthFields,
  lastFailure: z.object({ reason: word, by: word, agoMs: count }).exactOptional(),
  /** Left out by balancers of the version before. */
  link: linksSchema.exactOptional(),
});

const balancerSchema = z.object({
  role: z.literal("balancer"),
  uptimeMs: count,
  rssBytes: count,
  connections: count,
  tunnels: count,
  workers: z
    .array(seenWorkerSchema)
    .max(1000)
    .transform((workers) => workers.flatMap((worker) => withStatus(worker) ?? []))
    .readonly(),
  /** Left out by balancers of the version before. */
  resumes: resumesSchema.exactOptional(),
  statsd,
  /** Certificates of its HTTPS port that are in files; empty without one. Those that have expired count below 0. */
  certificates: z
    .array(z.object({ names: z.string().max(10_000), expiresInMs: z.number() }))
    .max(100)
    .readonly()
    .exactOptional(),
  /** Left out without CT_ACME_DOMAINS. */
  acme: acmeSchema.exactOptional(),
});
export type BalancerView = Readonly<z.infer<typeof balancerSchema>>;
export type ReportedCertificate = NonNullable<BalancerView["certificates"]>[number];
export type ReportedWorker = BalancerView["workers"][number];

// --- workers ---

const receiverSchema = z.object({
  name: word,
  /** `gone`: it has answered 410, and gets nothing more. */
  state: z.enum(["ok", "down", "gone"]),
  /** Events that it does not have yet, and the age of the oldest. */
  backlog: count,
  oldestMs: count,
  lastSuccessAgoMs: count.exactOptional(),
  lastFailure: z
    .object({ reason: z.string().max(MAX_PROBLEM_CHARS), agoMs: count })
    .exactOptional(),
});
export type ReportedReceiver = Readonly<z.infer<typeof receiverSchema>>;

const sessionSchema = z.object({
  id: word,
  /** Bytes relayed since this worker took the session over. */
  bytes: count,
  idleMs: count,
  /** Ids of the connected peers. */
  connected: z.array(word).max(10_000).readonly(),
});
export type ReportedSession = Readonly<z.infer<typeof sessionSchema>>;

const workerSchema = z.object({
  role: z.literal("worker"),
  uptimeMs: count,
  rssBytes: count,
  /** How often its supervisor restarted it; left out without a supervisor. */
  restarts: count.exactOptional(),
  statsd,
  /** The policy in force, and why the file as it is now is not; left out without CT_POLICY. */
  policy: z.object({ digest: word, problem }).exactOptional(),
  /** Left out without CT_WEBHOOKS. */
  webhooks: z
    .object({
      /** Events of this worker that are not in the store yet. */
      pending: count,
      /** Why the file as it is now is not in force. */
      problem,
      /** Left out by workers that do not deliver: one does. */
      receivers: z.array(receiverSchema).max(100).readonly().exactOptional(),
    })
    .exactOptional(),
  /** Events that were not written to the audit log since the start, and why it cannot be written; left out without CT_AUDIT. */
  audit: z.object({ dropped: count, problem }).exactOptional(),
  /** The most recently active sessions, as many as fit. */
  sessions: z.array(sessionSchema).max(10_000).readonly(),
});
export type WorkerView = Readonly<z.infer<typeof workerSchema>>;
export type ReportedPolicy = NonNullable<WorkerView["policy"]>;
export type ReportedAudit = NonNullable<WorkerView["audit"]>;
export type ReportedWebhooks = NonNullable<WorkerView["webhooks"]>;

export type View = BalancerView | WorkerView;

const viewSchema = z.discriminatedUnion("role", [balancerSchema, workerSchema]);

/** Parses a view from the store; undefined if it is invalid. */
export function parseView(text: string): View | undefined {
  return readJson(viewSchema, text);
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
  readonly store: Pick<Store, "put">;
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
    async work() {
      await store.put({ kind: "view", key: self, text: writeView(describe()), ttlMs: TTL_MS });
    },
    onError: reportUnlessAway(log, "the status report could not be written to the store"),
  });
}

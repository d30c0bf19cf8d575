/**
 * How each process sees the edge, told to the store every few seconds: so that the dashboard and `explain` can show what
 * balancers think of workers, and what workers know of their sessions, without a way to each of them.
 *
 * Times are durations: clocks of two machines are never compared.
 */
import { z } from "zod";
import type { Clock } from "../base/clock.ts";
import type { WorkerId } from "../base/ids.ts";
import type { Log } from "../logs/log.ts";
import type { SinkHealth } from "../metrics/statsd/sink.ts";
import { MAX_REPORT_BYTES, type Store, StoreAwayError } from "../store/store.ts";
import { type HealthStatus, healthFields, withFormerHealth, withStatus } from "./former-health.ts";

/** What a balancer sees. */
export interface BalancerView {
  readonly role: "balancer";
  readonly uptimeMs: number;
  readonly rssBytes: number;
  readonly connections: number;
  readonly tunnels: number;
  readonly workers: readonly ReportedWorker[];
  /** Left out where metrics are not sent. */
  readonly statsd?: SinkHealth;
  /** Of its HTTPS port; empty when it has none. */
  readonly certificates?: readonly ReportedCertificate[];
}

export interface ReportedCertificate {
  /** Whom it is for. */
  readonly names: string;
  /** Negative when it has expired. */
  readonly expiresInMs: number;
}

export interface ReportedWorker {
  readonly id: string;
  readonly status: HealthStatus;
  readonly lastFailure?: { readonly reason: string; readonly by: string; readonly agoMs: number };
}

/** What a worker knows of itself. */
export interface WorkerView {
  readonly role: "worker";
  readonly uptimeMs: number;
  readonly rssBytes: number;
  /** Times that its supervisor started it again; left out where it has none. */
  readonly restarts?: number;
  /** Left out where metrics are not sent. */
  readonly statsd?: SinkHealth;
  /** The most recently active ones, as many as fit. */
  readonly sessions: readonly ReportedSession[];
}

export interface ReportedSession {
  readonly id: string;
  /** Relayed since this worker has it. */
  readonly bytes: number;
  readonly idleMs: number;
  /** Ids of the peers that have a connection now. */
  readonly connected: readonly string[];
}

export type View = BalancerView | WorkerView;

const count = z.number().nonnegative();
const word = z.string().max(256);

const statsdSchema = z.object({
  state: z.enum(["sending", "away"]),
  lastError: z.object({ reason: z.string().max(1000), agoMs: count }).exactOptional(),
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
      }),
    )
    .max(1000)
    .transform((workers) => workers.flatMap((worker) => withStatus(worker) ?? [])),
  statsd: statsdSchema.exactOptional(),
  certificates: z
    .array(z.object({ names: z.string().max(10_000), expiresInMs: z.number() }))
    .max(100)
    .exactOptional(),
});

const workerSchema = z.object({
  role: z.literal("worker"),
  uptimeMs: count,
  rssBytes: count,
  restarts: count.exactOptional(),
  statsd: statsdSchema.exactOptional(),
  sessions: z
    .array(
      z.object({ id: word, bytes: count, idleMs: count, connected: z.array(word).max(10_000) }),
    )
    .max(10_000),
});

const viewSchema = z.discriminatedUnion("role", [balancerSchema, workerSchema]);

/** A view as read from the store, checked; undefined when it is none. */
export function parseView(text: string): View | undefined {
  try {
    return viewSchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

/** The view as text, with as many sessions as the store takes: those that were active last. */
export function writeView(view: View): string {
  if (view.role === "balancer") {
    return JSON.stringify({ ...view, workers: view.workers.map(withFormerHealth) });
  }
  let sessions = [...view.sessions].sort((a, b) => a.idleMs - b.idleMs);
  let text = JSON.stringify({ ...view, sessions });
  while (Buffer.byteLength(text) > MAX_REPORT_BYTES && sessions.length > 0) {
    sessions = sessions.slice(0, Math.floor(sessions.length / 2));
    text = JSON.stringify({ ...view, sessions });
  }
  return text;
}

const PERIOD_MS = 5000;
/** A process that is gone is seen by its lease; this only bounds what stays in the store. */
const TTL_MS = 15_000;

/** Tells the store `describe()` now and every 5 s. */
export function publishStatus(needs: {
  readonly store: Pick<Store, "report">;
  readonly clock: Clock;
  readonly log: Log;
  readonly self: WorkerId;
  readonly describe: () => View;
}): { close(): void } {
  let isTelling = false;

  async function tell(): Promise<void> {
    if (isTelling) return;
    isTelling = true;
    try {
      await needs.store.report("view", needs.self, writeView(needs.describe()), TTL_MS);
    } catch (error) {
      if (!(error instanceof StoreAwayError)) {
        needs.log.error({ err: error }, "what this process sees could not be told");
      }
    } finally {
      isTelling = false;
    }
  }

  void tell();
  const timer = needs.clock.every(PERIOD_MS, () => void tell());
  return { close: () => timer.cancel() };
}

/** The inside of a deployment, from the JSON of its dashboard, with an operator's token (CT_DASHBOARD_TOKENS). */
import { z } from "zod";
import { newSessionId } from "../../../shared/base/ids.ts";
import { parseJson } from "../../../shared/base/json.ts";
import type { WorkerTag } from "../../../shared/base/worker-tag.ts";
import type { HttpAnswer } from "../model/observations.ts";
import { pollHandshake } from "../probes/engine.ts";
import type { HttpProbe } from "../probes/http.ts";
import type { Controls, Inside, SecretState, StatsdState, Unreachable } from "./inside.ts";

const word = z.string().max(2000);

const workersSchema = z.object({
  workers: z
    .array(
      z.object({
        id: word,
        status: word,
        reason: word,
        version: word,
      }),
    )
    .max(1000),
  balancers: z.array(z.object({ id: word, version: word })).max(1000),
});

const checksSchema = z.object({
  checks: z.array(z.object({ name: word, outcome: word, detail: word })).max(100),
});

const echoSchema = z.object({ worker: word });
const replySchema = z.object({ outcome: word, message: word });

/** The dashboard cannot be read. The message says why, and what to do. */
export class DashboardError extends Error {}

type Workers = z.infer<typeof workersSchema>;
type Checks = z.infer<typeof checksSchema>["checks"];

export type Dashboard = ReturnType<typeof openDashboard>;

export function openDashboard(http: HttpProbe, token: string) {
  const authorization = `Bearer ${token}`;

  async function ask<T>(
    path: string,
    schema: z.ZodType<T>,
    how: { readonly method?: "POST"; readonly headers?: Record<string, string> } = {},
  ): Promise<T> {
    const answer = await http.send(`/dashboard/api/${path}`, {
      method: how.method ?? "GET",
      headers: { authorization, ...how.headers },
      timeoutMs: 15_000,
    });
    return parse(answer, schema);
  }

  async function command(worker: string, kind: "drain" | "resume"): Promise<string> {
    const path = `workers/${encodeURIComponent(worker)}/${kind}`;
    const reply = await ask(path, replySchema, { method: "POST" });
    return reply.outcome === "done" ? "done" : reply.message;
  }

  return {
    async read(): Promise<Inside> {
      const [members, { checks }] = await Promise.all([
        ask("workers", workersSchema),
        ask("check", checksSchema),
      ]);
      return describeDashboard(members, checks);
    },
    /** The name of the worker that a key is routed to. */
    async workerOf(key: string): Promise<string | undefined> {
      return (await ask("echo", echoSchema, { headers: { ctstickiness: key } })).worker;
    },
    controls: {
      drain: (worker) => command(worker, "drain"),
      resume: (worker) => command(worker, "resume"),
      async stateOf(worker) {
        const { workers } = await ask("workers", workersSchema);
        return workers.find(({ id }) => id === worker)?.status;
      },
    } satisfies Controls,
  };
}

function parse<T>(answer: HttpAnswer, schema: z.ZodType<T>): T {
  if (answer.outcome === "failed") throw new DashboardError(answer.detail);
  if (answer.status === 401) throw new DashboardError("the dashboard does not know the token");
  if (answer.status === 403) throw new DashboardError(answer.body.slice(0, 200));
  if (answer.status !== 200) throw new DashboardError(`status ${answer.status}`);
  const value = parseJson(answer.body);
  if (value === undefined) throw new DashboardError("its response is not JSON, or too long");
  const parsed = schema.safeParse(value).data;
  if (parsed === undefined) throw new DashboardError("its JSON is not that of a dashboard");
  return parsed;
}

/** Names of checks in worker/dashboard/checks.ts. */
const RINGS = "Balancers agree";
const STATSD = "StatsD";
const SECRET = "Secret";

/** Pure. */
export function describeDashboard({ workers, balancers }: Workers, checks: Checks): Inside {
  const checkOf = (name: string) => checks.find((check) => check.name === name);
  const rings = checkOf(RINGS);
  const secret = checkOf(SECRET);
  const live = workers.filter(({ reason }) => reason !== "its lease has expired");
  return {
    source: "dashboard",
    isComplete: true,
    processes: [
      ...balancers.map(({ id, version }) => processOf("balancer", id, version, undefined)),
      ...live.map(({ id, version, status }) => processOf("worker", id, version, status)),
    ],
    ringProblem: rings?.outcome === "bad" ? rings.detail : undefined,
    unreachable: live.flatMap(unreachableOf),
    statsd: statsdOf(checkOf(STATSD)),
    secret: secretOf(secret),
  };
}

function processOf(
  kind: "balancer" | "worker",
  id: string,
  version: string,
  state: string | undefined,
): Inside["processes"][number] {
  return { kind, id, version, tag: undefined, state };
}

/** As worded in shared/cluster/format.ts. */
function secretOf(check: Checks[number] | undefined): SecretState | undefined {
  if (check?.outcome === "good") return { state: "one" };
  if (check?.outcome !== "bad") return undefined;
  const twoEdges = check.detail.startsWith("two edges");
  return { state: "several", twoEdges, problem: check.detail };
}

function unreachableOf({ id, status, reason }: Workers["workers"][number]): Unreachable[] {
  if (status !== "unhealthy" && status !== "down") return [];
  const [, why = reason, who = "a balancer"] = /^(.*) \(seen by (.*)\)$/.exec(reason) ?? [];
  return [{ worker: id, from: who, reason: `${status}, ${why}` }];
}

function statsdOf(check: Checks[number] | undefined): StatsdState | undefined {
  if (check?.outcome === "off") return { state: "off" };
  if (check?.outcome === "good") return { state: "sending", detail: check.detail };
  return check?.outcome === "bad" ? { state: "away", detail: check.detail } : undefined;
}

/** Keys that are tried: one of four workers is missed once in a hundred runs. */
const TRIES = 16;

/** The names of workers by their tags, found by asking where keys go, until all of `wanted` are. */
export async function nameWorkers(
  http: HttpProbe,
  dashboard: Pick<Dashboard, "workerOf">,
  wanted: readonly string[],
): Promise<ReadonlyMap<WorkerTag, string>> {
  const names = new Map<WorkerTag, string>();
  for (let tried = 0; tried < TRIES; tried++) {
    const key = newSessionId();
    const [name, handshake] = await Promise.all([
      dashboard.workerOf(key),
      pollHandshake(http, { headers: { ctstickiness: key } }),
    ]);
    if (name !== undefined && handshake.outcome === "open" && handshake.tag !== undefined) {
      names.set(handshake.tag, name);
      const found = new Set(names.values());
      if (wanted.every((one) => found.has(one))) break;
    }
  }
  return names;
}

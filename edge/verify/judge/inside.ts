/** Judges what a deployment says of itself. Pure. */
import type { WorkerTag } from "../../../shared/base/worker-tag.ts";
import { someOf } from "../../../shared/cluster/format.ts";
import { VERSION } from "../../../shared/process/version.ts";
import type { Inside } from "../inside/inside.ts";
import type { CheckId } from "../model/checks.ts";
import { broken, type Finding, held, unknown } from "../model/finding.ts";

export const INSIDE_IDS = [
  "inside",
  "one-edge",
  "secret",
  "reachable",
  "ring",
  "versions",
  "statsd",
] as const satisfies readonly CheckId[];

export type InsideAnswer =
  | { readonly outcome: "read"; readonly inside: Inside }
  /** No means were given. */
  | { readonly outcome: "not asked" }
  | { readonly outcome: "interrupted" }
  | { readonly outcome: "failed"; readonly detail: string };

const GIVE_MEANS =
  "give --redis (CT_REDIS_URL), or --token @FILE with a token of CT_DASHBOARD_TOKENS";

/** `seen`: the workers that requests to the URL reached. */
export function judgeInside(answer: InsideAnswer, seen: ReadonlySet<WorkerTag>): Finding[] {
  if (answer.outcome === "not asked") {
    return INSIDE_IDS.map((id) => unknown(id, "it is not visible from outside", GIVE_MEANS));
  }
  if (answer.outcome === "interrupted") {
    return INSIDE_IDS.map((id) => unknown(id, "interrupted", "run verify again"));
  }
  if (answer.outcome === "failed") {
    const cause = `the inside could not be read: ${answer.detail}`;
    return INSIDE_IDS.map((id) => unknown(id, cause, "correct what was given: --redis or --token"));
  }
  const { inside } = answer;
  const strangers = strangersOf(inside, seen);
  if (strangers > 0) {
    const [, ...others] = INSIDE_IDS;
    return [
      broken(
        "inside",
        strangers === seen.size
          ? "requests to the URL reach none of the workers in this Redis: it is the Redis, or the prefix, of another edge"
          : `requests to the URL reach ${strangers} of ${seen.size} workers that are not in this Redis: balancers of two edges are behind it`,
        "give the CT_REDIS_URL and CT_REDIS_PREFIX of the edge at the URL, and lead the URL to balancers of one edge only",
      ),
      ...others.map((id) =>
        unknown(id, "the inside is not that of this edge", "see the finding about the inside"),
      ),
    ];
  }
  return [
    judgeMatch(inside, seen),
    judgeOneEdge(inside),
    judgeSecret(inside),
    judgeReachable(inside),
    judgeRing(inside),
    judgeVersions(inside),
    judgeStatsd(inside),
  ];
}

/** The number of workers that take part; undefined: not known. */
export function workerCount(answer: InsideAnswer): number | undefined {
  if (answer.outcome !== "read") return undefined;
  return answer.inside.processes.filter(({ kind }) => kind === "worker").length;
}

function strangersOf({ processes }: Inside, seen: ReadonlySet<WorkerTag>): number {
  const known = new Set(processes.map(({ tag }) => tag));
  // A dashboard tells no tags, and is itself behind the URL.
  if (processes.every(({ tag }) => tag === undefined) && processes.length > 0) return 0;
  return [...seen].filter((tag) => !known.has(tag)).length;
}

function judgeMatch({ source, processes }: Inside, seen: ReadonlySet<WorkerTag>): Finding {
  const count = (kind: string): number => processes.filter((one) => one.kind === kind).length;
  const text = `${count("balancer")} balancers, ${count("worker")} workers`;
  if (source === "dashboard") return held("inside", text);
  return seen.size === 0
    ? unknown(
        "inside",
        "no worker was reached through the URL",
        "see the finding about long polling",
      )
    : held("inside", `${text}; those that requests reached are among them`);
}

// --- secrets ---

const NOT_TOLD = "an edge of this version does not tell";
const GIVE_REDIS = "give --redis (CT_REDIS_URL)";

function judgeOneEdge({ secret }: Inside): Finding {
  const id = "one-edge";
  if (secret === undefined) return unknown(id, NOT_TOLD, GIVE_REDIS);
  if (secret.state === "one" || !secret.twoEdges) return held(id, "no process of another edge");
  return broken(
    id,
    secret.problem,
    "give each edge its own CT_REDIS_PREFIX, like {ct-b}:, or its own Redis",
  );
}

function judgeSecret({ secret, processes }: Inside): Finding {
  const id = "secret";
  if (secret === undefined) return unknown(id, NOT_TOLD, GIVE_REDIS);
  if (secret.state === "one") return held(id, `${processes.length} processes`);
  if (secret.twoEdges) {
    return unknown(id, "two edges share this store", "see the finding about one edge");
  }
  return broken(
    id,
    secret.problem,
    "give all processes the same CT_SECRET; to change it, CT_SECRET_PREVIOUS too",
  );
}

// --- the others ---

function judgeReachable({ processes, unreachable }: Inside): Finding {
  const id = "reachable";
  const [first] = unreachable;
  if (first !== undefined) {
    const more = unreachable.length > 1 ? ` (and ${unreachable.length - 1} more)` : "";
    return broken(
      id,
      `worker ${first.worker} is not reached from ${first.from}: ${first.reason}${more}`,
      "open the worker's port (CT_WORKER_PORT) to every balancer, and check that CT_WORKER_URL is an address that all of them reach",
    );
  }
  const workers = processes.filter(({ kind }) => kind === "worker").length;
  if (workers === 0) {
    return broken(
      id,
      "no worker has a lease",
      "start workers with the same CT_REDIS_URL and CT_REDIS_PREFIX",
    );
  }
  if (processes.length === workers) {
    return broken(
      id,
      "no balancer has a lease",
      "start balancers with the same CT_REDIS_URL and CT_REDIS_PREFIX",
    );
  }
  return held(id, `${workers} workers, ${processes.length - workers} balancers`);
}

function judgeRing({ ringProblem, secret }: Inside): Finding {
  if (secret?.state === "several") {
    return unknown(
      "ring",
      "it follows from the secret, which differs",
      "see the finding about that",
    );
  }
  return ringProblem === undefined
    ? held("ring", "all route a key to the same worker")
    : broken(
        "ring",
        ringProblem,
        "run the same version everywhere, with the same store and secret",
      );
}

function judgeVersions({ processes }: Inside): Finding {
  const id = "versions";
  const byVersion = new Map<string, string[]>();
  for (const { id: name, version } of processes) {
    byVersion.set(version, [...(byVersion.get(version) ?? []), name]);
  }
  const versions = [...byVersion].sort(([, a], [, b]) => b.length - a.length);
  if (versions.length > 1) {
    const text = versions.map(([version, names]) => `${version}: ${someOf(names)}`).join("; ");
    return broken(id, text, "finish the upgrade: one version at rest, two only while it lasts");
  }
  const [only] = versions[0] ?? [];
  if (only === undefined) return unknown(id, "no process has a lease", "start the edge");
  const warning =
    only === VERSION
      ? undefined
      : `this ct-edge is ${VERSION}: verify with the version that runs there`;
  return held(id, only, warning);
}

function judgeStatsd({ statsd }: Inside): Finding {
  const id = "statsd";
  switch (statsd?.state) {
    case "off":
      return held(id, "CT_METRICS_STATSD_HOST is not set: none are sent");
    case "sending":
      return held(id, `${statsd.detail}; UDP does not tell about losses`);
    case "away":
      return broken(
        id,
        `they cannot be sent: ${statsd.detail}`,
        "check CT_METRICS_STATSD_HOST, _PORT and _PROTOCOL, and that the server runs",
      );
    case undefined:
      return unknown(id, "no process reports its status", "wait some seconds after a start");
  }
}

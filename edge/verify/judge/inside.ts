/** Judges what a deployment says of itself. Pure. */
import { groupBy } from "../../../shared/base/grouping.ts";
import type { WorkerTag } from "../../../shared/base/worker-tag.ts";
import { someOf } from "../../../shared/cluster/format.ts";
import { VERSION } from "../../../shared/process/version.ts";
import type { Inside } from "../inside/inside.ts";
import type { CheckId } from "../model/checks.ts";
import { broken, forAll, held, unknown, type Verdict, type Verdicts } from "../model/finding.ts";
import { INTERRUPTED } from "./no-response.ts";

const INSIDE_IDS: readonly CheckId[] = [
  "inside",
  "one-edge",
  "secret",
  "reachable",
  "ring",
  "versions",
  "statsd",
];

export type InsideAnswer =
  | { readonly outcome: "read"; readonly inside: Inside }
  /** No means were given. */
  | { readonly outcome: "not asked" }
  | { readonly outcome: "interrupted" }
  | { readonly outcome: "failed"; readonly detail: string };

const GIVE_MEANS =
  "give --redis (CT_REDIS_URL), or --token @FILE with a token of CT_DASHBOARD_TOKENS";

/** `seen`: the workers that requests to the URL reached. */
export function judgeInside(answer: InsideAnswer, seen: ReadonlySet<WorkerTag>): Verdicts {
  if (answer.outcome === "not asked") {
    return forAll(INSIDE_IDS, unknown("it is not visible from outside", GIVE_MEANS));
  }
  if (answer.outcome === "interrupted") {
    return forAll(INSIDE_IDS, INTERRUPTED);
  }
  if (answer.outcome === "failed") {
    const cause = `the inside could not be read: ${answer.detail}`;
    return forAll(INSIDE_IDS, unknown(cause, "correct what was given: --redis or --token"));
  }
  const { inside } = answer;
  const strangers = strangersOf(inside, seen);
  if (strangers > 0) {
    const others = unknown(
      "the inside is not that of this edge",
      "see the finding about the inside",
    );
    return {
      ...forAll(INSIDE_IDS, others),
      inside: broken(
        strangers === seen.size
          ? "requests to the URL reach none of the workers in this Redis: it is the Redis, or the prefix, of another edge"
          : `requests to the URL reach ${strangers} of ${seen.size} workers that are not in this Redis: balancers of two edges are behind it`,
        "give the CT_REDIS_URL and CT_REDIS_PREFIX of the edge at the URL, and lead the URL to balancers of one edge only",
      ),
    };
  }
  return {
    inside: judgeMatch(inside, seen),
    "one-edge": judgeOneEdge(inside),
    secret: judgeSecret(inside),
    reachable: judgeReachable(inside),
    ring: judgeRing(inside),
    versions: judgeVersions(inside),
    statsd: judgeStatsd(inside),
  };
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

function judgeMatch({ source, processes }: Inside, seen: ReadonlySet<WorkerTag>): Verdict {
  const count = (kind: string): number => processes.filter((one) => one.kind === kind).length;
  const text = `${count("balancer")} balancers, ${count("worker")} workers`;
  if (source === "dashboard") return held(text);
  return seen.size === 0
    ? unknown("no worker was reached through the URL", "see the finding about long polling")
    : held(`${text}; those that requests reached are among them`);
}

// --- secrets ---

const NOT_TOLD = "an edge of this version does not tell";
const GIVE_REDIS = "give --redis (CT_REDIS_URL)";

function judgeOneEdge({ secret }: Inside): Verdict {
  if (secret === undefined) return unknown(NOT_TOLD, GIVE_REDIS);
  if (secret.state === "one" || !secret.twoEdges) return held("no process of another edge");
  return broken(
    secret.problem,
    "give each edge its own CT_REDIS_PREFIX, like {ct-b}:, or its own Redis",
  );
}

function judgeSecret({ secret, processes }: Inside): Verdict {
  if (secret === undefined) return unknown(NOT_TOLD, GIVE_REDIS);
  if (secret.state === "one") return held(`${processes.length} processes`);
  if (secret.twoEdges) {
    return unknown("two edges share this store", "see the finding about one edge");
  }
  return broken(
    secret.problem,
    "give all processes the same CT_SECRET; to change it, CT_SECRET_PREVIOUS too",
  );
}

// --- the others ---

function judgeReachable({ processes, unreachable }: Inside): Verdict {
  const [first] = unreachable;
  if (first !== undefined) {
    const more = unreachable.length > 1 ? ` (and ${unreachable.length - 1} more)` : "";
    return broken(
      `worker ${first.worker} is not reached from ${first.from}: ${first.reason}${more}`,
      "open the worker's port (CT_WORKER_PORT) to every balancer, and check that CT_WORKER_URL is an address that all of them reach",
    );
  }
  const workers = processes.filter(({ kind }) => kind === "worker").length;
  if (workers === 0) {
    return broken(
      "no worker has a lease",
      "start workers with the same CT_REDIS_URL and CT_REDIS_PREFIX",
    );
  }
  if (processes.length === workers) {
    return broken(
      "no balancer has a lease",
      "start balancers with the same CT_REDIS_URL and CT_REDIS_PREFIX",
    );
  }
  return held(`${workers} workers, ${processes.length - workers} balancers`);
}

function judgeRing({ ringProblem, secret }: Inside): Verdict {
  if (secret?.state === "several") {
    return unknown("it follows from the secret, which differs", "see the finding about that");
  }
  return ringProblem === undefined
    ? held("all route a key to the same worker")
    : broken(ringProblem, "run the same version everywhere, with the same store and secret");
}

function judgeVersions({ processes }: Inside): Verdict {
  const byVersion = groupBy(processes, ({ version }) => version);
  const versions = [...byVersion].sort(([, a], [, b]) => b.length - a.length);
  if (versions.length > 1) {
    const text = versions
      .map(([version, all]) => `${version}: ${someOf(all.map(({ id }) => id))}`)
      .join("; ");
    return broken(text, "finish the upgrade: one version at rest, two only while it lasts");
  }
  const [only] = versions[0] ?? [];
  if (only === undefined) return unknown("no process has a lease", "start the edge");
  const warning =
    only === VERSION
      ? undefined
      : `this ct-edge is ${VERSION}: verify with the version that runs there`;
  return held(only, warning);
}

function judgeStatsd({ statsd }: Inside): Verdict {
  switch (statsd?.state) {
    case "off":
      return held("CT_METRICS_STATSD_HOST is not set: none are sent");
    case "sending":
      return held(`${statsd.detail}; UDP does not tell about losses`);
    case "away":
      return broken(
        `they cannot be sent: ${statsd.detail}`,
        "check CT_METRICS_STATSD_HOST, _PORT and _PROTOCOL, and that the server runs",
      );
    case undefined:
      return unknown("no process reports its status", "wait some seconds after a start");
  }
}

/**
 * Explains where this balancer would send a request: the router's trace, and its view of the workers that it considered.
 * Decides nothing itself.
 */
import type { Clock } from "../../shared/base/clock.ts";
import type { WorkerId } from "../../shared/base/ids.ts";
import type { ExplainedHead } from "../../shared/control/command.ts";
import type {
  ExplainedCandidate,
  ExplainedConnection,
  ExplainedMove,
  Explanation,
} from "../../shared/control/explanation.ts";
import { RESUME_VERSION } from "../../shared/resume/frames.ts";
import type { WorkerRecord } from "../../shared/store/member.ts";
import type { Discovery } from "../discovery/discovery.ts";
import { CHUNKED, type Framing, NO_BODY } from "../http1/framing.ts";
import type { CandidateTrace } from "../routing/candidates.ts";
import { obstacleToReplay } from "../routing/decision.ts";
import type { Router } from "../routing/router.ts";
import { findRoute, routedRequest } from "../routing/session-key.ts";
import { fitsLink } from "../upstreams/link-policy.ts";
import type { Upstream } from "../upstreams/upstream.ts";
import type { WorkerLinks } from "../upstreams/worker-links.ts";
import { describeHealth } from "./status.ts";

/** More would not fit into a command answer, which has candidates under two names (shared/control/explanation.ts). */
const MAX_CANDIDATES = 80;

/** `holder`: the owner that a worker without the session would name in its 421 response. */
export async function explainHead(
  { method, target, fields }: ExplainedHead,
  holder: WorkerId | undefined,
  parts: {
    readonly router: Router;
    readonly discovery: Pick<Discovery, "view" | "storeHealth" | "isRecalled">;
    readonly clock: Clock;
  },
): Promise<Explanation> {
  const { router, discovery, clock } = parts;
  const route = findRoute(routedRequest(method, target, fields));
  const { decided, trace, cached, found } = await router.explain(route);
  const { worker, rule, reason } = decided;
  const upstream = worker === undefined ? undefined : router.byId(worker);
  const shown = mostLikely(trace);
  const isNamed = holder !== undefined && worker !== undefined && holder !== worker;
  return {
    rule,
    ...(worker !== undefined && { worker }),
    reason,
    ...(upstream !== undefined && {
      connection: explainConnection(route.target, fields, upstream.links),
      move: explainMove(upstream.record, upstream.links),
    }),
    ...(cached !== undefined && { remembered: { worker: cached.worker, epoch: cached.epoch } }),
    ...(found !== undefined && { found }),
    ...(isNamed && { afterMisdirected: afterMisdirected(holder) }),
    candidates: shown.map(describeCandidate),
    more: trace.length - shown.length,
    workers: workersOf(shown).map(describeWorker),
    ring: discovery.view.ring.fingerprint,
    isPanicking: router.isPanicking,
    store: discovery.storeHealth()?.state ?? "up",
    isRecalled: discovery.isRecalled,
  };

  function afterMisdirected(named: WorkerId): string {
    const upstream = router.byId(named);
    const status = upstream === undefined ? undefined : router.statusOfWorker(upstream);
    return obstacleToReplay({ status, isSender: false, hops: 0, isKept: true }) ?? "replay";
  }

  function workersOf(list: readonly CandidateTrace[]): Upstream[] {
    const ids = new Set(list.flatMap(({ worker: id }) => (id === undefined ? [] : [id])));
    return [...ids].flatMap((id) => router.byId(id) ?? []);
  }

  function describeWorker(upstream: Upstream): Explanation["workers"][number] {
    const { id, record, sessions, isFull } = upstream;
    const { status, lastFailure } = describeHealth(upstream, router, clock);
    return {
      id,
      state: record.state,
      status,
      ...(lastFailure !== undefined && { lastFailure }),
      sessions,
      connections: record.load.connections,
      lagMs: record.load.lagMs,
      weight: record.weight,
      isFull,
    };
  }
}

function describeCandidate({ worker, as, status, chance }: CandidateTrace): ExplainedCandidate {
  return {
    ...(worker !== undefined && { worker }),
    as,
    status,
    ...(chance !== undefined && { chance }),
  };
}

/** Those that a rule names first, then those with the best chance. */
function mostLikely(trace: readonly CandidateTrace[]): readonly CandidateTrace[] {
  // Only candidates of the rule `load` have a chance.
  return [...trace].sort((a, b) => (b.chance ?? 2) - (a.chance ?? 2)).slice(0, MAX_CANDIDATES);
}

// --- over what it sends the request, and what that means for WebSockets when their session moves ---

/** `target`: as the worker gets it. */
export function explainConnection(
  target: string,
  fields: ExplainedHead["fields"],
  { state }: Pick<WorkerLinks, "state">,
): ExplainedConnection {
  const framing = framingOf(fields);
  if (!fitsLink(target, NO_BODY)) return { over: "own", why: "path" };
  if (!fitsLink(target, framing)) return { over: "own", why: "body" };
  return state === "open" ? { over: "link" } : { over: "own", why: state };
}

function explainMove(
  { resumeVersion }: Pick<WorkerRecord, "resumeVersion">,
  { state }: Pick<WorkerLinks, "state">,
): ExplainedMove {
  if (state !== "open") return { webSockets: "reconnect", why: state };
  if (resumeVersion !== RESUME_VERSION) return { webSockets: "reconnect", why: "version" };
  return { webSockets: "stay open" };
}

/** Of a head that no client has sent, so that nothing is to be checked. */
function framingOf(fields: ExplainedHead["fields"]): Framing {
  const find = (wanted: string): string | undefined =>
    fields.find(({ name }) => name.toLowerCase() === wanted)?.value;
  if (find("transfer-encoding") !== undefined) return CHUNKED;
  const length = find("content-length");
  return length === undefined ? NO_BODY : { kind: "length", length: Number(length) };
}

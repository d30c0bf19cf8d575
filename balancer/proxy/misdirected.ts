/**
 * What is done about a worker's 421: it names the owner of the session, or it is not the worker that was meant.
 */
import { isWorkerName, toSessionKey } from "../../shared/base/ids.ts";
import { countRenamed } from "../../shared/metrics/former-tags.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import type { ResponseHead } from "../http1/head.ts";
import { type MovingReason, obstacleToReplay } from "../routing/decision.ts";
import type { Router } from "../routing/router.ts";
import type { Route } from "../routing/session-key.ts";
import { readEpoch } from "../upstreams/session-marks.ts";
import type { Upstream } from "../upstreams/upstream.ts";
import type { RetryHistory } from "./retry-policy.ts";

/** The request that a worker refused. */
interface Misdirected {
  readonly route: Route;
  readonly upstream: Upstream;
  readonly history: RetryHistory;
  /** Whether a record or a worker has named the owner of its session before. */
  readonly hasOwner: boolean;
  readonly isReplayable: boolean;
}

/** What is used of the router. */
type Owners = Pick<Router, "learn" | "forget" | "byId" | "statusOfWorker">;

/**
 * `pass`: the client gets the 421 · `follow`: the request goes to the owner · `reroute`: another worker is chosen ·
 * `give-up`: the request cannot go where it belongs.
 */
export type Redirection =
  | { readonly action: "pass" | "reroute" }
  | { readonly action: "follow"; readonly to: Upstream }
  | { readonly action: "give-up"; readonly why: MovingReason };

/**
 * Decides, counts, and updates the router's cache. A request with an engine.io id never goes elsewhere: only
 * the worker that issued the id knows it.
 */
export function redirect(
  head: ResponseHead,
  request: Misdirected,
  deps: { readonly router: Owners; readonly counters: Counters },
): Redirection {
  const redirection = decide(head, request, deps.router);
  countRenamed(deps.counters, "balancer.misdirected", outcomeOf(redirection));
  return redirection;
}

/** For metrics. */
function outcomeOf(redirection: Redirection): string {
  switch (redirection.action) {
    case "pass":
      return "passed";
    case "reroute":
      return "misrouted";
    case "follow":
      return "replayed";
    case "give-up":
      return redirection.why.replaceAll(" ", "-");
  }
}

function decide(head: ResponseHead, request: Misdirected, router: Owners): Redirection {
  const { route, upstream, history, isReplayable } = request;
  if (route.tag?.rule === "sid") return { action: "pass" };
  const owner = head.values.owner;
  if (owner === undefined || !isWorkerName(owner)) return afterMisrouted(request);

  const key = toSessionKey(head.values.key ?? "") ?? route.key?.key;
  const epoch = readEpoch(head);
  if (key !== undefined && epoch !== undefined) router.learn(key, owner, epoch);
  // The worker went by another key, the session that this one stands for: what is cached for this one was wrong.
  const asked = route.key?.key;
  if (asked !== undefined && asked !== key) router.forget(asked);

  const target = router.byId(owner);
  const obstacle = obstacleToReplay({
    status: target === undefined ? undefined : router.statusOfWorker(target),
    isSender: target === upstream,
    hops: history.hops,
    isKept: isReplayable,
  });
  if (target === undefined || obstacle !== undefined) {
    return { action: "give-up", why: obstacle ?? "owner unknown" };
  }
  return { action: "follow", to: target };
}

/** A worker that names no owner is not the one that was meant: its address was given to another. */
function afterMisrouted({ upstream, history, hasOwner, isReplayable }: Misdirected): Redirection {
  // It may be another incarnation of the one that was meant, and proves that in its response to a probe.
  upstream.probeSoon();
  if (history.hasLeftMisrouted && hasOwner) {
    return { action: "give-up", why: "owner not reached" };
  }
  return { action: history.hasLeftMisrouted || !isReplayable ? "pass" : "reroute" };
}

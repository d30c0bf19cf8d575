/**
 * Where this balancer would send a request, in words for people: what the directory decided by, and how it sees the
 * workers that it thought of. It decides nothing itself.
 */
import type { Clock } from "../../shared/base/clock.ts";
import type { WorkerId } from "../../shared/base/ids.ts";
import type { ExplainedHead } from "../../shared/control/command.ts";
import type { Explanation } from "../../shared/control/explanation.ts";
import type { Members } from "../discovery/discovery.ts";
import type { CandidateTrace } from "../routing/candidates.ts";
import { obstacleToReplay } from "../routing/decision.ts";
import type { Router } from "../routing/router.ts";
import { findRoute } from "../routing/session-key.ts";
import type { Upstream } from "../upstreams/upstream.ts";
import { describeHealth } from "./status.ts";

/** Workers that are told of; more of them would be more than an answer holds. */
const MAX_NOTES = 100;

/** `holder`: whom a worker that does not have the session would name. */
export async function explainHead(
  { method, target, fields }: ExplainedHead,
  holder: WorkerId | undefined,
  parts: {
    readonly directory: Router;
    readonly members: Pick<Members, "view" | "storeHealth" | "isRecalled">;
    readonly clock: Clock;
  },
): Promise<Explanation> {
  const { directory, members, clock } = parts;
  const route = findRoute({
    method,
    target,
    fields: fields.map(({ name, value }) => ({ name, lower: name.toLowerCase(), value })),
  });
  const { decided, notes, remembered, found } = await directory.explain(route);
  const { worker, rule, reason } = decided;
  const told = mostTelling(notes);
  const isNamed = holder !== undefined && worker !== undefined && holder !== worker;
  return {
    rule,
    ...(worker !== undefined && { worker }),
    reason,
    ...(remembered !== undefined && {
      remembered: { worker: remembered.worker, epoch: remembered.epoch },
    }),
    ...(found !== undefined && { found }),
    ...(isNamed && { afterMisdirected: afterMisdirected(holder) }),
    notes: told.map(describeNote),
    more: notes.length - told.length,
    workers: workersOf(told).map(describeWorker),
    ring: members.view.ring.fingerprint,
    isPanicking: directory.isPanicking,
    store: members.storeHealth()?.state ?? "up",
    isRecalled: members.isRecalled,
  };

  function afterMisdirected(named: WorkerId): string {
    const upstream = directory.byId(named);
    const standing = upstream === undefined ? undefined : directory.statusOfWorker(upstream);
    return obstacleToReplay({ standing, isSender: false, hops: 0, isKept: true }) ?? "replay";
  }

  function workersOf(list: readonly CandidateTrace[]): Upstream[] {
    const ids = new Set(list.flatMap(({ worker: id }) => (id === undefined ? [] : [id])));
    return [...ids].flatMap((id) => directory.byId(id) ?? []);
  }

  function describeWorker(upstream: Upstream): Explanation["workers"][number] {
    const { id, record, sessions, isFull } = upstream;
    const standing = directory.statusOfWorker(upstream);
    const { health, lastFailure } = describeHealth(upstream.health, standing, clock.nowMs());
    return {
      id,
      state: record.state,
      health,
      ...(lastFailure !== undefined && { lastFailure }),
      sessions,
      connections: record.load.connections,
      lagMs: record.load.lagMs,
      weight: record.weight,
      isFull,
    };
  }
}

function describeNote({
  worker,
  as,
  verdict,
  chance,
}: CandidateTrace): Explanation["notes"][number] {
  return {
    ...(worker !== undefined && { worker }),
    as,
    verdict,
    ...(chance !== undefined && { chance }),
  };
}

/** The first ones; of those that no rule names, the likeliest. */
function mostTelling(notes: readonly CandidateTrace[]): readonly CandidateTrace[] {
  // What has no chance has a rule that names it.
  return [...notes].sort((a, b) => (b.chance ?? 2) - (a.chance ?? 2)).slice(0, MAX_NOTES);
}

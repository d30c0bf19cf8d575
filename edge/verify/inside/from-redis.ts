/** The inside of a deployment, from its store. */
import { systemClock } from "../../../shared/base/clock.ts";
import { isWorkerName } from "../../../shared/base/ids.ts";
import { workerTag } from "../../../shared/base/worker-tag.ts";
import { compareRings, compareSecrets } from "../../../shared/cluster/describe.ts";
import { ringProblem, secretProblem } from "../../../shared/cluster/format.ts";
import { type PublishedView, readMembers, readViews } from "../../../shared/cluster/read.ts";
import { sendCommand } from "../../../shared/control/send.ts";
import type { MemberRecord } from "../../../shared/store/member.ts";
import type { Store } from "../../../shared/store/store.ts";
import type { Controls, Inside, SecretState, StatsdState, Unreachable } from "./inside.ts";

/** For the audit log. */
const VERIFY = { name: "ct-edge verify" };

export async function readFromStore(store: Store): Promise<Inside> {
  const { membership } = await readMembers(store);
  const views = await readViews(store, membership.members);
  return describeInside(membership.members, views, membership.booted);
}

/** Pure. */
export function describeInside(
  members: readonly MemberRecord[],
  views: readonly Pick<PublishedView, "id" | "view">[],
  isComplete = true,
): Inside {
  return {
    source: "redis",
    isComplete,
    processes: members.map((member) => ({
      kind: member.kind,
      id: member.id,
      version: member.version,
      tag: member.kind === "worker" ? workerTag(member.id, member.incarnation) : undefined,
      state: member.kind === "worker" ? member.state : undefined,
    })),
    ringProblem: ringProblem(compareRings(members)),
    unreachable: unreachableOf(members, views),
    statsd: views.length === 0 ? undefined : statsdOf(views),
    secret: secretOf(members),
  };
}

function secretOf(members: readonly MemberRecord[]): SecretState {
  const agreement = compareSecrets(members);
  const problem = secretProblem(agreement);
  return agreement.state === "several" && problem !== undefined
    ? { state: "several", twoEdges: agreement.twoEdges, problem }
    : { state: "one" };
}

/** Of workers that have a lease: one that has ended is no fault of the network. */
function unreachableOf(
  members: readonly MemberRecord[],
  views: readonly Pick<PublishedView, "id" | "view">[],
): Unreachable[] {
  const workers = new Set<string>(
    members.filter(({ kind }) => kind === "worker").map(({ id }) => id),
  );
  return views.flatMap(({ id, view }) =>
    view.role !== "balancer"
      ? []
      : view.workers
          .filter(({ id: worker, status }) => status !== "healthy" && workers.has(worker))
          .map(({ id: worker, status, lastFailure }) => ({
            worker,
            from: `balancer ${id}`,
            reason: `${status}, ${lastFailure?.reason ?? "no reason given"}`,
          })),
  );
}

function statsdOf(views: readonly Pick<PublishedView, "id" | "view">[]): StatsdState {
  const senders = views.flatMap(({ id, view: { statsd } }) =>
    statsd === undefined ? [] : [{ id, ...statsd }],
  );
  if (senders.length === 0) return { state: "off" };
  const failing = senders.find(({ state }) => state === "away");
  if (failing === undefined)
    return { state: "sending", detail: `${senders.length} processes send` };
  const reason = failing.lastError?.reason ?? "no reason given";
  return { state: "away", detail: `${failing.id}: ${reason}` };
}

export function storeControls(store: Store): Controls {
  async function send(worker: string, kind: "drain" | "resume"): Promise<string> {
    if (!isWorkerName(worker)) return "not a worker's id";
    const answer = await sendCommand({ store, clock: systemClock, by: VERIFY }, worker, { kind });
    if (answer === "no answer") return "the worker did not answer";
    return answer.outcome === "done" ? "done" : answer.message;
  }
  return {
    drain: (worker) => send(worker, "drain"),
    resume: (worker) => send(worker, "resume"),
    async stateOf(worker) {
      const { members } = await store.members();
      const found = members.find(({ id }) => id === worker);
      return found?.kind === "worker" ? found.state : undefined;
    },
  };
}

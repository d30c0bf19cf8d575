/**
 * What a worker does with a request for a session: decided by the same function as in the store. Pure.
 */
import type { WorkerId } from "../../shared/base/ids.ts";
import type { MemberRecord } from "../../shared/store/member.ts";
import { decideResume, holderOf, type Lease } from "../../shared/store/ownership.ts";
import type { ResumeCause, SessionRecord } from "../../shared/store/store.ts";

export type WorkerSays =
  /** `mine`: it has the session; else the reason why it takes the session over. */
  | { readonly says: "serve"; readonly cause: ResumeCause }
  /** Another worker has it: 421 while that one responds; else it waits until it may take the session over. */
  | { readonly says: "elsewhere"; readonly holder: WorkerId }
  | { readonly says: "closed" };

/** Undefined when no member is called `worker`. */
export function workerSays(
  record: SessionRecord,
  worker: string,
  members: readonly MemberRecord[],
): WorkerSays | undefined {
  const member = members.find(({ kind, id }) => kind === "worker" && id === worker);
  if (member === undefined) return undefined;
  const holder = holderOf(record);
  const decided = decideResume(
    record,
    { worker: member.id, incarnation: member.incarnation },
    { holder: leaseOf(holder, members), claimant: leaseOf(member.id, members) },
  );
  switch (decided.verdict) {
    case "own":
      return { says: "serve", cause: decided.cause };
    case "elsewhere":
      return { says: "elsewhere", holder };
    case "closed":
      return { says: "closed" };
  }
}

/** The age of the last heartbeat counts only with evidence, which only the worker itself can have. */
function leaseOf(id: WorkerId, members: readonly MemberRecord[]): Lease {
  const member = members.find((one) => one.id === id);
  if (member === undefined) return { state: "gone" };
  return { state: "held", incarnation: member.incarnation, sinceLastHeartbeatMs: 0 };
}

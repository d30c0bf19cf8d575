/**
 * One version: values of metric tags that were renamed are counted under the old and the new name, so that dashboards and
 * alerts can be changed before the old name goes. After that both functions are plain calls of `Counters.count`.
 */
import type { TagOf } from "./metric-list.ts";
import type { Counters } from "./metrics.ts";

/** A session was resumed from the store; the cause `lease-gone` is `lease-expired` now. */
export function countResumed(
  counters: Pick<Counters, "count">,
  cause: TagOf<"worker.sessions_resumed">,
): void {
  counters.count("worker.sessions_resumed", cause);
  if (cause === "lease-gone") counters.count("worker.sessions_resumed", "lease-expired");
}

/** A drain found no successor for a session; the outcome `nobody` is `none` now. */
export function countNoSuccessor(counters: Pick<Counters, "count">): void {
  counters.count("worker.sessions_drained", "none");
  counters.count("worker.sessions_drained", "nobody");
}

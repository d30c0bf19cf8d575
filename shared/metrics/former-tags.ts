/**
 * Tag values of counters that were renamed. For one version they are counted under both names, so that dashboards and alerts
 * can be changed before the former name goes; after that `countRenamed` is a plain call of `Counters.count`.
 */
import type { CounterName, TagOf } from "./metric-list.ts";
import type { Counters } from "./metrics.ts";

/** Former values by present ones. */
const FORMER: { readonly [Name in CounterName]?: Readonly<Record<string, TagOf<Name>>> } = {
  "balancer.routes": { misdirected: "told" },
  "balancer.misdirected": { misrouted: "not-meant" },
  "worker.sessions_resumed": { "lease-expired": "lease-gone" },
  "worker.sessions_drained": { none: "nobody" },
};

export function countRenamed<Name extends CounterName>(
  counters: Pick<Counters, "count">,
  name: Name,
  tag: TagOf<Name>,
): void {
  counters.count(name, tag);
  const former = FORMER[name]?.[tag];
  if (former !== undefined) counters.count(name, former);
}

/**
 * The membership of a balancer without a store: the workers of a fixed list (`CT_WORKERS`), all with equal weight.
 * Probes determine their health (upstream.ts).
 */

import type { Incarnation, WorkerId } from "../../shared/base/ids.ts";
import { createRing } from "../../shared/membership/ring.ts";
import { SettingError } from "../../shared/settings/read-settings.ts";
import type { WorkerRecord } from "../../shared/store/member.ts";
import type { MembershipView } from "../routing/router.ts";

/** Unknown without a store: restarts of a worker are not detected. */
const NO_INCARNATION = "0".repeat(16) as Incarnation;

/**
 * A worker's id is its entry in the list, so balancers with the same list, in any order, and the same secret have the
 * same ring. Throws `SettingError` for a duplicate.
 */
export function createStaticDiscovery(list: readonly string[], ringKey: Buffer): MembershipView {
  const workers = [...list].sort().map((address) => toRecord(address));
  const duplicate = list.find((address, index) => list.indexOf(address) !== index);
  if (duplicate !== undefined) {
    throw new SettingError(`CT_WORKERS names ${duplicate} twice; name each worker once`);
  }
  return {
    workers,
    ring: createRing(workers, ringKey),
    // Tags are derived from the workers' own names, which this balancer does not know.
    byTag: () => undefined,
    onChange: () => () => {},
  };
}

function toRecord(address: string): WorkerRecord {
  return {
    kind: "worker",
    id: address as WorkerId,
    incarnation: NO_INCARNATION,
    url: `http://${address}`,
    statusUrl: `http://${address}`,
    version: "",
    zone: "",
    weight: 1,
    state: "up",
    load: { sessions: 0, connections: 0, lagMs: 0 },
    ringFingerprint: "",
    secretFingerprint: "",
  };
}

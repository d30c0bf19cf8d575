/**
 * The workers of a fixed list (`CT_WORKERS`), as the membership of a balancer that has no store: always the same ones, all
 * alike. Whether they are well, probes tell (upstream.ts).
 */

import type { Incarnation, WorkerId } from "../../shared/base/ids.ts";
import { createRing } from "../../shared/membership/ring.ts";
import { SettingError } from "../../shared/settings/read-settings.ts";
import type { WorkerRecord } from "../../shared/store/member.ts";
import type { MembershipView } from "../routing/router.ts";

/** Nobody says it: a restart of a worker is not seen. */
const NO_INCARNATION = "0".repeat(16) as Incarnation;

/**
 * Each worker's id is its text in the list, so balancers with the same list and the same secret have the same ring,
 * whatever its order. Throws `SettingError` when one is named twice.
 */
export function createStaticDiscovery(list: readonly string[], ringKey: Buffer): MembershipView {
  const workers = [...list].sort().map((address) => toRecord(address));
  const twice = list.find((address, index) => list.indexOf(address) !== index);
  if (twice !== undefined) {
    throw new SettingError(`CT_WORKERS names ${twice} twice; name each worker once`);
  }
  return {
    workers,
    ring: createRing(workers, ringKey),
    // What workers put into ids is made of names that this balancer does not know.
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

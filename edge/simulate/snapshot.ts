/**
 * The current state of the edge as input of a simulation: workers, sessions with their connections, and how balancers see
 * the workers, all from the store. The places of keys on the ring come from a balancer, because only balancers have the
 * ring key.
 */
import { z } from "zod";
import type { WorkerStatus } from "../../balancer/upstreams/health.ts";
import { systemClock } from "../../shared/base/clock.ts";
import type { SessionKey, WorkerId } from "../../shared/base/ids.ts";
import { sessionReports } from "../../shared/cluster/describe.ts";
import { type ClusterSnapshot, clusterReader, readSessions } from "../../shared/cluster/read.ts";
import type { ReportedSession } from "../../shared/cluster/status-reports.ts";
import { MAX_PLACES } from "../../shared/control/command.ts";
import { sendCommand } from "../../shared/control/send.ts";
import type { RingPlace } from "../../shared/membership/ring.ts";
import type { MemberRecord } from "../../shared/store/member.ts";
import { holderOf } from "../../shared/store/ownership.ts";
import type { SessionRecord, Store } from "../../shared/store/store.ts";
import { CommandError } from "../output/errors.ts";
import type { KnownSession, Snapshot } from "./simulate.ts";

export interface Seen extends Omit<Snapshot, "placeOf" | "drain"> {
  readonly members: readonly MemberRecord[];
  readonly settled: boolean;
}

export async function readSnapshot(store: Store): Promise<Seen> {
  const cluster = await clusterReader({ store, clock: systemClock })();
  const { members, booted } = cluster.membership;
  const records = await readSessions(store, [...cluster.ownerById.keys()]);
  const reportById = sessionReports(cluster);
  const workers = members.filter((member) => member.kind === "worker");
  return {
    members,
    workers: workers.sort((a, b) => (a.id < b.id ? -1 : 1)),
    sessions: records
      .filter(({ state }) => state !== "closed")
      .map((record) => describeSession(record, reportById.get(record.id))),
    statusOf: statusesOf(cluster),
    settled: booted,
  };
}

/** Connected peers are those of the worker's report, up to 5 s old; of a session that is not in it, all peers. */
function describeSession(record: SessionRecord, report: ReportedSession | undefined): KnownSession {
  const { id, alias, peers } = record;
  return {
    id,
    ...(alias !== undefined && { alias }),
    holder: holderOf(record),
    peers: peers.length,
    connections: report?.connected.length ?? peers.length,
  };
}

/** A worker counts as failing when it fails for every live balancer. */
function statusesOf({ views }: Pick<ClusterSnapshot, "views">): (worker: WorkerId) => WorkerStatus {
  const balancers = views.map(({ view }) => view).filter((view) => view.role === "balancer");
  return (worker) => {
    const statuses = balancers.flatMap(
      ({ workers }) => workers.find(({ id }) => id === worker)?.status ?? [],
    );
    if (statuses.length === 0 || statuses.includes("healthy")) return "healthy";
    return statuses.includes("unhealthy") ? "unhealthy" : "down";
  };
}

// --- places on the ring ---

const placesSchema = z.array(z.string().max(64)).max(MAX_PLACES);
/** A command in the store has at most 64 KiB. */
const MAX_COMMAND_CHARS = 16_384;

/** The places of `keys` on the ring. Throws `CommandError` when no balancer answers. */
export async function findPlaces(
  store: Store,
  members: readonly MemberRecord[],
  keys: readonly SessionKey[],
): Promise<(key: SessionKey) => RingPlace> {
  const places = new Map<SessionKey, RingPlace>();
  const balancers = members.filter(({ kind }) => kind === "balancer").map(({ id }) => id);
  for (const batch of batches(keys)) {
    const found = await askOneOf(balancers, store, batch);
    for (const [i, key] of batch.entries()) places.set(key, found[i] as RingPlace);
  }
  return (key) => {
    const place = places.get(key);
    if (place === undefined) throw new Error("the place of a key was not requested");
    return place;
  };
}

/** From the first balancer that answers; the others are dropped from `balancers`, so that they are not asked again. */
async function askOneOf(
  balancers: WorkerId[],
  store: Store,
  keys: readonly SessionKey[],
): Promise<string[]> {
  for (let id = balancers[0]; id !== undefined; id = balancers[0]) {
    const at = { store, clock: systemClock };
    const answer = await sendCommand(at, id, { kind: "places", keys }, 6000);
    const places = answer === "no answer" ? undefined : placesSchema.safeParse(answer.detail).data;
    if (places?.length === keys.length) return places;
    balancers.shift();
  }
  throw new CommandError(
    "no balancer answered, and only balancers know the places of keys on the ring; see `ct-edge list`, and start or restart one",
  );
}

function batches(keys: readonly SessionKey[]): SessionKey[][] {
  const all: SessionKey[][] = [];
  let chars = Number.POSITIVE_INFINITY;
  for (const key of keys) {
    const last = all.at(-1);
    if (last === undefined || last.length >= MAX_PLACES || chars + key.length > MAX_COMMAND_CHARS) {
      all.push([key]);
      chars = key.length;
    } else {
      last.push(key);
      chars += key.length;
    }
  }
  return all;
}

/**
 * The hash ring: maps a key to candidate workers. Balancers and workers use the same one; it decides only where a session
 * without a record goes.
 *
 * Consistent hashing (Karger et al., 1997) by the `consistent-hash` package, with explicit control points: the package's own
 * points are random, so two balancers would disagree. A ring is immutable; changed members need a new one.
 */
import { createHash } from "node:crypto";
import ConsistentHash from "consistent-hash";
import { BoundedMap } from "../base/bounded.ts";
import { copyOf, type SessionKey, type WorkerId } from "../base/ids.ts";
import { sign } from "../settings/secret.ts";

export interface RingMember {
  readonly id: WorkerId;
  /** Share of new sessions relative to other workers; 1 by default. */
  readonly weight: number;
}

export interface Ring {
  /** Ids of the members, in name order. */
  readonly members: readonly WorkerId[];
  /** Hash over the control points, 16 hexadecimal digits: processes with the same fingerprint route alike. */
  readonly fingerprint: string;
  /** The first candidate for `key`; undefined when the ring is empty. */
  first(key: SessionKey): WorkerId | undefined;
  /** All workers, best for `key` first. The order does not depend on their health: callers skip the unhealthy. */
  candidates(key: SessionKey): readonly WorkerId[];
  /** The keyed hash of `key`, by which every ring of this edge looks it up. Does not reveal the ring's key. */
  place(key: SessionKey): RingPlace;
}

/** A hashed key. */
export type RingPlace = string & { readonly brand: "RingPlace" };

/** A ring without its key, for hashed keys. */
export interface HashRing {
  readonly members: readonly WorkerId[];
  readonly fingerprint: string;
  first(place: RingPlace): WorkerId | undefined;
  candidates(place: RingPlace): readonly WorkerId[];
}

/**
 * Control points of a worker of weight 1. Measured over 100,000 keys (bench/ring): see docs/adr/0002.
 */
const POINTS_PER_WORKER = 2000;

/** The exact range of the package's key hash (24 bits, shifted left by 5); most of a larger ring is never hit. */
const RANGE = 2 ** 29;

/**
 * Keys whose candidates are cached: a keyed hash and two searches cost a fifth of a request (bench/http). Clients choose
 * the keys, so the cache is small and holds no long ones.
 */
const MAX_CACHED = 4096;
const MAX_CACHED_CHARS = 128;

/** 32-bit numbers in one SHA-256 digest. */
const POINTS_PER_DIGEST = 8;

/**
 * Builds the ring of `members`, in any order. `ringKey` is derived from the edge's secret: keys are hashed with it, so that
 * outsiders cannot aim keys at one worker.
 */
export function createRing(members: readonly RingMember[], ringKey: Buffer): Ring {
  const hashRing = createHashRing(members);
  const place = (key: SessionKey): RingPlace => sign(ringKey, key) as RingPlace;
  const cache = new BoundedMap<SessionKey, readonly WorkerId[]>(MAX_CACHED);
  return {
    members: hashRing.members,
    fingerprint: hashRing.fingerprint,
    first: (key) => hashRing.first(place(key)),
    candidates(key) {
      const cached = cache.get(key);
      if (cached !== undefined) return cached;
      const candidates = hashRing.candidates(place(key));
      if (key.length <= MAX_CACHED_CHARS) cache.set(copyOf(key), candidates);
      return candidates;
    },
    place,
  };
}

/** The ring of `members` for hashed keys of `Ring.place`. */
export function createHashRing(members: readonly RingMember[]): HashRing {
  const sorted = [...members].sort((a, b) => (a.id < b.id ? -1 : 1));
  const hashRing = new ConsistentHash({ range: RANGE });
  const taken = new Set<number>();
  const fingerprint = createHash("sha256");
  for (const member of sorted) {
    const points = controlPoints(member, taken);
    hashRing.add(member.id, points.length, points);
    fingerprint.update(`${member.id} ${points.length}\n`).update(Uint32Array.from(points));
  }
  const ids = sorted.map((member) => member.id);
  return {
    members: ids,
    fingerprint: fingerprint.digest("hex").slice(0, 16),
    first: (place) => (hashRing.get(place) ?? undefined) as WorkerId | undefined,
    candidates: (place) => (hashRing.get(place, ids.length) ?? []) as WorkerId[],
  };
}

/**
 * The control points of one worker, without those that another already has. Workers are added in name order, so the owner
 * of a point does not depend on the order of joining.
 */
function controlPoints(member: RingMember, taken: Set<number>): number[] {
  const count = Math.max(1, Math.round(POINTS_PER_WORKER * member.weight));
  const points: number[] = [];
  let digest: Buffer = Buffer.alloc(0);
  for (let i = 0; i < count; i++) {
    if (i % POINTS_PER_DIGEST === 0) {
      const name = `${member.id}#${i / POINTS_PER_DIGEST}`;
      digest = createHash("sha256").update(name).digest();
    }
    const point = digest.readUInt32BE((i % POINTS_PER_DIGEST) * 4) % RANGE;
    if (taken.has(point)) continue;
    taken.add(point);
    points.push(point);
  }
  return points;
}

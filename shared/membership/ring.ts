/**
 * Members to ring, key to candidates. Balancers and workers use the same one; it decides where a session without a
 * record goes, and nothing else.
 *
 * The ring is consistent hashing (Karger et al., 1997) by the `consistent-hash` package, with explicit control points:
 * its own points are random, so two balancers would disagree. It is never changed; a changed membership builds a new one.
 */
import { createHash } from "node:crypto";
import ConsistentHash from "consistent-hash";
import { copyOf, type SessionKey, type WorkerId } from "../base/ids.ts";
import { sign } from "../settings/secret.ts";

/** What a ring needs to know of a worker. */
export interface RingMember {
  readonly id: WorkerId;
  /** Share of new sessions relative to others; 1 is the norm. */
  readonly weight: number;
}

export interface Ring {
  /** Ids of the members, in name order. */
  readonly members: readonly WorkerId[];
  /** Hash over the control points: two processes with the same fingerprint route alike. 16 hexadecimal digits. */
  readonly fingerprint: string;
  /** The first candidate for `key`, or undefined when the ring is empty. */
  first(key: SessionKey): WorkerId | undefined;
  /**
   * All workers that may serve `key`, best first, each once. Empty when the ring is empty. The order depends on the
   * members only, not on their health: callers skip the unhealthy.
   */
  candidates(key: SessionKey): readonly WorkerId[];
  /** What stands for `key` on every ring of this edge: its keyed hash, which tells nobody the ring's key. */
  place(key: SessionKey): RingPlace;
}

/** A key as rings look it up. */
export type RingPlace = string & { readonly brand: "RingPlace" };

/** A ring without its key: for those who know the places of keys only. */
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

/**
 * Exactly the range that the package's key hash reaches (24 bits, shifted left by 5); with a larger one, most of the
 * circle is never hit.
 */
const RANGE = 2 ** 29;

/**
 * Keys whose candidates are remembered: a keyed hash and two searches cost a fifth of a request (bench/http). Strangers
 * choose keys, so there are not many, and long ones are not kept.
 */
const MAX_REMEMBERED = 4096;
const MAX_REMEMBERED_CHARS = 128;

/** 32-bit numbers in one SHA-256 digest. */
const POINTS_PER_DIGEST = 8;

/**
 * Builds the ring of `members`. The result does not depend on their order. `ringKey` is derived from the edge's secret:
 * keys are hashed with it before they are looked up, so that nobody outside can aim keys at one worker.
 */
export function createRing(members: readonly RingMember[], ringKey: Buffer): Ring {
  const hashRing = createHashRing(members);
  const place = (key: SessionKey): RingPlace => sign(ringKey, key) as RingPlace;
  const remembered = new Map<SessionKey, readonly WorkerId[]>();
  return {
    members: hashRing.members,
    fingerprint: hashRing.fingerprint,
    first: (key) => hashRing.first(place(key)),
    candidates(key) {
      const known = remembered.get(key);
      if (known !== undefined) return known;
      const found = hashRing.candidates(place(key));
      if (key.length <= MAX_REMEMBERED_CHARS) {
        if (remembered.size >= MAX_REMEMBERED) remembered.clear();
        remembered.set(copyOf(key), found);
      }
      return found;
    },
    place,
  };
}

/** The ring of `members` for those who have the places of keys from `Ring.place`. */
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
 * The points of one worker. A point that another worker already has is skipped, so that the owner of each point does
 * not depend on the order in which the workers joined; workers are added in name order.
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

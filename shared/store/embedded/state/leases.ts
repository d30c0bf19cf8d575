/**
 * Members, leases and roles in the embedded store. They are kept in memory only: after a restart of the store the next
 * renewal gets `expired`, and the member announces itself again.
 */
import type { Incarnation, WorkerId } from "../../../base/ids.ts";
import type { MemberRecord } from "../../member.ts";
import type { Lease } from "../../ownership.ts";
import { MEMBER_LEASE_MS, type Role, SETTLING_MS } from "../../store.ts";
import type { Effects } from "./effects.ts";
import type { Operations, StoreTime } from "./operations.ts";

export type Leases = ReturnType<typeof createLeases>;

interface Held {
  readonly member: MemberRecord;
  readonly lastHeartbeatMs: number;
}

/** `startedMs`: the monotonic time at which the store started. */
export function createLeases(effects: Effects, startedMs: number) {
  const heldById = new Map<WorkerId, Held>();
  const leaders = new Map<Role, { readonly holder: WorkerId; readonly untilMs: number }>();
  let settlesSinceMs = startedMs;
  /** Of any member; undefined when there is none to wait for. */
  let lastHeartbeatMs: number | undefined;

  function find(now: StoreTime, id: WorkerId): Held | undefined {
    const held = heldById.get(id);
    return held !== undefined && !isExpired(held, now) ? held : undefined;
  }

  function renewLease(now: StoreTime, member: MemberRecord): void {
    isSettling(now);
    lastHeartbeatMs = now.nowMs;
    heldById.set(member.id, { member, lastHeartbeatMs: now.nowMs });
  }

  /** A restart of the store, or a pause in which no heartbeat came through, must not look like the death of all workers. */
  function isSettling({ nowMs }: StoreTime): boolean {
    if (nowMs - settlesSinceMs < SETTLING_MS) return true;
    if (lastHeartbeatMs === undefined || nowMs - lastHeartbeatMs < MEMBER_LEASE_MS) return false;
    settlesSinceMs = nowMs;
    lastHeartbeatMs = undefined;
    return true;
  }

  const operations = {
    announce(now, member) {
      renewLease(now, member);
      effects.change({ subject: "members" });
    },
    renew(now, member) {
      const held = find(now, member.id);
      if (held === undefined) return "expired";
      if (held.member.incarnation !== member.incarnation) return "replaced";
      renewLease(now, member);
      if (differsVisibly(held.member, member)) effects.change({ subject: "members" });
      return "renewed";
    },
    withdraw(_now, id, incarnation) {
      if (heldById.get(id)?.member.incarnation !== incarnation) return;
      heldById.delete(id);
      effects.change({ subject: "members" });
    },
    members(now) {
      const members: MemberRecord[] = [];
      for (const held of heldById.values()) {
        if (!isExpired(held, now)) members.push(held.member);
      }
      // `parseRequest` validates records, so none is ignored here.
      return { members, ignored: 0, booted: !isSettling(now) };
    },
    lead(now, role, holder, ttlMs) {
      const leader = leaders.get(role);
      if (ttlMs === 0) {
        if (leader?.holder === holder) leaders.delete(role);
        return "following";
      }
      if (isSettling(now)) return "following";
      if (leader !== undefined && leader.holder !== holder && now.nowMs < leader.untilMs) {
        return "following";
      }
      leaders.set(role, { holder, untilMs: now.nowMs + ttlMs });
      return "leading";
    },
  } satisfies Partial<Operations>;

  return {
    operations,
    /** The lease of `id`. While the store settles, a missing one counts as held by `assumed`. */
    leaseOf(now: StoreTime, id: WorkerId, assumed: Incarnation): Lease {
      const held = find(now, id);
      if (held !== undefined) {
        const sinceLastHeartbeatMs = now.nowMs - held.lastHeartbeatMs;
        return { state: "held", incarnation: held.member.incarnation, sinceLastHeartbeatMs };
      }
      return isSettling(now)
        ? { state: "held", incarnation: assumed, sinceLastHeartbeatMs: now.nowMs - settlesSinceMs }
        : { state: "gone" };
    },
    /** Removes expired members. */
    sweep(now: StoreTime): void {
      for (const [id, held] of heldById) {
        if (!isExpired(held, now)) continue;
        heldById.delete(id);
        effects.change({ subject: "members" });
      }
    },
  };
}

function isExpired(held: Held, now: StoreTime): boolean {
  return now.nowMs - held.lastHeartbeatMs >= MEMBER_LEASE_MS;
}

/** The load changes with each heartbeat; a hint for each would make all processes read the members all the time. */
function differsVisibly(before: MemberRecord, after: MemberRecord): boolean {
  return JSON.stringify({ ...before, load: 0 }) !== JSON.stringify({ ...after, load: 0 });
}

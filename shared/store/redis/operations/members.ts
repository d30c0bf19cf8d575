/**
 * Members, their leases and their roles in Redis.
 */
import { BoundedMap } from "../../../base/bounded.ts";
import type { WorkerId } from "../../../base/ids.ts";
import type { MemberRecord } from "../../member.ts";
import type { Store } from "../../store.ts";
import type { Runner } from "../connection/connection.ts";
import { limited, toJson, toMs } from "../values/arguments.ts";
import type { Ignored } from "../values/ignored.ts";
import { MAX_VALUE_BYTES } from "../values/limits.ts";
import { expectReply, expectWord, membersSchema, pairsOf, readMember } from "../values/replies.ts";

/** Ample: a process announces itself only. */
const MAX_ANNOUNCED = 64;

export function createMembers(connection: Runner, ignored: Ignored) {
  /** The visible parts of the members that this process announced. */
  const announced = new BoundedMap<WorkerId, string>(MAX_ANNOUNCED);

  return {
    async announce(member) {
      await connection.run("announce", member.id, member.incarnation, storedValue(member));
      announced.set(member.id, visible(member));
    },
    async renew(member) {
      const isChange = announced.get(member.id) !== visible(member);
      const reply = await connection.run(
        "renew",
        member.id,
        member.incarnation,
        storedValue(member),
        isChange ? "1" : "0",
      );
      const outcome = expectWord(reply, ["renewed", "replaced", "expired"]);
      if (outcome === "renewed") announced.set(member.id, visible(member));
      return outcome;
    },
    async withdraw(id, incarnation) {
      await connection.run("withdraw", id, incarnation);
    },
    async members() {
      const reply = await connection.run("members");
      const [settled, unread, flat] = expectReply(membersSchema, reply);
      const values = pairsOf(flat);
      const members = values.flatMap(([id, value]) => readMember(id, value) ?? []);
      const unreadable = unread + values.length - members.length;
      ignored.count("member", unreadable);
      return { members, ignored: unreadable, booted: settled === 1 };
    },
    async lead(role, holder, ttlMs) {
      const reply = await connection.run("lead", role, holder, toMs(ttlMs));
      return expectWord(reply, ["leading", "following"]);
    },
  } satisfies Partial<Store>;
}

function storedValue(member: MemberRecord): string {
  return limited("a member's record", toJson(member), MAX_VALUE_BYTES - member.incarnation.length);
}

/** The load changes with each heartbeat; a hint for each would make all processes read the members all the time. */
function visible(member: MemberRecord): string {
  return JSON.stringify({ ...member, load: undefined });
}

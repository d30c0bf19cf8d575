/**
 * The session operations in Redis. scripts/ownership.lua decides who may own a session.
 */
import { isSessionId, isWorkerId, type SessionId, type SessionKey } from "../../../base/ids.ts";
import type { Holder, ResumeCause, ResumeOutcome, SessionRecord, Store } from "../../store.ts";
import type { Runner } from "../connection/connection.ts";
import type { ScriptName } from "../scripts/load-scripts.ts";
import { limited, toJson, toMs } from "../values/arguments.ts";
import { StoreReplyError } from "../values/errors.ts";
import type { Ignored } from "../values/ignored.ts";
import { MAX_LEFT, MAX_PEER_BYTES, MAX_VALUE_BYTES } from "../values/limits.ts";
import {
  expectArray,
  expectReply,
  expectWord,
  readRecord,
  recordSchema,
  repliesSchema,
} from "../values/replies.ts";

/** Stored beside a peer's record: its id and its place in the order of joining. */
const PEER_MARGIN_BYTES = 256;

const RESUME_CAUSES = [
  "mine",
  "restarted",
  "handed",
  "lease-gone",
  "replaced",
  "exited",
  "refused",
] as const satisfies readonly ResumeCause[];

type Sessions = Pick<
  Store,
  | "createSession"
  | "resumeSession"
  | "reassertSession"
  | "findSession"
  | "sessionsOf"
  | "owners"
  | "releaseSession"
  | "closeSession"
  | "openSession"
  | "lockSession"
  | "putPeer"
  | "removePeer"
  | "nextClock"
>;

export function createSessions(connection: Runner, ignored: Ignored): Sessions {
  /** Runs a script that changes the session only if the holder still holds it. */
  async function runHeld(
    operation: string,
    script: ScriptName,
    holder: Holder,
    ...args: string[]
  ): Promise<"done" | "lost"> {
    const reply = await connection.run(operation, script, ...holderArgs(holder), ...args);
    return expectWord(reply, ["done", "lost"]);
  }

  function toRecord(reply: unknown): SessionRecord | undefined {
    const read = readRecord(expectReply(recordSchema, reply));
    ignored.count("session", read.ignored);
    return read.record;
  }

  return {
    async createSession({ sessionId, owner, incarnation, userId, maxPerUser, alias }) {
      const reply = await connection.run(
        "createSession",
        "create_session",
        sessionId,
        owner,
        incarnation,
        limited("a user's id", toJson(userId), MAX_VALUE_BYTES),
        String(maxPerUser),
        ...aliasArgs(alias),
      );
      const [word, written] = expectArray(reply);
      const outcome = expectWord(word, ["created", "exists", "quota"]);
      if (outcome !== "created") return { outcome };
      const record = toRecord(written);
      if (record === undefined) throw new StoreReplyError();
      return { outcome, record };
    },
    async resumeSession({ sessionId, worker, incarnation, evidence, evidenceOf }) {
      const reply = await connection.run(
        "resumeSession",
        "resume_session",
        sessionId,
        worker,
        incarnation,
        evidence ?? "",
        evidenceOf ?? "",
      );
      return toResumed(expectArray(reply), toRecord, ignored);
    },
    async reassertSession(asserted) {
      const reply = await connection.run(
        "reassertSession",
        "reassert_session",
        asserted.id,
        asserted.owner,
        asserted.incarnation,
        String(asserted.epoch),
        asserted.state,
        limited("a user's id", toJson(asserted.userId), MAX_VALUE_BYTES),
        String(asserted.clock),
        toMs(asserted.createdMs),
        ...aliasArgs(asserted.alias),
        toMs(asserted.untilMs),
        asserted.locked === true ? "1" : "",
        ...asserted.revokedTokens.slice(-MAX_LEFT).map(toJson),
      );
      return expectWord(reply, ["kept", "written", "lost"]);
    },
    async findSession(key) {
      const id = isSessionId(key) ? key : "";
      const reply = await connection.run("findSession", "find_session", id, toJson(key));
      const [unreadable, record] = expectArray(reply);
      if (unreadable === 1) ignored.count("session", 1);
      return record === undefined ? undefined : toRecord(record);
    },
    async sessionsOf(owner) {
      const reply = await connection.run("sessionsOf", "sessions_of", owner);
      return expectReply(repliesSchema, reply).filter((id): id is SessionId => isSessionId(id));
    },
    async owners() {
      const reply = await connection.run("owners", "owners");
      return expectReply(repliesSchema, reply).filter(isWorkerId);
    },
    releaseSession: (holder, to) => runHeld("releaseSession", "release_session", holder, to ?? ""),
    closeSession: (holder, untilMs) =>
      runHeld("closeSession", "close_session", holder, toMs(untilMs)),
    openSession: (holder) => runHeld("openSession", "open_session", holder),
    lockSession: (holder, isLocked) =>
      runHeld("lockSession", "lock_session", holder, isLocked ? "1" : ""),
    async putPeer(holder, peer) {
      // The token id comes before the record, so that Lua need not parse what clients wrote into it.
      const token = toJson(peer.tokenId);
      const record = toJson(peer);
      limited("a peer's record", token + record, MAX_PEER_BYTES - PEER_MARGIN_BYTES);
      return await runHeld("putPeer", "put_peer", holder, peer.id, token, record);
    },
    removePeer: (holder, peer, untilMs) =>
      runHeld("removePeer", "remove_peer", holder, peer, toMs(untilMs)),
    async nextClock(holder) {
      const reply = await connection.run("nextClock", "next_clock", ...holderArgs(holder));
      return typeof reply === "number" ? reply : expectWord(reply, ["lost"]);
    },
  };
}

/** Treats an invalid record as missing. */
function toResumed(
  [outcome, second, third]: readonly unknown[],
  toRecord: (reply: unknown) => SessionRecord | undefined,
  ignored: Ignored,
): ResumeOutcome {
  switch (expectWord(outcome, ["owned", "elsewhere", "closed", "unknown", "unsettled"])) {
    case "owned": {
      const record = toRecord(third);
      if (record === undefined) return { outcome: "unknown" };
      return { outcome: "owned", cause: expectWord(second, RESUME_CAUSES), record };
    }
    case "elsewhere": {
      const isReadable = typeof second === "string" && isWorkerId(second);
      if (isReadable) return { outcome: "elsewhere", owner: second, epoch: Number(third) };
      ignored.count("session", 1);
      return { outcome: "unknown" };
    }
    case "closed":
      return { outcome: "closed" };
    case "unknown":
      return { outcome: "unknown" };
    case "unsettled":
      return { outcome: "unsettled" };
  }
}

/** The alias as stored, and again if it could be a session id; empty strings without one. */
function aliasArgs(alias: SessionKey | undefined): [string, string] {
  if (alias === undefined) return ["", ""];
  const text = limited("a session key", toJson(alias), MAX_VALUE_BYTES);
  return [text, isSessionId(alias) ? alias : ""];
}

function holderArgs({ sessionId, owner, epoch }: Holder): string[] {
  return [sessionId, owner, String(epoch)];
}

/**
 * The session operations in Redis. scripts/ownership.lua decides who may own a session.
 */
import { isSessionId, isWorkerId, type SessionId, type SessionKey } from "../../../base/ids.ts";
import {
  type Changed,
  type Holder,
  RESUME_CAUSES,
  type ResumeOutcome,
  type SessionChange,
  type SessionRecord,
  type Store,
} from "../../store.ts";
import type { Runner } from "../connection/connection.ts";
import { limited, toJson, toMs } from "../values/arguments.ts";
import type { Ignored } from "../values/ignored.ts";
import { MAX_LEFT, MAX_PEER_BYTES, MAX_VALUE_BYTES } from "../values/limits.ts";
import {
  expectArray,
  expectReply,
  expectWord,
  readRecord,
  recordSchema,
  repliesSchema,
  StoreReplyError,
} from "../values/replies.ts";

/** Stored beside a peer's record: its id and its place in the order of joining. */
const PEER_MARGIN_BYTES = 256;

export function createSessions(connection: Runner, ignored: Ignored) {
  function toRecord(reply: unknown): SessionRecord | undefined {
    const read = readRecord(expectReply(recordSchema, reply));
    ignored.count("session", read.ignored);
    return read.record;
  }

  return {
    async createSession({ sessionId, owner, incarnation, userId, maxPerUser, alias }) {
      const reply = await connection.run(
        "createSession",
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
      const reply = await connection.run("findSession", id, toJson(key));
      const [unreadable, record] = expectArray(reply);
      if (unreadable === 1) ignored.count("session", 1);
      return record === undefined ? undefined : toRecord(record);
    },
    async sessionsOf(owner) {
      const reply = await connection.run("sessionsOf", owner);
      return expectReply(repliesSchema, reply).filter((id): id is SessionId => isSessionId(id));
    },
    async owners() {
      const reply = await connection.run("owners");
      return expectReply(repliesSchema, reply).filter(isWorkerId);
    },
    async changeSession<Change extends SessionChange>(holder: Holder, change: Change) {
      const args = [holder.sessionId, holder.owner, String(holder.epoch), ...changeArgs(change)];
      const reply = await connection.run("changeSession", ...args);
      const isClock = change.kind === "next-clock" && typeof reply === "number";
      return (isClock ? reply : expectWord(reply, ["done", "lost"])) as Changed<Change> | "lost";
    },
  } satisfies Partial<Store>;
}

/** What change_session.lua needs. */
function changeArgs(change: SessionChange): string[] {
  const { kind } = change;
  switch (kind) {
    case "release":
      return [kind, change.to ?? ""];
    case "close":
      return [kind, toMs(change.untilMs)];
    case "lock":
      return [kind, change.isLocked ? "1" : ""];
    case "put-peer": {
      // The token id comes before the record, so that Lua need not parse what clients wrote into it.
      const token = toJson(change.peer.tokenId);
      const record = toJson(change.peer);
      limited("a peer's record", token + record, MAX_PEER_BYTES - PEER_MARGIN_BYTES);
      return [kind, change.peer.id, token, record];
    }
    case "remove-peer":
      return [kind, change.peer, toMs(change.untilMs)];
    case "open":
    case "next-clock":
      return [kind];
  }
}

/** Treats an invalid record as missing. */
function toResumed(
  [outcome, second, third]: readonly unknown[],
  toRecord: (reply: unknown) => SessionRecord | undefined,
  ignored: Ignored,
): ResumeOutcome {
  const word = expectWord(outcome, ["owned", "elsewhere", "closed", "unknown", "unsettled"]);
  switch (word) {
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
    case "unknown":
    case "unsettled":
      return { outcome: word };
  }
}

/** The alias as stored, and again if it could be a session id; empty strings without one. */
function aliasArgs(alias: SessionKey | undefined): [string, string] {
  if (alias === undefined) return ["", ""];
  const text = limited("a session key", toJson(alias), MAX_VALUE_BYTES);
  return [text, isSessionId(alias) ? alias : ""];
}

/**
 * Creating a session and asking to join one. The protocol calls a session "room"; here only its paths and JSON say so.
 */
import type { FastifyInstance, FastifyReply } from "fastify";
import { z } from "zod";
import {
  isSessionId,
  type SessionId,
  type SessionKey,
  toSessionKey,
} from "../../shared/base/ids.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import { KEY_HEADER } from "../../shared/net/edge-headers.ts";
import { StoreAwayError, type Ticket } from "../../shared/store/store.ts";
import type { BalancerAuth } from "../balancers/balancer-auth.ts";
import { abortOf } from "../http/client-gone.ts";
import {
  type Answer,
  infoResponse,
  jsonResponse,
  misdirectedResponse,
  type Refuse,
  replyWith,
  sessionMarks,
  textResponse,
} from "../http/responses.ts";
import type { LicenseCheck } from "../login/license-check.ts";
import type { UserToken } from "../login/tokens.ts";
import type { Claim, Registry } from "../sessions/registry.ts";
import { type JoinAnswer, joinAnswerSchema } from "../sessions/wire/join-answer.ts";
import type { Authentication } from "./authentication.ts";
import { createOnce, type Once } from "./once.ts";
import type { Poll, Polls } from "./polls.ts";

interface Needs {
  readonly app: FastifyInstance;
  readonly registry: Pick<Registry, "create" | "claim" | "claimPatiently">;
  readonly polls: Pick<Polls, "look" | "wait">;
  readonly authentication: Authentication;
  readonly nameOwner: BalancerAuth["nameOwner"];
  readonly license: LicenseCheck;
  readonly refuse: Refuse;
  readonly counters: Counters;
}

const FORBIDDEN = textResponse(403, "Forbidden resource");
const SESSION_NOT_FOUND = infoResponse(404, "RoomNotFound", "Room not found");
const SESSION_FULL = infoResponse(403, "RoomFull", "The session takes nobody more now");
const REQUEST_NOT_FOUND = infoResponse(
  404,
  "JoinRequestNotFound",
  "Join request not found or request timed out",
);
const QUOTA_REACHED = infoResponse(
  400,
  "SessionQuota",
  "You have too many open sessions; close one of them first",
);

/** Longer than an owner's lease and a store's recovery window, and shorter than any long poll. */
const JOIN_PATIENCE_MS = 15_000;
/** Requests to join whose clients are known to have been told that they wait. */
const MAX_TOLD = 10_000;

export function addSessionRoutes(needs: Needs): void {
  const { app, authentication, refuse } = needs;
  const told = createOnce(MAX_TOLD);

  app.post("/api/session/create", async ({ raw }, reply) => {
    const caller = await authentication.userOf(raw);
    if (caller === undefined) return refuse(reply, "user-token", FORBIDDEN);
    return create(needs, reply, caller, readKey(raw.headers[KEY_HEADER]));
  });

  app.post<{ Params: { room: string } }>("/api/session/join/:room", async (request, reply) => {
    const caller = await authentication.userOf(request.raw);
    if (caller === undefined) return refuse(reply, "user-token", FORBIDDEN);
    const { room } = request.params;
    if (!isSessionId(room)) return refuse(reply, "session", SESSION_NOT_FOUND);
    return join(needs, reply, caller, room);
  });

  app.post<{ Params: { token: string } }>("/api/session/poll/:token", async (request, reply) => {
    const caller = await authentication.userOf(request.raw);
    if (caller === undefined) return refuse(reply, "user-token", FORBIDDEN);
    return pollJoin({ ...needs, told }, reply, caller, request.params.token);
  });
}

// --- create ---

/** The key that the client chose by header or path, as the balancer says. */
function readKey(field: string | string[] | undefined): SessionKey | undefined {
  return typeof field === "string" ? toSessionKey(field) : undefined;
}

async function create(
  needs: Needs,
  reply: FastifyReply,
  caller: UserToken,
  alias: SessionKey | undefined,
): Promise<FastifyReply> {
  const refusal = needs.license.refusal();
  if (refusal !== undefined) {
    return needs.refuse(reply, "license", infoResponse(400, "License", refusal));
  }
  const created = await needs.registry.create(caller.user, alias);
  switch (created.outcome) {
    case "quota":
      return needs.refuse(reply, "quota", QUOTA_REACHED);
    case "created": {
      const { sessionId, epoch, roomToken } = created;
      reply.headers(sessionMarks({ id: sessionId, epoch }));
      return replyWith(reply, jsonResponse(200, { roomId: sessionId, roomToken }));
    }
  }
}

// --- join ---

async function join(
  needs: Needs,
  reply: FastifyReply,
  caller: UserToken,
  sessionId: SessionId,
): Promise<FastifyReply> {
  const { refuse } = needs;
  const claim = await claimForJoin(needs, reply, sessionId);
  if (claim.outcome === "elsewhere") return redirect(needs, reply, sessionId, claim);
  if (claim.outcome === "undecided") throw new StoreAwayError("resumeSession");
  if (claim.outcome !== "here") return refuse(reply, "session", SESSION_NOT_FOUND);
  const { session } = claim;
  const request = await session.requestJoin(caller.user);
  switch (request.outcome) {
    case "unopened":
      return refuse(reply, "session", SESSION_NOT_FOUND);
    case "full":
      return refuse(reply, "session-full", SESSION_FULL);
    case "asked": {
      const { pollToken } = request;
      reply.headers(sessionMarks(session));
      return replyWith(reply, jsonResponse(200, { pollToken, roomId: session.id }));
    }
  }
}

/** A client takes any error for the end of its request to join, so it waits while the session is between two workers. */
async function claimForJoin(
  { registry }: Needs,
  reply: FastifyReply,
  sessionId: SessionId,
): Promise<Claim> {
  const claim = await registry.claim(sessionId);
  if (claim.outcome !== "undecided") return claim;
  const isWanted = (): boolean => !reply.raw.destroyed;
  return registry.claimPatiently(sessionId, { forMs: JOIN_PATIENCE_MS, isWanted });
}

function redirect(
  needs: Needs,
  reply: FastifyReply,
  sessionId: SessionId,
  claim: Extract<Claim, { outcome: "elsewhere" }>,
): FastifyReply {
  needs.counters.count("worker.requests_misdirected");
  const owner = needs.nameOwner(reply.request.raw, claim.owner);
  return replyWith(reply, misdirectedResponse({ sessionId, owner, epoch: claim.epoch }));
}

// --- polling for the host's answer ---

/** The session's id and random characters, as the session makes them. */
const POLL_TOKEN = /^[A-Za-z0-9]{25,256}$/;
const SESSION_ID_CHARS = 24;

/** The session that a join request's poll token is for; undefined for what is no such token. */
export function sessionOfPoll(token: string): SessionId | undefined {
  const sessionId = token.slice(0, SESSION_ID_CHARS);
  return POLL_TOKEN.test(token) && isSessionId(sessionId) ? sessionId : undefined;
}

/** Never 204: clients of the protocol packages 0.3.0 and 0.3.1 would parse its body as JSON, and give the request up. */
const WAITING_FOR_HOST = progressAnswer(
  "WaitingForHost",
  "Waiting for host to accept join request",
  false,
);
const NOT_ACCEPTED = {
  JoinRejected: progressAnswer("JoinRejected", "Join request has been rejected", true),
  JoinTimeout: progressAnswer("JoinTimeout", "Join request has timed out", true),
};

function progressAnswer(code: string, message: string, failure: boolean): Answer {
  return jsonResponse(200, { code, failure, params: [], message });
}

const questionSchema = z.object({ user: z.object({ id: z.string() }) });

async function pollJoin(
  needs: Needs & { readonly told: Once },
  reply: FastifyReply,
  caller: UserToken,
  token: string,
): Promise<FastifyReply> {
  const sessionId = sessionOfPoll(token);
  if (sessionId === undefined) return needs.refuse(reply, "join-token", REQUEST_NOT_FOUND);
  const elsewhere = await findElsewhere(needs, sessionId);
  if (elsewhere !== undefined) return redirect(needs, reply, sessionId, elsewhere);

  const seen = await needs.polls.look("join", token);
  const mayWait =
    seen.state === "waiting" && (seen.ticket === undefined || isAsker(seen.ticket, caller));
  if (!mayWait) return answerPoll(needs, reply, caller, seen);
  // Every process remembers for itself who was told: after a restart a client is told once more, and only shows it.
  if (seen.ticket !== undefined && needs.told.isFirst(token)) {
    return replyWith(reply, WAITING_FOR_HOST);
  }
  const poll = await needs.polls.wait("join", token, abortOf(reply));
  return answerPoll(needs, reply, caller, poll);
}

/** Who has the session, when it is not this worker. Whether it exists at all, the ticket tells better. */
async function findElsewhere(
  { registry }: Needs,
  sessionId: SessionId,
): Promise<Extract<Claim, { outcome: "elsewhere" }> | undefined> {
  try {
    const claim = await registry.claim(sessionId);
    return claim.outcome === "elsewhere" ? claim : undefined;
  } catch (error) {
    // The poll waits for the store; an error would end the client's request to join.
    if (error instanceof StoreAwayError) return undefined;
    throw error;
  }
}

/** Whether a request to join is the caller's own. */
function isAsker(ticket: Ticket, caller: UserToken): boolean {
  return questionSchema.safeParse(ticket.question).data?.user.id === caller.user.id;
}

function answerPoll(
  { refuse }: Needs,
  reply: FastifyReply,
  caller: UserToken,
  poll: Poll,
): FastifyReply {
  // The store is away.
  if (poll.state === "waiting" && poll.ticket === undefined) {
    return replyWith(reply, WAITING_FOR_HOST);
  }
  // What somebody else asked for does not exist for the caller.
  if (poll.state === "gone" || poll.ticket === undefined || !isAsker(poll.ticket, caller)) {
    return refuse(reply, "join-token", REQUEST_NOT_FOUND);
  }
  if (poll.state === "waiting") return replyWith(reply, WAITING_FOR_HOST);
  return replyWith(reply, describeDecision(joinAnswerSchema.parse(poll.ticket.answer)));
}

/** The host's answer in the protocol's form. */
function describeDecision(answer: JoinAnswer): Answer {
  if (!answer.accepted) return NOT_ACCEPTED[answer.code];
  const { sessionId, roomToken, workspace, host } = answer;
  return jsonResponse(200, { roomId: sessionId, roomToken, workspace, host });
}

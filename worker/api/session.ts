/** Creates sessions and serves requests to join one. The protocol calls a session "room"; here only its paths and JSON do. */
import type { FastifyInstance, FastifyReply } from "fastify";
import { z } from "zod";
import type { Party } from "../../shared/activity/event.ts";
import { BoundedSet } from "../../shared/base/bounded.ts";
import {
  isSessionId,
  type SessionId,
  type SessionKey,
  sessionOfPollToken,
  toSessionKey,
} from "../../shared/base/ids.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import { KEY_HEADER } from "../../shared/net/edge-headers.ts";
import { StoreAwayError, type Ticket } from "../../shared/store/store.ts";
import { unlessAway } from "../../shared/store/unless-away.ts";
import { EDGE, ruleOf, ruleParty, userParty } from "../activity/parties.ts";
import type { Activity } from "../activity/recorder.ts";
import type { BalancerAuth } from "../balancers/balancer-auth.ts";
import {
  abortOf,
  type HttpResponse,
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
import { addressOf } from "../operators/require-operator.ts";
import type { Access } from "../policy/access.ts";
import { hostOf, maxPeople } from "../policy/host.ts";
import type { Claim, Registry } from "../sessions/registry.ts";
import { type JoinAnswer, joinAnswerSchema } from "../sessions/wire/join-answer.ts";
import type { Authentication } from "./authentication.ts";
import type { Poll, Polls } from "./long-polls.ts";

interface Deps {
  readonly app: FastifyInstance;
  readonly registry: Pick<Registry, "create" | "claim" | "claimPatiently">;
  readonly polls: Pick<Polls, "read" | "wait">;
  readonly authentication: Authentication;
  readonly nameOwner: BalancerAuth["nameOwner"];
  readonly license: LicenseCheck;
  readonly access: Pick<Access, "mayHost" | "mayJoin" | "limitsOf">;
  readonly activity: Pick<Activity, "record" | "refusal">;
  readonly refuse: Refuse;
  readonly counters: Counters;
}

const FORBIDDEN = textResponse(403, "Forbidden resource");
const SESSION_NOT_FOUND = infoResponse(404, "RoomNotFound", "Room not found");
const SESSION_LOCKED = infoResponse(
  403,
  "RoomLocked",
  "The session is locked: its operator lets no new guests in",
);
const SESSION_FULL = infoResponse(403, "RoomFull", "The session is full");
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

/** Longer than an owner's lease and the store's recovery window, shorter than a long poll. */
const JOIN_PATIENCE_MS = 15_000;
/** Join requests whose clients are remembered to have got their first `WaitingForHost`. */
const MAX_NOTIFIED = 10_000;

export function addSessionRoutes(deps: Deps): void {
  const { app, authentication, refuse } = deps;
  const notified = new BoundedSet<string>(MAX_NOTIFIED);

  app.post("/api/session/create", async ({ raw }, reply) => {
    const caller = await authentication.userOf(raw);
    if (caller === undefined) return refuse(reply, "user-token", FORBIDDEN);
    return create(deps, reply, caller, readKey(raw.headers[KEY_HEADER]));
  });

  app.post<{ Params: { room: string } }>("/api/session/join/:room", async (request, reply) => {
    const caller = await authentication.userOf(request.raw);
    if (caller === undefined) return refuse(reply, "user-token", FORBIDDEN);
    const { room } = request.params;
    if (!isSessionId(room)) return refuse(reply, "session", SESSION_NOT_FOUND);
    return join(deps, reply, caller, room);
  });

  app.post<{ Params: { token: string } }>("/api/session/poll/:token", async (request, reply) => {
    const caller = await authentication.userOf(request.raw);
    if (caller === undefined) return refuse(reply, "user-token", FORBIDDEN);
    return pollJoin({ ...deps, notified }, reply, caller, request.params.token);
  });
}

// --- create ---

/** The key that the client chose by header or path, as the balancer passes it on. */
function readKey(header: string | string[] | undefined): SessionKey | undefined {
  return typeof header === "string" ? toSessionKey(header) : undefined;
}

async function create(
  deps: Deps,
  reply: FastifyReply,
  caller: UserToken,
  alias: SessionKey | undefined,
): Promise<FastifyReply> {
  const { user } = caller;
  const origin = { address: addressOf(reply.request.raw) };
  const recordRefusal = (cause: string, by: Party = EDGE): void =>
    deps.activity.record({
      ...{ kind: "session.refused", actor: by, target: userParty(user, origin) },
      details: { cause },
    });
  const unlicensed = deps.license.refusal();
  if (unlicensed !== undefined) {
    recordRefusal("license");
    return deps.refuse(reply, "license", infoResponse(400, "License", unlicensed));
  }
  const unrecorded = deps.activity.refusal();
  if (unrecorded !== undefined) {
    recordRefusal("audit");
    return deps.refuse(reply, "audit", infoResponse(400, "Audit", unrecorded));
  }
  const decision = await deps.access.mayHost(user, origin.address);
  if (decision.outcome === "denied") {
    recordRefusal("policy", ruleParty(ruleOf(decision)));
    return deps.refuse(reply, "policy", infoResponse(403, "NotAllowed", decision.reason));
  }
  const { sessions: maxSessions } = await deps.access.limitsOf(user);
  const created = await deps.registry.create(user, { alias, maxSessions, origin });
  switch (created.outcome) {
    case "quota":
      recordRefusal("quota");
      return deps.refuse(reply, "quota", QUOTA_REACHED);
    case "created": {
      const { sessionId, epoch, roomToken } = created;
      reply.headers(sessionMarks({ id: sessionId, epoch }));
      return replyWith(reply, jsonResponse(200, { roomId: sessionId, roomToken }));
    }
  }
}

// --- join ---

async function join(
  deps: Deps,
  reply: FastifyReply,
  caller: UserToken,
  sessionId: SessionId,
  isAgain = false,
): Promise<FastifyReply> {
  const { refuse } = deps;
  const claim = await claimForJoin(deps, reply, sessionId);
  if (claim.outcome === "elsewhere") return redirect(deps, reply, sessionId, claim);
  if (claim.outcome === "undecided") throw new StoreAwayError("resumeSession");
  if (claim.outcome !== "here") return refuse(reply, "session", SESSION_NOT_FOUND);
  const { session } = claim;
  const host = hostOf(session);
  const origin = { address: addressOf(reply.request.raw) };
  const recordRefusal = (cause: string, by: Party = EDGE): void =>
    deps.activity.record({
      ...{ kind: "join.refused", session: sessionId, details: { cause } },
      ...{ actor: by, target: userParty(caller.user, origin) },
    });
  const decision = await deps.access.mayJoin(caller.user, origin.address, host);
  if (decision.outcome === "denied") {
    recordRefusal("policy", ruleParty(ruleOf(decision)));
    return refuse(reply, "policy", infoResponse(403, "NotAllowed", decision.reason));
  }
  const limit = await maxPeople(deps.access, host);
  // It has moved meanwhile.
  if (!session.isLive && !isAgain) return join(deps, reply, caller, sessionId, true);
  const request = await session.requestJoin(caller.user, {
    ...{ maxPeople: limit, origin },
    ...(!decision.isAsked && { welcomedBy: ruleOf(decision) }),
  });
  switch (request.outcome) {
    case "unopened":
      return refuse(reply, "session", SESSION_NOT_FOUND);
    case "full":
      recordRefusal("full");
      return refuse(reply, "session-full", SESSION_FULL);
    case "locked":
      recordRefusal("locked");
      return refuse(reply, "session-locked", SESSION_LOCKED);
    case "asked": {
      const { pollToken } = request;
      reply.headers(sessionMarks(session));
      return replyWith(reply, jsonResponse(200, { pollToken, roomId: session.id }));
    }
  }
}

/** Waits while the session moves between two workers, because a client gives its join request up after any error. */
async function claimForJoin(
  { registry }: Deps,
  reply: FastifyReply,
  sessionId: SessionId,
): Promise<Claim> {
  const claim = await registry.claim(sessionId);
  if (claim.outcome !== "undecided") return claim;
  const isWanted = (): boolean => !reply.raw.destroyed;
  return registry.claimPatiently(sessionId, { forMs: JOIN_PATIENCE_MS, isWanted });
}

function redirect(
  deps: Deps,
  reply: FastifyReply,
  sessionId: SessionId,
  claim: Extract<Claim, { outcome: "elsewhere" }>,
): FastifyReply {
  deps.counters.count("worker.requests_misdirected");
  const owner = deps.nameOwner(reply.request.raw, claim.owner);
  return replyWith(reply, misdirectedResponse({ sessionId, owner, epoch: claim.epoch }));
}

// --- polling for the host's answer ---

/** Never 204: clients of the protocol packages 0.3.0 and 0.3.1 would parse its body as JSON, and give the request up. */
const WAITING_FOR_HOST = progressResponse(
  "WaitingForHost",
  "Waiting for host to accept join request",
  false,
);
const NOT_ACCEPTED = {
  JoinRejected: progressResponse("JoinRejected", "Join request has been rejected", true),
  JoinTimeout: progressResponse("JoinTimeout", "Join request has timed out", true),
};

function progressResponse(code: string, message: string, failure: boolean): HttpResponse {
  return jsonResponse(200, { code, failure, params: [], message });
}

const questionSchema = z.object({ user: z.object({ id: z.string() }) });

async function pollJoin(
  deps: Deps & { readonly notified: BoundedSet<string> },
  reply: FastifyReply,
  caller: UserToken,
  token: string,
): Promise<FastifyReply> {
  const sessionId = sessionOfPollToken(token);
  if (sessionId === undefined) return deps.refuse(reply, "join-token", REQUEST_NOT_FOUND);
  const elsewhere = await findElsewhere(deps, sessionId);
  if (elsewhere !== undefined) return redirect(deps, reply, sessionId, elsewhere);

  const current = await deps.polls.read("join", token);
  const mayWait =
    current.state === "waiting" &&
    (current.ticket === undefined || isRequester(current.ticket, caller));
  if (!mayWait) return respondToPoll(deps, reply, caller, current);
  // Remembered per process: after a restart a client gets the message once more, and only shows it again.
  if (current.ticket !== undefined && deps.notified.addNew(token)) {
    return replyWith(reply, WAITING_FOR_HOST);
  }
  const poll = await deps.polls.wait("join", token, abortOf(reply));
  return respondToPoll(deps, reply, caller, poll);
}

/** The owner of the session when it is another worker. Whether the session exists is left to the ticket. */
async function findElsewhere(
  { registry }: Deps,
  sessionId: SessionId,
): Promise<Extract<Claim, { outcome: "elsewhere" }> | undefined> {
  // The poll waits for the store; an error would end the client's join request.
  const claim = await unlessAway(registry.claim(sessionId));
  return claim?.outcome === "elsewhere" ? claim : undefined;
}

/** Whether a join request is the caller's own. */
function isRequester(ticket: Ticket, caller: UserToken): boolean {
  return questionSchema.safeParse(ticket.question).data?.user.id === caller.user.id;
}

function respondToPoll(
  { refuse }: Deps,
  reply: FastifyReply,
  caller: UserToken,
  poll: Poll,
): FastifyReply {
  // The store is away.
  if (poll.state === "waiting" && poll.ticket === undefined) {
    return replyWith(reply, WAITING_FOR_HOST);
  }
  // For the caller, another user's join request does not exist.
  if (poll.state === "gone" || poll.ticket === undefined || !isRequester(poll.ticket, caller)) {
    return refuse(reply, "join-token", REQUEST_NOT_FOUND);
  }
  if (poll.state === "waiting") return replyWith(reply, WAITING_FOR_HOST);
  return replyWith(reply, describeDecision(joinAnswerSchema.parse(poll.ticket.answer)));
}

/** The host's decision in the protocol's form. */
function describeDecision(answer: JoinAnswer): HttpResponse {
  if (!answer.accepted) return NOT_ACCEPTED[answer.code];
  const { sessionId, roomToken, workspace, host } = answer;
  return jsonResponse(200, { roomId: sessionId, roomToken, workspace, host });
}

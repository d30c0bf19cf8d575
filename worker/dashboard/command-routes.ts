/** The commands of operators in the dashboard: to workers, and about sessions and their people. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { Clock } from "../../shared/base/clock.ts";
import { isWorkerId, type SessionId } from "../../shared/base/ids.ts";
import type { EdgeCommand, Sender } from "../../shared/control/command.ts";
import { sendCommand } from "../../shared/control/send.ts";
import { escapeForTerminal } from "../../shared/logs/escape.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import type { Permission } from "../../shared/settings/operator-roles.ts";
import { findSignIns, userKey } from "../../shared/sign-ins/sign-in.ts";
import { signOutByOperator } from "../../shared/sign-ins/sign-out.ts";
import type { SessionRecord, Store } from "../../shared/store/store.ts";
import { operatorParty, userParty } from "../activity/parties.ts";
import type { Activity } from "../activity/recorder.ts";
import { type Refuse, textResponse } from "../http/responses.ts";
import { SIGN_IN_MS } from "../login/tokens.ts";
import { missing, operatorOf } from "../operators/operator.ts";
import { addressOf, recordOperatorRefusal } from "../operators/require-operator.ts";
import { sessionOf } from "./find-session.ts";
import type { CommandReply } from "./responses.ts";
import type { Snapshots } from "./snapshot.ts";

interface Deps {
  readonly app: FastifyInstance;
  readonly snapshots: Snapshots;
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
  readonly refuse: Refuse;
  readonly counters: Counters;
  readonly activity: Pick<Activity, "record">;
}

const NOT_FOUND = textResponse(404, "Not found");

const WORKER_ACTIONS = ["drain", "suspend", "resume"] as const;

export function addCommandRoutes({
  app,
  snapshots,
  store,
  clock,
  log,
  refuse,
  counters,
  activity,
}: Deps): void {
  function logCommand(request: FastifyRequest, what: object): void {
    const { name, way } = operatorOf(request);
    const operator = escapeForTerminal(name);
    log.warn(
      { ...what, operator, way, address: addressOf(request.raw) },
      "operator command received",
    );
  }

  /** For the audit log. */
  function byOf(request: FastifyRequest): Sender {
    const { name, way } = operatorOf(request);
    return { name, way, address: addressOf(request.raw) };
  }

  /** A hook of the routes that need more than `read`. */
  function requires(permission: Permission) {
    return async (
      request: FastifyRequest,
      reply: FastifyReply,
    ): Promise<FastifyReply | undefined> => {
      const operator = operatorOf(request);
      if (operator.permissions.includes(permission)) return undefined;
      recordOperatorRefusal(activity, request.raw, "permission", operator);
      return refuse(reply, "permission", textResponse(403, missing(permission)));
    };
  }

  const drain = { preHandler: requires("drain") };
  const sessions = { preHandler: requires("sessions") };

  async function run(
    request: FastifyRequest,
    to: Parameters<typeof sendCommand>[1],
    command: EdgeCommand,
  ): Promise<CommandReply> {
    logCommand(request, { command: command.kind, workerId: to });
    const reply = await sendCommand({ store, clock, by: byOf(request) }, to, command);
    if (reply !== "no answer") return reply;
    return { outcome: "no answer", message: "the worker did not respond; it may be hung or gone" };
  }

  for (const kind of WORKER_ACTIONS) {
    app.post(`/dashboard/api/workers/:id/${kind}`, drain, async (request, reply) => {
      const { id } = request.params as { id: string };
      const { membership } = await snapshots.read();
      const isKnown = membership.members.some(
        (member) => member.kind === "worker" && member.id === id,
      );
      if (!isWorkerId(id) || !isKnown) return refuse(reply, "path", NOT_FOUND);
      return run(request, id, { kind });
    });
  }

  async function findSession(request: FastifyRequest): Promise<SessionRecord | undefined> {
    const sessionId = await sessionOf(request, snapshots);
    return sessionId === undefined ? undefined : store.findSession(sessionId);
  }

  const sessionActions: Record<string, (sessionId: SessionId) => EdgeCommand> = {
    end: (sessionId) => ({ kind: "end-session", sessionId }),
    lock: (sessionId) => ({ kind: "lock-session", sessionId, isLocked: true }),
    unlock: (sessionId) => ({ kind: "lock-session", sessionId, isLocked: false }),
  };
  for (const [action, commandFor] of Object.entries(sessionActions)) {
    app.post(`/dashboard/api/sessions/:id/${action}`, sessions, async (request, reply) => {
      const record = await findSession(request);
      if (record === undefined) return refuse(reply, "path", NOT_FOUND);
      return run(request, record.owner, commandFor(record.id));
    });
  }
  async function findPeer(request: FastifyRequest) {
    const record = await findSession(request);
    const { peer: wanted } = request.params as { peer: string };
    const peer = record?.peers.find(({ id }) => id === wanted);
    return record && peer && { record, peer };
  }

  app.post("/dashboard/api/sessions/:id/peers/:peer/remove", sessions, async (request, reply) => {
    const found = await findPeer(request);
    if (found === undefined) return refuse(reply, "path", NOT_FOUND);
    const { record, peer } = found;
    return run(request, record.owner, {
      kind: "remove-peer",
      sessionId: record.id,
      peerId: peer.id,
    });
  });
  app.post("/dashboard/api/sessions/:id/peers/:peer/sign-out", sessions, async (request, reply) => {
    const user = (await findPeer(request))?.peer.user;
    if (user === undefined) return refuse(reply, "path", NOT_FOUND);
    logCommand(request, { command: "sign-out", user: user.id });
    activity.record({
      ...{ kind: "operator.action", actor: operatorParty(byOf(request)), target: userParty(user) },
      details: { action: "sign-out" },
    });
    if (user.signIn === undefined) {
      const message = "this person has not signed in at an identity provider";
      return { outcome: "refused", message };
    }
    const known = await findSignIns(store, [userKey(user.id)]);
    // The store may have lost the one by which the person is here.
    const own = { id: user.signIn, user, untilMs: clock.wallMs() + SIGN_IN_MS };
    const signIns = known.some(({ id }) => id === own.id) ? known : [...known, own];
    counters.count("worker.sign_ins.ended", "operator", signIns.length);
    return { outcome: "done", message: await signOutByOperator(store, signIns, byOf(request)) };
  });
}

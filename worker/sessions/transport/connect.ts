/**
 * socket.io's CONNECT: decides which clients become peers. A CONNECT is held until the decision is made; a refused client
 * is connected first and disconnected then, because only that tells it not to come back.
 */
import type { Socket, Server as SocketServer } from "socket.io";
import type { Party } from "../../../shared/activity/event.ts";
import { type Clock, sleep } from "../../../shared/base/clock.ts";
import type { Log } from "../../../shared/logs/log.ts";
import { PARK_MS } from "../../../shared/membership/claim.ts";
import type { Counters } from "../../../shared/metrics/metrics.ts";
import { EDGE, ruleOf, ruleParty, userParty } from "../../activity/parties.ts";
import type { Activity } from "../../activity/recorder.ts";
import { addressOf } from "../../operators/require-operator.ts";
import type { Access } from "../../policy/access.ts";
import { hostOf, maxPeople } from "../../policy/host.ts";
import type { Admission } from "../admission.ts";
import type { Peer } from "../peers/peer.ts";
import type { Registry } from "../registry.ts";
import type { Session } from "../session.ts";
import { errorNotice, joined } from "../wire/outbound.ts";
import { createAdmissionLimiter, MAX_WAIT_MS } from "./admission-limiter.ts";
import { introductionOf, isPublicKey, type TokenReader } from "./client-request.ts";
import { closeConnection } from "./engine-internals.ts";

export interface AdmittedPeer {
  readonly session: Session;
  readonly peer: Peer;
}

export interface ConnectDeps {
  readonly registry: Pick<Registry, "claimPatiently">;
  readonly counters: Counters;
  readonly log: Log;
  readonly clock: Clock;
  readonly settings: { readonly maxAdmissionsPerSecond: number };
  readonly tokenReader: Pick<TokenReader, "identifyClient">;
  readonly access: Pick<Access, "limitsOf" | "entryProblem">;
  readonly activity: Pick<Activity, "record">;
  /**
   * Attaches an admitted peer to its socket, in the turn in which socket.io reports it: later, messages are lost. `false`:
   * the connection is gone.
   */
  readonly attach: (socket: Socket, admitted: AdmittedPeer) => boolean;
}

type Decision =
  | { readonly state: "admitted"; readonly admitted: AdmittedPeer }
  /** `message`: for the person. */
  | { readonly state: "refused"; readonly reason: string; readonly message?: string }
  /** The client must reconnect: another worker owns the session, or the store could not name the owner. */
  | { readonly state: "retry"; readonly reason: string };

/** Longer than a CONNECT can wait for the admission limiter and for the session's owner. */
export const CONNECT_TIMEOUT_MS = PARK_MS + MAX_WAIT_MS + 5000;
/** The base path of a client's URL, as a namespace. */
const ANY_NAMESPACE = /^\/.{1,2048}$/s;

export function handleConnects(io: SocketServer, deps: ConnectDeps): void {
  const { registry, counters, log, clock } = deps;
  const decisions = new WeakMap<Socket, Decision>();
  const connecting = new WeakSet<Socket["conn"]>();
  const admissionLimiter = createAdmissionLimiter({
    clock,
    perSecond: deps.settings.maxAdmissionsPerSecond,
  });

  /** Holds the CONNECT until it is decided. A client that must reconnect gets no response: its connection closes. */
  function park(socket: Socket, next: (error?: Error) => void): void {
    const { conn } = socket;
    if (connecting.has(conn)) {
      counters.count("worker.connects_refused", "second namespace");
      next(new Error("one namespace per connection"));
      return;
    }
    connecting.add(conn);
    decide(socket).then(
      (decision) => {
        if (decision.state === "retry") {
          makeReconnect(socket, decision.reason);
          return;
        }
        decisions.set(socket, decision);
        next();
      },
      (error: unknown) => {
        log.error({ err: error }, "deciding about a connection failed; the client must reconnect");
        makeReconnect(socket, "error");
      },
    );
  }

  async function decide(socket: Socket): Promise<Decision> {
    const token = await deps.tokenReader.identifyClient(socket);
    if (token === undefined) return { state: "refused", reason: "token" };
    const introduction = introductionOf(socket);
    if (introduction === undefined) return { state: "refused", reason: "key" };
    const { conn } = socket;
    await waitForAdmission();
    if (conn.readyState !== "open") return { state: "retry", reason: "gone" };
    const claim = await registry.claimPatiently(token.sessionId, {
      forMs: PARK_MS,
      isWanted: () => conn.readyState === "open",
    });
    if (claim.outcome === "undecided") return { state: "retry", reason: "undecided" };
    if (claim.outcome === "elsewhere") return { state: "retry", reason: "elsewhere" };
    if (claim.outcome !== "here") return { state: "refused", reason: claim.outcome };
    const { session } = claim;
    // A returning peer must have the key that was checked at first. A check costs 0.1 ms, and in a crowd most return.
    if (session.hasPeer(token.peerId)) {
      return asDecision(session, await session.admit(token, introduction));
    }
    if (!isPublicKey(introduction.publicKey)) return { state: "refused", reason: "key" };
    const host = token.host ? undefined : hostOf(session);
    // The token may be as old as a day: the policy, or what is known of the person, may have changed.
    const origin = { address: addressOf(socket.request), client: introduction.client };
    const recordRefusal = (cause: string, by: Party): void =>
      deps.activity.record({
        ...{ kind: "join.refused", session: session.id, details: { cause } },
        ...{ actor: by, target: userParty(token.user, origin) },
      });
    const problem = await deps.access.entryProblem({ user: token.user, host, ...origin });
    if (problem !== undefined) {
      recordRefusal("policy", ruleParty(ruleOf(problem)));
      return { state: "refused", reason: "policy", message: problem.reason };
    }
    const limit = host && (await maxPeople(deps.access, host));
    const admission = await session.admit(token, introduction, limit);
    if (admission.outcome === "refused") recordRefusal(admission.reason, EDGE);
    return asDecision(session, admission);
  }

  function asDecision(session: Session, admission: Admission): Decision {
    switch (admission.outcome) {
      case "admitted":
        return { state: "admitted", admitted: { session, peer: admission.peer } };
      case "refused":
        return { state: "refused", reason: admission.reason };
      case "lost":
        return { state: "retry", reason: "elsewhere" };
    }
  }

  async function waitForAdmission(): Promise<void> {
    const waitMs = admissionLimiter.join();
    if (waitMs === 0) return;
    counters.count("worker.admissions_delayed");
    await sleep(clock, waitMs);
  }

  function makeReconnect(socket: Socket, reason: string): void {
    counters.count("worker.connects_refused", reason);
    closeConnection(socket.conn);
  }

  function onConnected(socket: Socket): void {
    const decision = decisions.get(socket);
    if (decision?.state === "admitted" && deps.attach(socket, decision.admitted)) return;
    const reason = decision?.state === "refused" ? decision.reason : "gone";
    if (decision?.state === "refused" && decision.message !== undefined) {
      socket.emit("message", joined(errorNotice(decision.message)));
    }
    counters.count("worker.connects_refused", reason);
    socket.disconnect(true);
  }

  for (const namespace of [io.of("/"), io.of(ANY_NAMESPACE)]) {
    namespace.use(park);
    namespace.on("connection", onConnected);
  }
}

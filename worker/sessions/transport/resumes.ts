/**
 * Goes on with WebSockets whose own workers have gone or have given their sessions away: a balancer asks for each, with the
 * ticket that the former worker made (shared/net/edge-headers.ts, `RESUME_PATH`). To the client nothing happens.
 */
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { type WebSocket, WebSocketServer } from "ws";
import { type Clock, sleep } from "../../../shared/base/clock.ts";
import type { SessionId, WorkerId } from "../../../shared/base/ids.ts";
import type { Log } from "../../../shared/logs/log.ts";
import type { Counters } from "../../../shared/metrics/metrics.ts";
import {
  RESUMABLE_HEADER,
  RESUME_STATE_HEADER,
  RESUME_TICKET_HEADER,
  type ResumeState,
  readResumeState,
} from "../../../shared/net/edge-headers.ts";
import { RESUME_VERSION } from "../../../shared/resume/frames.ts";
import { sessionMarks } from "../../http/responses.ts";
import { LinkSocket } from "../../links/link-socket.ts";
import type { Peer } from "../peers/peer.ts";
import type { Claim, Registry } from "../registry.ts";
import { type ResumeTicket, readResumeTicket } from "../resume-ticket.ts";
import type { Session } from "../session.ts";
import { shortId } from "../session-ownership.ts";
import { headerOf } from "./client-request.ts";
import type { StreamState } from "./stream-connection.ts";

/** What the balancer is told, and what is counted. */
export interface ResumeRefused {
  readonly status: 403 | 404 | 409 | 410 | 503;
  readonly reason: string;
}

export type ResumeResult =
  | { readonly outcome: "resumed" }
  | ({ readonly outcome: "refused" } & ResumeRefused)
  | {
      readonly outcome: "elsewhere";
      readonly sessionId: SessionId;
      readonly owner: WorkerId;
      readonly epoch: number;
    };

/** Shorter than balancers wait (balancer/proxy/tunnels.ts); longer than a lease. */
const PATIENCE_MS = 15_000;
/** Between two looks at a session that is being handed over: it stays here, or its next owner is known, within a second. */
const MOVING_RETRY_MS = 20;

const STATUS: Readonly<Record<string, ResumeRefused["status"]>> = {
  "peer gone": 410,
  closed: 410,
  unknown: 410,
  undecided: 503,
  moving: 503,
  "no link": 503,
};

export function createResumes(deps: {
  readonly registry: Pick<Registry, "claimPatiently">;
  /** Authenticates tickets. */
  readonly keys: readonly Buffer[];
  readonly maxMessageBytes: number;
  readonly clock: Clock;
  readonly counters: Counters;
  readonly log: Log;
  /** Gives the peer the WebSocket, in the turn in which it opens. */
  readonly attach: (resumed: {
    readonly webSocket: WebSocket;
    readonly stream: Duplex;
    readonly session: Session;
    readonly peer: Peer;
    readonly ticket: ResumeTicket;
    readonly begun: StreamState;
    readonly state: ResumeState;
  }) => void;
}) {
  const { registry, counters, log } = deps;
  const server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: deps.maxMessageBytes,
  });
  const sessions = new WeakMap<IncomingMessage, Session>();
  server.on("headers", (headers, req) => {
    const session = sessions.get(req);
    if (session === undefined) return;
    const marks = { ...sessionMarks(session), [RESUMABLE_HEADER]: String(RESUME_VERSION) };
    for (const [name, value] of Object.entries(marks)) headers.push(`${name}: ${value}`);
  });

  function ticketOf(req: IncomingMessage): ResumeTicket | undefined {
    return readResumeTicket(deps.keys, headerOf(req, RESUME_TICKET_HEADER));
  }

  function refused(reason: string, ticket?: ResumeTicket): ResumeResult {
    counters.count("worker.resume.refused", reason);
    const session = ticket && shortId(ticket.sessionId);
    log.info({ reason, session, peer: ticket?.peerId }, "a connection is not resumed here");
    return { outcome: "refused", status: STATUS[reason] ?? 409, reason };
  }

  /** Claims the ticket's session and finds its peer there. A session that is being handed over is waited for. */
  async function find(ticket: ResumeTicket, isWanted: () => boolean) {
    const untilMs = deps.clock.nowMs() + PATIENCE_MS;
    for (;;) {
      const forMs = untilMs - deps.clock.nowMs();
      const claim = await registry.claimPatiently(ticket.sessionId, { forMs, isWanted });
      if (claim.outcome !== "here") return { claim };
      const { session } = claim;
      const peer = session.findResumable(ticket);
      if (peer !== "moving" || forMs <= MOVING_RETRY_MS || !isWanted()) return { session, peer };
      await sleep(deps.clock, MOVING_RETRY_MS);
    }
  }

  /** Why the claimed session is not here. */
  function unclaimed(claim: Exclude<Claim, { outcome: "here" }>, ticket: ResumeTicket) {
    if (claim.outcome !== "elsewhere") return refused(claim.outcome, ticket);
    const { owner, epoch } = claim;
    return { outcome: claim.outcome, sessionId: ticket.sessionId, owner, epoch };
  }

  return {
    /** The session that a request wants to go on in; undefined for any other request, and for a ticket of strangers. */
    sessionOf: (req: IncomingMessage) => ticketOf(req)?.sessionId,
    /** Answers the upgrade only if it is resumed. */
    async handle(req: IncomingMessage, socket: Duplex, head: Buffer): Promise<ResumeResult> {
      const ticket = ticketOf(req);
      const state = readResumeState(headerOf(req, RESUME_STATE_HEADER));
      if (ticket === undefined || state === undefined) {
        counters.count("worker.resume.refused", "ticket");
        return { outcome: "refused", status: 403, reason: "ticket" };
      }
      // This worker has just started, and the balancer's link to it is not open yet: it asks again.
      if (!(socket instanceof LinkSocket)) return refused("no link", ticket);
      const arrivedMs = deps.clock.nowMs();
      const found = await find(ticket, () => !socket.destroyed);
      if (found.claim !== undefined) return unclaimed(found.claim, ticket);
      const { session, peer } = found;
      if (typeof peer === "string") return refused(peer, ticket);
      sessions.set(req, session);
      const { confirmed, repeated } = state;
      const begun = { stream: ticket.stream, messages: confirmed, confirmed, repeated };
      server.handleUpgrade(req, socket, head, (webSocket) => {
        const forMs = state.forMs + Math.round(deps.clock.nowMs() - arrivedMs);
        const now = { ...state, forMs };
        deps.attach({ webSocket, stream: socket, session, peer, ticket, begun, state: now });
      });
      return { outcome: "resumed" };
    },
    close: (): void => server.close(),
  };
}

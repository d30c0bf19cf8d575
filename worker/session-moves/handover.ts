/**
 * Hands a session from a draining worker to its successor: two requests to the successor's traffic port, authenticated by
 * the edge's secret. PUT delivers the session's pending messages. POST, once the session is released, asks the successor to
 * resume it; clients that arrive before that request find the session released and make the successor resume it.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { EdgeError } from "../../shared/base/errors.ts";
import { isSessionId, type SessionId } from "../../shared/base/ids.ts";
import { BALANCER_HEADER, EDGE_HEADER, edgeProof } from "../../shared/net/edge-headers.ts";
import { askProcess } from "../../shared/net/request-process.ts";
import type { WorkerRecord } from "../../shared/store/member.ts";
import { readAll } from "../http/bodies.ts";
import {
  type HandoverInbox,
  MAX_PENDING_BYTES,
  type PendingMessages,
  packPendingMessages,
  unpackPendingMessages,
} from "../sessions/pending-messages.ts";
import type { Registry } from "../sessions/registry.ts";

/** Followed by the session's id. */
export const HANDOVER_PATH = "/ct-edge/handover/";
/**
 * One version: the path in the version before, with `parcels` for `messages` in the body. Such a worker answers 404 to
 * `HANDOVER_PATH`.
 */
export const PREVIOUS_HANDOVER_PATH = "/ct-edge/hand-over/";
const MEMBER = "worker";
/** For megabytes on a busy machine; the session's clients wait meanwhile. */
const TIMEOUT_MS = 5000;

/** Whether another worker sent the request; a client's request to the same path is one to an unknown path. */
export function isHandover({ url, headers }: IncomingMessage): boolean {
  return sessionPart(url) !== undefined && headers[BALANCER_HEADER] === MEMBER;
}

/** What follows the path; undefined for another path. */
function sessionPart(url = ""): string | undefined {
  const path = [HANDOVER_PATH, PREVIOUS_HANDOVER_PATH].find((one) => url.startsWith(one));
  return path && url.slice(path.length);
}

export class HandoverError extends EdgeError {
  readonly code = "EDGE_HAND_OVER";
  constructor(to: WorkerRecord, status: number) {
    super(
      `worker ${to.id} refused to take a session over (status ${status}); the session stays here`,
    );
  }
}

// --- sending ---

/** Delivers the session's pending messages to `to`. Rejects when it does not answer 204. */
export async function sendPendingMessages(
  edgeKey: Buffer,
  to: WorkerRecord,
  id: SessionId,
  pendingMessages: PendingMessages,
): Promise<void> {
  await sendHandover(edgeKey, to, id, (key) => packPendingMessages(pendingMessages, key));
}

/** Asks `to` to resume the released session. A failure does no harm: the first client that arrives there has it resumed. */
export async function sendResume(edgeKey: Buffer, to: WorkerRecord, id: SessionId): Promise<void> {
  await sendHandover(edgeKey, to, id, undefined);
}

/** `pack` makes the body, with the name of the version before for a worker that answers 404. */
async function sendHandover(
  edgeKey: Buffer,
  to: WorkerRecord,
  id: SessionId,
  pack: ((key: "messages" | "parcels") => Uint8Array) | undefined,
): Promise<void> {
  const send = (path: string, body: Uint8Array | undefined) =>
    askProcess(`${to.url}${path}${id}`, {
      method: body === undefined ? "POST" : "PUT",
      headers: {
        [EDGE_HEADER]: edgeProof(edgeKey, to.id, to.incarnation),
        // Balancers strip this header from clients' requests.
        [BALANCER_HEADER]: MEMBER,
      },
      ...(body !== undefined && { body }),
      timeoutMs: TIMEOUT_MS,
      keepConnection: true,
    });
  let { status } = await send(HANDOVER_PATH, pack?.("messages"));
  if (status === 404) ({ status } = await send(PREVIOUS_HANDOVER_PATH, pack?.("parcels")));
  if (status !== 204) throw new HandoverError(to, status);
}

// --- receiving ---

export type Handovers = ReturnType<typeof createHandovers>;

export function createHandovers(deps: {
  readonly handoverInbox: Pick<HandoverInbox, "put">;
  readonly registry: Pick<Registry, "claim">;
  readonly isOpen: () => boolean;
}) {
  async function resumeSession(id: SessionId): Promise<204 | 409> {
    const claim = await deps.registry.claim(id);
    return claim.outcome === "here" ? 204 : 409;
  }

  async function receiveMessages(id: SessionId, req: IncomingMessage): Promise<204 | 409> {
    if (!deps.isOpen()) return 409;
    const bytes = await readAll(req, MAX_PENDING_BYTES);
    const pendingMessages = bytes && unpackPendingMessages(bytes);
    if (pendingMessages === undefined) return 409;
    deps.handoverInbox.put(id, pendingMessages);
    return 204;
  }

  async function statusFor(req: IncomingMessage): Promise<204 | 404 | 409> {
    const id = sessionPart(req.url) ?? "";
    if (!isSessionId(id)) return 404;
    if (req.method === "POST") return resumeSession(id);
    return req.method === "PUT" ? receiveMessages(id, req) : 409;
  }

  return {
    /** Responds to a request that `isHandover` and that the secret authenticates. */
    async handle(req: IncomingMessage, res: ServerResponse): Promise<void> {
      const status = await statusFor(req);
      req.resume();
      res.writeHead(status).end();
    },
  };
}

/**
 * The way of a session from a worker that drains to the one that takes it: two requests to that one's traffic port, which
 * only who knows the edge's secret can make. First what goes with the session, then, once it is released, the word to take
 * it up; clients that are faster than that word find it released and take it up by coming.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { EdgeError } from "../../shared/base/errors.ts";
import { isSessionId, type SessionId } from "../../shared/base/ids.ts";
import { BALANCER_HEADER, EDGE_HEADER, edgeProof } from "../../shared/net/edge-headers.ts";
import { askProcess } from "../../shared/net/request-process.ts";
import type { WorkerRecord } from "../../shared/store/member.ts";
import { readAll } from "../http/read-all.ts";
import {
  type HandoverInbox,
  MAX_PENDING_BYTES,
  packPendingMessages,
  unpackPendingMessages,
} from "../sessions/pending-messages.ts";
import type { Registry } from "../sessions/registry.ts";
import type { PendingMessages } from "../sessions/session.ts";

/** Below this path other workers ask. */
export const HANDOVER_PATH = "/ct-edge/hand-over/";
const MEMBER = "worker";
/** For megabytes on a busy machine; clients wait meanwhile. */
const TIMEOUT_MS = 5000;

/** Whether the request is another worker's; a client's to the same path is one to an unknown path. */
export function isHandover({ url, headers }: IncomingMessage): boolean {
  return url?.startsWith(HANDOVER_PATH) === true && headers[BALANCER_HEADER] === MEMBER;
}

/** The worker that should take a session does not. */
export class HandoverError extends EdgeError {
  readonly code = "EDGE_HAND_OVER";
  readonly source = "upstream";
  readonly retryable = true;
  constructor(to: WorkerRecord, status: number) {
    super(`worker ${to.id} does not take a session over (status ${status}); it stays where it is`);
  }
}

// --- giving ---

/** Sends what goes with the session. Rejects when `to` does not answer with 204. */
export async function sendPendingMessages(
  edgeKey: Buffer,
  to: WorkerRecord,
  id: SessionId,
  pendingMessages: PendingMessages,
): Promise<void> {
  await tell(edgeKey, to, id, packPendingMessages(pendingMessages));
}

/** Tells `to` to take the released session up. A failure is no harm: whoever comes for it makes it do so. */
export async function sendWord(edgeKey: Buffer, to: WorkerRecord, id: SessionId): Promise<void> {
  await tell(edgeKey, to, id, undefined);
}

async function tell(
  edgeKey: Buffer,
  to: WorkerRecord,
  id: SessionId,
  body: Uint8Array | undefined,
): Promise<void> {
  const { status } = await askProcess(`${to.url}${HANDOVER_PATH}${id}`, {
    method: body === undefined ? "POST" : "PUT",
    headers: {
      [EDGE_HEADER]: edgeProof(edgeKey, to.id, to.incarnation),
      // No client's request has this field: balancers take it away.
      [BALANCER_HEADER]: MEMBER,
    },
    ...(body !== undefined && { body }),
    timeoutMs: TIMEOUT_MS,
    keepConnection: true,
  });
  if (status !== 204) throw new HandoverError(to, status);
}

// --- taking ---

export interface Handovers {
  /** Answers a request below `HANDOVER_PATH` that a member vouches for. */
  take(req: IncomingMessage, res: ServerResponse): Promise<void>;
}

export function createHandovers(needs: {
  readonly handoverInbox: Pick<HandoverInbox, "put">;
  readonly registry: Pick<Registry, "claim">;
  /** Whether this worker takes sessions now. */
  readonly isOpen: () => boolean;
}): Handovers {
  return {
    async take(req, res) {
      const id = (req.url ?? "").slice(HANDOVER_PATH.length);
      if (!isSessionId(id)) {
        res.writeHead(404).end();
        return;
      }
      if (req.method === "POST") {
        req.resume();
        const claim = await needs.registry.claim(id);
        res.writeHead(claim.outcome === "here" ? 204 : 409).end();
        return;
      }
      const bytes =
        req.method === "PUT" && needs.isOpen() ? await readAll(req, MAX_PENDING_BYTES) : undefined;
      const pendingMessages = bytes && unpackPendingMessages(bytes);
      if (pendingMessages !== undefined) needs.handoverInbox.put(id, pendingMessages);
      req.resume();
      res.writeHead(pendingMessages === undefined ? 409 : 204).end();
    },
  };
}

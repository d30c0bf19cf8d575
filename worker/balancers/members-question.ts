/**
 * Serves the list of workers to balancers that do not reach the store (balancer/discovery/members-from-workers.ts), from what
 * this worker has just read there.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { isWorkerId } from "../../shared/base/ids.ts";
import type { MembershipView } from "../../shared/membership/view.ts";
import {
  BALANCER_HEADER,
  isNonce,
  MEMBERS_PATH,
  MEMBERS_PROOF_HEADER,
  membersProof,
  NONCE_HEADER,
} from "../../shared/net/edge-headers.ts";
import type { PurposeKeys } from "../../shared/settings/keyring.ts";
import type { Store } from "../../shared/store/store.ts";

export interface MembersQuestion {
  readonly edgeKeys: Pick<PurposeKeys, "signing">;
  readonly view: Pick<MembershipView, "workers" | "fresh">;
  readonly store: Pick<Store, "health">;
}

/** Whether a balancer sent the request; a client's request to the same path is one to an unknown path. */
export function isMembersQuestion({ method, url, headers }: IncomingMessage): boolean {
  const balancer = headers[BALANCER_HEADER];
  const isBalancer = typeof balancer === "string" && isWorkerId(balancer);
  return method === "GET" && url === MEMBERS_PATH && isBalancer && isNonce(headers[NONCE_HEADER]);
}

/**
 * Responds 200 with the records of all workers, or 503 when this worker does not reach the store either. `isCutOff`: it may
 * not act for its sessions, so its view may be stale too.
 */
export function answerMembersQuestion(
  { edgeKeys, view, store }: MembersQuestion,
  isCutOff: boolean,
  req: IncomingMessage,
  res: ServerResponse,
): void {
  if (isCutOff || store.health.state !== "up" || !view.fresh) {
    res.writeHead(503).end();
    return;
  }
  const body = Buffer.from(JSON.stringify(view.workers));
  const proof = membersProof(edgeKeys.signing, String(req.headers[NONCE_HEADER]), body);
  res
    .writeHead(200, {
      "content-type": "application/json",
      "content-length": body.length,
      [MEMBERS_PROOF_HEADER]: proof,
    })
    .end(body);
}

/** How a balancer asks a worker for a link: with its edge proof, and the id and incarnation of both sides. */
import type { Incarnation, WorkerId } from "../../shared/base/ids.ts";
import { LINK_VERSION } from "../../shared/link/frames.ts";
import {
  BALANCER_HEADER,
  BALANCER_INCARNATION_HEADER,
  EDGE_HEADER,
  LINK_PATH,
  LINK_PROTOCOL,
  readIncarnation,
} from "../../shared/net/edge-headers.ts";
import type { PurposeKeys } from "../../shared/settings/keyring.ts";
import type { WorkerRecord } from "../../shared/store/member.ts";
import type { Address } from "../transport/transport.ts";

/** The worker, and how a link to it is opened. */
export interface LinkTarget {
  readonly id: string;
  readonly address: Address;
  /** The request for a link. */
  readonly request: string;
  /** Whether `x-ct-incarnation` of the response proves that this incarnation of the worker has sent it. */
  readonly isProof: (field: string | undefined) => boolean;
}

/** Why there is no link to a worker, or how one is opened. */
export type LinkTargets = (
  worker: WorkerRecord,
  address: Address,
) => LinkTarget | "unsupported" | "off";

export function createLinkTargets(deps: {
  readonly isOn: boolean;
  readonly edgeKeys: Pick<PurposeKeys, "accepted">;
  readonly self: { readonly id: WorkerId; readonly incarnation: Incarnation };
  readonly prove: (worker: WorkerRecord) => string;
}): LinkTargets {
  const { edgeKeys, self } = deps;
  return (worker, address) => {
    if (!deps.isOn) return "off";
    // An earlier version, or CT_LINK=off at the worker.
    if (worker.linkVersion !== LINK_VERSION) return "unsupported";
    const proof = deps.prove(worker);
    const fields = [
      `Host: ${new URL(worker.url).host}`,
      "Connection: Upgrade",
      `Upgrade: ${LINK_PROTOCOL}`,
      `${EDGE_HEADER}: ${proof}`,
      `${BALANCER_HEADER}: ${self.id}`,
      `${BALANCER_INCARNATION_HEADER}: ${self.incarnation}`,
    ];
    return {
      id: worker.id,
      address,
      request: `GET ${LINK_PATH} HTTP/1.1\r\n${fields.join("\r\n")}\r\n\r\n`,
      isProof: (field) =>
        readIncarnation(edgeKeys.accepted, { field, id: worker.id, refusedProof: proof }) ===
        worker.incarnation,
    };
  };
}

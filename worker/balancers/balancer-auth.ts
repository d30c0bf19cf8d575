/**
 * Authenticates requests from balancers. A balancer names the worker by id and incarnation if it knows them from the store,
 * or by the `host:port` of its fixed list; owners of sessions are named to it in the same way.
 */
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import type { Incarnation, WorkerId } from "../../shared/base/ids.ts";
import {
  addressProof,
  EDGE_HEADER,
  edgeProof,
  incarnationProof,
  isSameProof,
} from "../../shared/net/edge-headers.ts";
import { isLoopback, plainAddress } from "../../shared/net/networks.ts";

export interface BalancerAuth {
  /** How the request names this worker. `other`: it is for another worker. `none`: it is not from a balancer. */
  judge(req: IncomingMessage): "id" | "address" | "other" | "none";
  /** `x-ct-incarnation` for a request that was meant for another worker, or for an earlier incarnation of this one. */
  incarnationProof(this: void, req: Pick<IncomingMessage, "headers">): string;
  /**
   * The name of `owner` for the sender of the request. A balancer that knows only addresses gets the owner's `host:port` and
   * looks it up in its list; it never connects to an address that is not in it.
   */
  nameOwner(this: void, req: IncomingMessage, owner: WorkerId): string;
}

export function createBalancerAuth(needs: {
  readonly edgeKey: Buffer;
  readonly self: { readonly id: WorkerId; readonly incarnation: Incarnation };
  /** The URL of a worker, including this one; undefined if it is unknown now. */
  readonly urlOf: (id: WorkerId) => string | undefined;
}): BalancerAuth {
  const { edgeKey, self, urlOf } = needs;
  const own = edgeProof(edgeKey, self.id, self.incarnation);
  const proofsByAddress = new Map<string, string>();

  /** Only for addresses of this machine, so there are few. */
  function proofOf(address: string): string {
    const known = proofsByAddress.get(address);
    if (known !== undefined) return known;
    const proof = addressProof(edgeKey, address);
    proofsByAddress.set(address, proof);
    return proof;
  }

  function judge({ headers, socket }: IncomingMessage): ReturnType<BalancerAuth["judge"]> {
    const proof = headers[EDGE_HEADER];
    if (proof === undefined) return "none";
    if (typeof proof !== "string") return "other";
    if (isSameProof(proof, own)) return "id";
    const url = urlOf(self.id);
    const addresses = [...(url ? [hostPortOf(url)] : []), ...addressesOf(socket)];
    return addresses.some((address) => isSameProof(proof, proofOf(address))) ? "address" : "other";
  }

  return {
    judge,
    incarnationProof: ({ headers }) =>
      incarnationProof(edgeKey, self, String(headers[EDGE_HEADER] ?? "")),
    nameOwner(req, owner) {
      const url = urlOf(owner);
      return url !== undefined && judge(req) === "address" ? hostPortOf(url) : owner;
    },
  };
}

/** `http://host:port` without the scheme, as in a fixed list. */
function hostPortOf(url: string): string {
  return url.slice("http://".length);
}

/** The `host:port` names of this end of a connection. */
function addressesOf({ localAddress, localPort }: Socket): string[] {
  if (localAddress === undefined || localPort === undefined) return [];
  const address = plainAddress(localAddress);
  const names = [`${address.includes(":") ? `[${address}]` : address}:${localPort}`];
  if (isLoopback(address)) names.push(`localhost:${localPort}`);
  return names;
}

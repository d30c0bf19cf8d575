/**
 * Authenticates requests from balancers. A balancer's proof names the worker that it means: by id and incarnation when it
 * knows them from the store, or by the `host:port` of its fixed list. Owners of sessions are named to it in the same way.
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
import { isLoopback, plainAddress, urlHost } from "../../shared/net/networks.ts";
import type { PurposeKeys } from "../../shared/settings/keyring.ts";

export interface BalancerAuth {
  /** How the request names this worker. `other`: it is for another one. `none`: it has no balancer's proof. */
  judge(req: IncomingMessage): "id" | "address" | "other" | "none";
  /** `x-ct-incarnation` for a request that was meant for another worker, or for an earlier incarnation of this one. */
  incarnationProof(this: void, req: Pick<IncomingMessage, "headers">): string;
  /**
   * The name of `owner` for the sender of the request. A balancer that knows only addresses gets the owner's `host:port` and
   * compares it with its list; it never connects to an address outside the list.
   */
  nameOwner(this: void, req: IncomingMessage, owner: WorkerId): string;
}

export function createBalancerAuth(deps: {
  readonly edgeKeys: PurposeKeys;
  readonly self: { readonly id: WorkerId; readonly incarnation: Incarnation };
  /** The URL of a worker (this one too); undefined when it is not known now. */
  readonly urlOf: (id: WorkerId) => string | undefined;
}): BalancerAuth {
  const { edgeKeys, self, urlOf } = deps;
  const own = edgeKeys.accepted.map((key) => edgeProof(key, self.id, self.incarnation));
  const proofsByAddress = new Map<string, readonly string[]>();

  /** Cached: these are this machine's own addresses, so there are few. */
  function proofsOf(address: string): readonly string[] {
    const cached = proofsByAddress.get(address);
    if (cached !== undefined) return cached;
    const proofs = edgeKeys.accepted.map((key) => addressProof(key, address));
    proofsByAddress.set(address, proofs);
    return proofs;
  }

  function judge({ headers, socket }: IncomingMessage): ReturnType<BalancerAuth["judge"]> {
    const proof = headers[EDGE_HEADER];
    if (proof === undefined) return "none";
    if (typeof proof !== "string") return "other";
    const isProof = (expected: string): boolean => isSameProof(proof, expected);
    if (own.some(isProof)) return "id";
    const url = urlOf(self.id);
    const addresses = [...(url ? [hostPortOf(url)] : []), ...addressesOf(socket)];
    return addresses.some((address) => proofsOf(address).some(isProof)) ? "address" : "other";
  }

  return {
    judge,
    incarnationProof: ({ headers }) =>
      incarnationProof(edgeKeys.signing, self, String(headers[EDGE_HEADER] ?? "")),
    nameOwner(req, owner) {
      const url = urlOf(owner);
      return url !== undefined && judge(req) === "address" ? hostPortOf(url) : owner;
    },
  };
}

/** A worker's name in a fixed list: its URL without the scheme. */
function hostPortOf(url: string): string {
  return url.slice("http://".length);
}

/** The `host:port` names of this end of a connection. */
function addressesOf({ localAddress, localPort }: Socket): string[] {
  if (localAddress === undefined || localPort === undefined) return [];
  const address = plainAddress(localAddress);
  const names = [`${urlHost(address)}:${localPort}`];
  if (isLoopback(address)) names.push(`localhost:${localPort}`);
  return names;
}

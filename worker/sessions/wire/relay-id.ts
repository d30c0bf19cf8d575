/**
 * Ids of relayed requests. An id contains where the response goes, so the session's next owner can relay it without having
 * seen the request. An HMAC keeps peers from forging ids.
 */
import type { PeerId, SessionId } from "../../../shared/base/ids.ts";
import { isSameProof } from "../../../shared/net/edge-headers.ts";
import type { PurposeKeys } from "../../../shared/settings/keyring.ts";
import { sign } from "../../../shared/settings/secret.ts";

export type RelayIds = ReturnType<typeof createRelayIds>;

export interface RelayedRequest {
  readonly requester: PeerId;
  /** The requester's own id, byte for byte. */
  readonly id: Buffer;
  /** The session's epoch when the request was relayed: tells whether this worker did it. */
  readonly epoch: number;
}

/** 132 bits of the HMAC. */
const PROOF_CHARS = 22;

/** `keys` authenticate the ids, which are valid in this session only. */
export function createRelayIds(keys: PurposeKeys, sessionId: SessionId) {
  function proofOf(text: string, receiver: PeerId, key = keys.signing): string {
    return sign(key, `${sessionId}\n${receiver}\n${text}`).slice(0, PROOF_CHARS);
  }

  /** The parts of an id that was made for `receiver`. */
  function read(id: string, receiver: PeerId): readonly string[] | undefined {
    const end = id.lastIndexOf(".");
    const text = id.slice(0, end);
    const proof = id.slice(end + 1);
    const isProven = keys.accepted.some((key) => isSameProof(proof, proofOf(text, receiver, key)));
    return isProven ? text.split(".") : undefined;
  }

  return {
    /** The id under which `responder` gets a request of `requester`, whose own id is `id` (MessagePack bytes). */
    forRequest({ requester, id, epoch }: RelayedRequest, responder: PeerId): string {
      const text = `r.${requester}.${epoch.toString(36)}.${id.toString("base64url")}`;
      return `${text}.${proofOf(text, responder)}`;
    },
    /** The request that a response of `responder` belongs to; undefined when the id was not made for this peer. */
    readRequest(id: string, responder: PeerId): RelayedRequest | undefined {
      const [type, requester, epoch, ownId] = read(id, responder) ?? [];
      if (type !== "r" || requester === undefined || epoch === undefined) return undefined;
      return {
        requester: requester as PeerId,
        epoch: Number.parseInt(epoch, 36),
        id: Buffer.from(ownId ?? "", "base64url"),
      };
    },
    /** The id under which the host gets a join request; the same each time it is asked. */
    forJoin(pollToken: string, host: PeerId): string {
      const text = `j.${pollToken}`;
      return `${text}.${proofOf(text, host)}`;
    },
    readJoin(id: string, host: PeerId): string | undefined {
      const [type, pollToken] = read(id, host) ?? [];
      return type === "j" ? pollToken : undefined;
    },
  };
}

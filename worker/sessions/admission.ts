/** What is decided about a client that comes, or whose WebSocket is to go on here. */
import type { Peer } from "./peers/peer.ts";

/** What a client declares when it connects. */
export interface Introduction {
  /** Base64 SPKI. */
  readonly publicKey: string;
  readonly client: string;
  readonly compression: readonly string[];
}

export type Admission =
  | { readonly outcome: "admitted"; readonly peer: Peer }
  /** Final: the client must not come back with this token. */
  | { readonly outcome: "refused"; readonly reason: string }
  /** Another worker owns the session: the client must reconnect and is routed there. */
  | { readonly outcome: "lost" };

/** Why a WebSocket is not resumed: the client reconnects. */
export type ResumeRefusal = "same epoch" | "moving" | "peer gone" | "used" | "replaced" | "cut";

/** What is decided about a client that comes, leaves, or whose WebSocket is to go on here. */
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

/** `removed`: by an operator. `signed out`: its sign-in has ended. */
export type LeaveCause = "left" | "away" | "removed" | "signed out";

/** Why a session ends, by why its host has left. */
export const CLOSE_CAUSES = {
  left: "host left",
  away: "host away",
  removed: "ended by the operator",
  "signed out": "host signed out",
} as const satisfies Record<LeaveCause, string>;

/** By a limit of the policy. */
export type LimitCause = "open too long" | "idle too long" | "host alone too long";
export type CloseCause = (typeof CLOSE_CAUSES)[LeaveCause] | LimitCause;

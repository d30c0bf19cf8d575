/**
 * Every session of this worker: created, claimed, resumed, forgotten.
 */
import type { Clock } from "../../shared/clock.ts";
import type { Settings } from "../../shared/config.ts";
import type { Incarnation, SessionId, SessionKey, WorkerId } from "../../shared/ids.ts";
import type { Log } from "../../shared/log.ts";
import type { Counters } from "../../shared/metrics.ts";
import type { Ring } from "../../shared/ring.ts";
import type { Store, UserRecord } from "../../shared/store/store.ts";
import type { Tokens } from "../login/tokens.ts";
import type { Session } from "./session.ts";

export interface Registry {
  /**
   * At start: takes up every session that the store says this worker id owned before. Peers have 30 s from its end to
   * come back. Waits for the store when it is away.
   */
  recover(): Promise<void>;
  /** A new session for `user`, with the host's room token. `exists`: `alias` belongs to another session. */
  create(user: UserRecord, alias?: SessionKey): Promise<Created>;
  /**
   * Whether this worker serves the session now; resumes it from the store when it may. Never creates one. Concurrent
   * calls for one id share one question; `unknown` and `closed` are remembered for 1 s, so that floods do not reach the
   * store. Rejects with `StoreAwayError` when the session is not here and the store cannot say whose it is.
   */
  claim(id: SessionId): Promise<Claim>;
  /** The session, when this worker serves it now; asks nobody. */
  live(id: SessionId): Session | undefined;
  readonly load: { readonly sessions: number; readonly connections: number };
  /** Closes the peers' connections in a way that makes clients come back, and forgets all sessions; their records stay. */
  close(): Promise<void>;
}

export type Created =
  | {
      readonly outcome: "created";
      readonly sessionId: SessionId;
      readonly epoch: number;
      readonly roomToken: string;
    }
  | { readonly outcome: "quota" }
  | { readonly outcome: "exists" };

export type Claim =
  | { readonly outcome: "here"; readonly session: Session }
  | { readonly outcome: "elsewhere"; readonly owner: WorkerId; readonly epoch: number }
  | { readonly outcome: "closed" }
  | { readonly outcome: "unknown" };

export declare function createRegistry(needs: {
  store: Store;
  clock: Clock;
  log: Log;
  counters: Counters;
  tokens: Tokens;
  /** Authenticates the ids of relayed requests. */
  relayKey: Buffer;
  settings: Pick<
    Settings,
    "maxSessionsPerUser" | "maxPeersPerSession" | "maxBufferBytes" | "maxMessagesPerSecond"
  >;
  self: { readonly id: WorkerId; readonly incarnation: Incarnation };
  ring: () => Ring;
}): Registry;

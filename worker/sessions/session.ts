/**
 * One session: its peers, who hosts it, and how it lives and ends.
 */
import type { SessionId } from "../../shared/ids.ts";
import type { UserRecord } from "../../shared/store/store.ts";

export interface Session {
  readonly id: SessionId;
  /** Rises when the session is recorded late, after the store was away; never falls. */
  readonly epoch: number;
  /**
   * Asks the host, now or when it is back, whether `user` may join; the answer comes in the ticket `pollToken` (kind
   * `join`), within 300 s. `full`: too many peers or waiting requests. `unopened`: the host's socket has not come yet,
   * so for others the session does not exist. Rejects with `StoreAwayError`.
   */
  requestJoin(
    user: UserRecord,
  ): Promise<
    | { readonly outcome: "asked"; readonly pollToken: string }
    | { readonly outcome: "full" }
    | { readonly outcome: "unopened" }
  >;
}

/** What sessions tell those who count usage. */
import type { PeerRecord, SessionRecord } from "../../shared/store/store.ts";

export interface UsageCounter {
  /** For a session that this worker creates or takes over. */
  session(record: SessionRecord): SessionUsage;
}

export interface SessionUsage {
  /** A peer has come in for the first time, on any worker. `people`: in the session, with it. */
  joined(peer: PeerRecord, people: number): void;
  /** The session was closed; counts it if the store says so too, and passes on what it says. */
  closed(outcome: "done" | "lost"): "done" | "lost";
}

import type { SessionId } from "../../shared/base/ids.ts";
import type { Ring } from "../../shared/membership/ring.ts";
import type { Slice } from "../../shared/settings/read-settings.ts";
import type { SessionRecord } from "../../shared/store/store.ts";
import { createClaims } from "./claims.ts";
import type { OwnerProbe } from "./owner-probe.ts";
import type { HandoverInbox } from "./pending-messages.ts";
import { createRecovery } from "./recovery.ts";
import { Session, type SessionDeps } from "./session.ts";
import { createSessionCreation } from "./session-creation.ts";
import { PEER_SETTINGS } from "./session-peers.ts";
import type { UsageCounter } from "./session-usage.ts";

export type { Claim } from "./claims.ts";
export type { Created } from "./session-creation.ts";

export type Registry = ReturnType<typeof createRegistry>;

export const REGISTRY_SETTINGS = ["maxSessionsPerUser", ...PEER_SETTINGS] as const;

/** What a session needs, and what finds and makes sessions. */
export interface RegistryDeps extends Omit<SessionDeps, "settings" | "usage" | "onEnded"> {
  readonly settings: Slice<typeof REGISTRY_SETTINGS>;
  readonly ring: () => Ring;
  readonly owners: Pick<OwnerProbe, "look">;
  /** Messages that arrived before the sessions that are handed over to this worker. */
  readonly handoverInbox: Pick<HandoverInbox, "take">;
  readonly usage: UsageCounter;
}

export function createRegistry(deps: RegistryDeps) {
  const { counters, log } = deps;
  const sessions = new Map<SessionId, Session>();
  let isClosed = false;
  const parts = { ...deps, sessions, add, isClosed: () => isClosed };
  const create = createSessionCreation(parts);
  const claims = createClaims(parts);
  const recovery = createRecovery({ ...parts, resume: claims.resume });

  function add(record: SessionRecord): Session {
    const usage = deps.usage.session(record);
    const session = new Session({ ...deps, usage, onEnded: remove }, record);
    sessions.set(record.id, session);
    return session;
  }

  function remove(session: Session): void {
    if (sessions.get(session.id) === session) sessions.delete(session.id);
    if (!session.isClosed) return;
    claims.noteClosed(session.id);
    recovery.noteClosed(session);
  }

  function liveSessions(): Session[] {
    return [...sessions.values()].filter((session) => session.isLive);
  }

  return {
    /**
     * At start: resumes every session that this worker id owns in the store. Peers have 30 s from its end to come back.
     * Waits for a store that is away.
     */
    recover: recovery.recover,
    /**
     * Creates a session for `user`, with the host's room token. Users who share a server URL with a key may have several sessions
     * there. `quota`: the user has too many sessions, or too many sessions wait for their host here.
     */
    create,
    /**
     * Whether this worker serves the session now; resumes it from the store when it may, also from an owner that is gone.
     * Never creates one. Concurrent calls for one id share one attempt; `unknown` and `closed` are cached for 1 s, so that
     * floods do not reach the store. `undecided`: its owner does not respond but may not be replaced yet, or the store has
     * just lost its data. Rejects with `StoreAwayError` when the session is not here and the store cannot name its owner.
     */
    claim: claims.claim,
    /** As `claim`, but retries for `forMs`, while it is wanted and no answer is certain; then `undecided`. */
    claimPatiently: claims.claimPatiently,
    /** Other workers may own this worker's sessions by now: none relays anything before it is confirmed. */
    fence(): void {
      const live = liveSessions();
      for (const session of live) session.fence();
      if (live.length === 0) return;
      counters.count("worker.fenced");
      log.warn(
        { sessions: live.length },
        "the lease was not renewed in time, so other workers may own the sessions: nothing is relayed until the store confirms them",
      );
    },
    /**
     * Asks the store about each session, whether this worker still owns it, and restores what the store has lost. Waits for
     * a store that is away; a call while another one runs makes that one start over.
     */
    confirm: recovery.confirm,
    /** Whether the session is here, in whatever state; does not ask the store. */
    knows: (id: SessionId) => sessions.has(id),
    /** The session, when this worker serves it now; does not ask the store. */
    live(id: SessionId): Session | undefined {
      const session = sessions.get(id);
      return session?.isHeld ? session : undefined;
    },
    /** Ids of the sessions that this worker serves now. */
    get sessionIds(): readonly SessionId[] {
      return liveSessions().map(({ id }) => id);
    },
    get load(): { readonly sessions: number; readonly connections: number } {
      let connections = 0;
      for (const session of sessions.values()) connections += session.connections;
      return { sessions: sessions.size, connections };
    },
    /** Every session that is here, in whatever state. */
    sessions: (): Iterable<Session> => sessions.values(),
    /** Stops relaying, so that WebSockets can wait for the next owners of their sessions. `close` follows. */
    async freeze(): Promise<void> {
      await Promise.all([...sessions.values()].map((session) => session.freeze()));
    },
    /** Closes all connections so that clients reconnect, and forgets all sessions; their records stay. */
    async close(): Promise<void> {
      isClosed = true;
      const all = [...sessions.values()];
      // Writes under way must reach the store first: losing a session drops the rest.
      await Promise.all(all.map((session) => session.settled()));
      for (const session of all) session.lose();
      sessions.clear();
    },
  };
}

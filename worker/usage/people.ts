/**
 * Counts the users, sessions and connections of this worker. Users are identified by a keyed hash of provider and email or
 * name, because each sign-in creates a new id; the hash can go into the store, so that the name need not.
 */
import { createHmac } from "node:crypto";
import type { Clock } from "../../shared/base/clock.ts";
import { getOrAdd } from "../../shared/base/grouping.ts";
import { HASH_CHARS, MAX_RECENT } from "../../shared/cluster/sums.ts";
import type { UserRecord } from "../../shared/store/store.ts";
import type { Peer } from "../sessions/peers/peer.ts";
import type { Session } from "../sessions/session.ts";

export interface PeopleCounter {
  /** Hashes of the users with an open connection, each once. */
  readonly users: ReadonlySet<string>;
  /** Sessions whose host has connected and that have not ended. */
  readonly sessions: number;
  readonly connections: number;
  /** Disconnected participants that may still reconnect. */
  readonly away: number;
  readonly bufferBytes: number;
}

export function createPeopleCounter(deps: {
  readonly hashOf: PersonHash;
  readonly sessions: () => Iterable<
    Pick<Session, "isOpen"> & { readonly peers: Iterable<Counted> }
  >;
}): () => PeopleCounter {
  const { hashOf } = deps;

  return () => {
    const users = new Set<string>();
    let sessions = 0;
    let connections = 0;
    let away = 0;
    let bufferBytes = 0;
    for (const session of deps.sessions()) {
      if (session.isOpen) sessions++;
      for (const peer of session.peers) {
        bufferBytes += peer.waitingBytes;
        if (peer.isConnected) {
          connections++;
          users.add(hashOf(peer.record.user));
        } else away++;
      }
    }
    return { users, sessions, connections, away, bufferBytes };
  };
}

export type PersonHash = (user: UserRecord) => string;

/** `key` is the same in every worker, so that a user connected to two of them counts once. */
export function createPersonHash(key: Buffer): PersonHash {
  /** Hashes are computed once per user record, not once per count. */
  const hashes = new WeakMap<UserRecord, string>();
  return (user) =>
    getOrAdd(hashes, user, () =>
      createHmac("sha256", key)
        .update(JSON.stringify(identityOf(user)))
        .digest("base64url")
        .slice(0, HASH_CHARS),
    );
}

/** Who has come in within the last minute, perhaps only for a moment: the reports of who is connected may miss them. */
export type RecentPeople = ReturnType<typeof createRecentPeople>;

const RECENT_MS = 60_000;

export function createRecentPeople(deps: {
  readonly hashOf: PersonHash;
  readonly clock: Pick<Clock, "nowMs">;
}) {
  const { hashOf, clock } = deps;
  /** The one first that came first. */
  const atMs = new Map<string, number>();

  function forgetOld(): void {
    for (const [hash, cameMs] of atMs) {
      if (atMs.size <= MAX_RECENT && clock.nowMs() - cameMs < RECENT_MS) return;
      atMs.delete(hash);
    }
  }

  return {
    add(user: UserRecord): void {
      const hash = hashOf(user);
      atMs.delete(hash);
      atMs.set(hash, clock.nowMs());
      forgetOld();
    },
    get hashes(): ReadonlySet<string> {
      forgetOld();
      return new Set(atMs.keys());
    },
  };
}

type Counted = Pick<Peer, "isConnected" | "waitingBytes"> & {
  readonly record: { readonly user: UserRecord };
};

/** What identifies a user: email addresses are compared without case, names with it. */
function identityOf({ authProvider = "", email, name }: UserRecord): readonly string[] {
  return email === undefined || email === ""
    ? [authProvider, "name", name]
    : [authProvider, "email", email.toLowerCase()];
}

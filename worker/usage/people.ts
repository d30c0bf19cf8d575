/**
 * Who is here: the people, sessions and connections of this worker, counted. People are told apart by a keyed hash of who
 * they are, because their ids are made anew at each sign-in; the hash can go into the store, the name need not.
 */
import { createHmac } from "node:crypto";
import { HASH_CHARS } from "../../shared/cluster/sums.ts";
import type { UserRecord } from "../../shared/store/store.ts";
import type { Peer } from "../sessions/peer.ts";
import type { Session } from "../sessions/session.ts";

export interface PeopleCounter {
  /** Hashes of those who have an open connection, each once. */
  readonly users: ReadonlySet<string>;
  /** Sessions whose host has come and that have not ended. */
  readonly sessions: number;
  readonly connections: number;
  /** Participants who are waited for. */
  readonly away: number;
  readonly bufferBytes: number;
}

/** Returns the way to count. `key` is the same in every worker, so that someone at two of them is one. */
export function createPeopleCounter(needs: {
  readonly key: Buffer;
  readonly sessions: () => Iterable<
    Pick<Session, "isOpen"> & { readonly peers: Iterable<Counted> }
  >;
}): () => PeopleCounter {
  /** A hash is made once per person and connection, not once per count. */
  const hashes = new WeakMap<UserRecord, string>();

  function hashOf(user: UserRecord): string {
    let hash = hashes.get(user);
    if (hash === undefined) {
      hash = createHmac("sha256", needs.key)
        .update(JSON.stringify(identityOf(user)))
        .digest("base64url")
        .slice(0, HASH_CHARS);
      hashes.set(user, hash);
    }
    return hash;
  }

  return () => {
    const users = new Set<string>();
    let sessions = 0;
    let connections = 0;
    let away = 0;
    let bufferBytes = 0;
    for (const session of needs.sessions()) {
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

type Counted = Pick<Peer, "isConnected" | "waitingBytes"> & {
  readonly record: { readonly user: UserRecord };
};

/** Whom a user record stands for: an address is the same person in either case of its letters, a name is not. */
function identityOf({ authProvider = "", email, name }: UserRecord): readonly string[] {
  return email === undefined || email === ""
    ? [authProvider, "name", name]
    : [authProvider, "email", email.toLowerCase()];
}

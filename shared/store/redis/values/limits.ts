/**
 * How much of anything the Redis store writes and reads. Whoever can write to Redis may be hostile or just wrong: a
 * reader does a bounded amount of work, whatever it finds.
 */

/** A member's record, an event, a field of a session. */
export const MAX_VALUE_BYTES = 16 * 1024;
/** A peer's record: a public key and a name, about 1 KiB; the rest is room for strange clients. */
export const MAX_PEER_BYTES = 16 * 1024;
/** Question or answer of a ticket: who asks, or a token and the names of a workspace's folders. */
export const MAX_TICKET_BYTES = 64 * 1024;
/** All peers of a session together: 10,000 ordinary ones. */
export const MAX_RECORD_BYTES = 16 * 1024 * 1024;
/** The largest value of `CT_MAX_PEERS_PER_SESSION`. */
export const MAX_PEERS = 10_000;
/** Tokens of a session's peers who left; with more, those go first that would run out first. */
export const MAX_LEFT = 1000;
/** Members that are seen. More would beat the store to death: each asks for all of them once a second. */
export const MAX_MEMBERS = 1000;
/** Sessions of one worker that are listed. */
export const MAX_SESSIONS = 200_000;
/** Workers that are remembered as owners of sessions; with more, those go first whose sessions would go soonest. */
export const MAX_OWNERS = 5000;
/** Closed sessions that are remembered; each takes about 500 bytes. */
export const MAX_TOMBSTONES = 200_000;
/** Tickets of one kind. Anybody may begin to sign in, so a flood must not fill the memory. */
export const MAX_TICKETS = 50_000;
/** Waiting tickets of a group that are listed. */
export const MAX_GROUP = 1000;
/** Tokens that must not be used again. */
export const MAX_REVOKED = 200_000;
/** Names of counters: some are made of what clients say (a version, a page). */
export const MAX_COUNTERS = 10_000;

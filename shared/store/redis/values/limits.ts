/**
 * Limits of what the Redis store writes and reads. Other programs may write to Redis, so readers do a bounded amount of work
 * whatever they find.
 */

/** A member's record, an event, a field of a session. */
export const MAX_VALUE_BYTES = 16 * 1024;
/** A peer's record: about 1 KiB of public key and name; the rest is room for unusual clients. */
export const MAX_PEER_BYTES = 16 * 1024;
/** Question or answer of a ticket: who asks, or a token and the names of a workspace's folders. */
export const MAX_TICKET_BYTES = 64 * 1024;
/** All peers of a session together: 10,000 ordinary ones. */
export const MAX_RECORD_BYTES = 16 * 1024 * 1024;
/** The largest value of `CT_MAX_PEERS_PER_SESSION`. */
export const MAX_PEERS = 10_000;
/** Revoked tokens of a session; beyond it those that expire first are dropped. */
export const MAX_LEFT = 1000;
/** Members that are read. More would overload the store: each member reads all of them once a second. */
export const MAX_MEMBERS = 1000;
/** Sessions of one worker that are listed. */
export const MAX_SESSIONS = 200_000;
/** Owners of sessions; beyond it those whose sessions expire first are dropped. */
export const MAX_OWNERS = 5000;
/** Tombstones; each takes about 500 bytes. */
export const MAX_TOMBSTONES = 200_000;
/** Tickets of one kind. Strangers may start sign-ins, so a flood must not fill the memory. */
export const MAX_TICKETS = 50_000;
/** Waiting tickets of a group that are listed. */
export const MAX_GROUP = 1000;
/** Revoked tokens. */
export const MAX_REVOKED = 200_000;
/** A sign-in: keys, and the provider's tokens, of which some have 8 KB. */
export const MAX_SIGN_IN_BYTES = 64 * 1024;
/** Sign-ins; beyond it those that expire first are dropped. */
export const MAX_SIGN_INS = 200_000;
/** Names of counters: some contain client input (a version, a page). */
export const MAX_COUNTERS = 10_000;

/**
 * Branded types of ids, so that they cannot be confused, and the generation of random ids.
 */
import { randomInt } from "node:crypto";

/** The value that routes a request: opaque bytes (as a latin1 string), compared exactly, 1 to 8192 bytes long. */
export type SessionKey = string & { readonly brand: "SessionKey" };
/** A session's id: 24 alphanumerics. The protocol calls it the room id. It is a session key too. */
export type SessionId = SessionKey & { readonly kind: "SessionId" };
/** A worker's name, the same after restarts: 1 to 64 of `A-Z a-z 0-9 . _ -`. */
export type WorkerId = string & { readonly brand: "WorkerId" };
/** One run of a worker, from its start to its end: 16 alphanumerics, new at every start. */
export type Incarnation = string & { readonly brand: "Incarnation" };
/** A participant's id: 24 alphanumerics. */
export type PeerId = string & { readonly brand: "PeerId" };

const ALPHANUMERICS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const SESSION_ID = /^[A-Za-z0-9]{24}$/;
const POLL_TOKEN = /^[A-Za-z0-9]{25,256}$/;
const PEER_ID = /^[A-Za-z0-9_-]{1,128}$/;
const INCARNATION = /^[A-Za-z0-9]{16}$/;
const WORKER_ID = /^[A-Za-z0-9._-]{1,64}$/;
/** `host:port` of a worker in a fixed list, where it is also its id. An IPv6 address is in brackets. */
export const WORKER_ADDRESS =
  /^(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253}):(?:[1-9]\d{0,3}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d{2}|655[0-2]\d|6553[0-5])$/;
const MAX_SESSION_KEY_BYTES = 8192;

/** `length` random alphanumerics from the system's secure source (5.95 bits each). */
export function randomAlphanumerics(length: number): string {
  let text = "";
  for (let i = 0; i < length; i++) text += ALPHANUMERICS[randomInt(ALPHANUMERICS.length)];
  return text;
}

export function newSessionId(): SessionId {
  return randomAlphanumerics(24) as SessionId;
}

export function newPeerId(): PeerId {
  return randomAlphanumerics(24) as PeerId;
}

export function newIncarnation(): Incarnation {
  return randomAlphanumerics(16) as Incarnation;
}

export function isSessionId(text: string): text is SessionId {
  return SESSION_ID.test(text);
}

/** The session of a join request's poll token, which is its id and random characters; undefined for a malformed token. */
export function sessionOfPollToken(token: string): SessionId | undefined {
  return POLL_TOKEN.test(token) ? (token.slice(0, 24) as SessionId) : undefined;
}

/** As other versions may have made it: more than `newPeerId` makes. */
export function isPeerId(text: string): text is PeerId {
  return PEER_ID.test(text);
}

export function isWorkerId(text: string): text is WorkerId {
  return WORKER_ID.test(text);
}

export function isIncarnation(text: string): text is Incarnation {
  return INCARNATION.test(text);
}

/** Whether `text` may name a worker: an id, or an address in a fixed list. */
export function isWorkerName(text: string): text is WorkerId {
  return isWorkerId(text) || WORKER_ADDRESS.test(text);
}

/** `text` as a session key, or undefined when it is empty or longer than 8 KiB. */
export function toSessionKey(text: string): SessionKey | undefined {
  return text.length > 0 && text.length <= MAX_SESSION_KEY_BYTES ? (text as SessionKey) : undefined;
}

/**
 * A copy of a latin1 text. V8 represents a part of a request head as a view that keeps the whole head in memory: 100,000 keys
 * from heads of 16 KiB took 1.6 GB.
 */
export function copyOf<Text extends string>(text: Text): Text {
  return Buffer.from(text, "latin1").toString("latin1") as Text;
}

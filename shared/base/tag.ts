/**
 * A worker's tag: the prefix by which a balancer knows the worker that issued a socket id, a login poll token or an
 * OAuth state. It stands for one incarnation, so that a restarted worker does not get ids that it never issued; it is a
 * hash, so that a client learns no host name from it.
 */
import { createHash } from "node:crypto";
import { type Incarnation, randomAlphanumerics, type WorkerId } from "./ids.ts";

/** 16 lower-case hexadecimal digits (64 bits). */
export type WorkerTag = string & { readonly brand: "WorkerTag" };

const TAG_LENGTH = 16;
const TAG = /^[0-9a-f]{16}/;

/** The tag of one incarnation of a worker. */
export function workerTag(id: WorkerId, incarnation: Incarnation): WorkerTag {
  const digest = createHash("sha256").update(`${id}\n${incarnation}`).digest("hex");
  return digest.slice(0, TAG_LENGTH) as WorkerTag;
}

/** The tag at the start of a socket id or token, or undefined when there is none. Whose it is, only the caller knows. */
export function readTag(token: string): WorkerTag | undefined {
  return TAG.test(token) ? (token.slice(0, TAG_LENGTH) as WorkerTag) : undefined;
}

/** A fresh unguessable id that starts with `tag`: 16 digits and 24 random alphanumerics (142 bits). */
export function taggedId(tag: WorkerTag): string {
  return tag + randomAlphanumerics(24);
}

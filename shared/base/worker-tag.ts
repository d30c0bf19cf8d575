/**
 * A worker's tag: the prefix of a socket id, a login poll token or an OAuth state, by which a balancer finds the worker that
 * issued it. It identifies one incarnation, so that a restarted worker does not get ids that it never issued, and is a hash,
 * so that it reveals no host name to clients.
 */
import { createHash } from "node:crypto";
import { type Incarnation, randomAlphanumerics, type WorkerId } from "./ids.ts";

/** 16 lower-case hexadecimal digits (64 bits). */
export type WorkerTag = string & { readonly brand: "WorkerTag" };

const TAG_LENGTH = 16;
const TAG = /^[0-9a-f]{16}/;

export function workerTag(id: WorkerId, incarnation: Incarnation): WorkerTag {
  const digest = createHash("sha256").update(`${id}\n${incarnation}`).digest("hex");
  return digest.slice(0, TAG_LENGTH) as WorkerTag;
}

/** The tag at the start of a socket id or token, or undefined if there is none. It may not belong to any worker. */
export function readTag(token: string): WorkerTag | undefined {
  return TAG.test(token) ? (token.slice(0, TAG_LENGTH) as WorkerTag) : undefined;
}

/** A new unguessable id that starts with `tag`: 16 digits and 24 random alphanumerics (142 bits). */
export function taggedId(tag: WorkerTag): string {
  return tag + randomAlphanumerics(24);
}

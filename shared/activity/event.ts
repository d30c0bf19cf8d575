/**
 * What people, operators and the edge have done, for those who must know it later: the audit log and webhooks. Contents of
 * sessions are end-to-end encrypted, so an event never has any.
 */
import { hash } from "node:crypto";
import { z } from "zod";
import type { SessionId } from "../base/ids.ts";

export const EVENT_KINDS = [
  "sign-in",
  "sign-in.refused",
  "sign-in.ended",
  "session.created",
  /** The policy, a license or a limit was against it. */
  "session.refused",
  "session.closed",
  /** Another worker hosts it from now on. */
  "session.moved",
  "session.locked",
  "session.unlocked",
  "join.asked",
  "join.approved",
  "join.refused",
  "peer.joined",
  "peer.left",
  "peer.removed",
  "operator.sign-in",
  "operator.refused",
  "operator.action",
  "policy.changed",
  "policy.problem",
] as const;
export type EventKind = (typeof EVENT_KINDS)[number];

/**
 * Somebody an event is about. Only here is personal data: what identifies a person is never in `details`.
 *
 * `rule`: of the policy, by its name. `edge`: the edge itself, for example when a time is over.
 */
export interface Party {
  readonly type: "user" | "operator" | "rule" | "edge";
  /** The user's id. */
  readonly id?: string | undefined;
  readonly name?: string | undefined;
  readonly email?: string | undefined;
  /** How a user has signed in: the label of the provider, `Unverified` or `API Key`; or an operator's credential. */
  readonly way?: string | undefined;
  /** The address of the client. */
  readonly address?: string | undefined;
  /** What the client calls itself. */
  readonly client?: string | undefined;
}

export interface ActivityEvent {
  /** The same when it is recorded again, because the first time may have been lost with a process. */
  readonly id: string;
  readonly kind: EventKind;
  /** Wall time in ms. */
  readonly atMs: number;
  /** The worker that has recorded it. */
  readonly worker: string;
  /** See `sessionName`. */
  readonly session?: string | undefined;
  /** Who has done it. */
  readonly actor?: Party | undefined;
  /** To whom it was done, when that is somebody else. */
  readonly target?: Party | undefined;
  /** Causes, counts and names of rules: never personal data. */
  readonly details?: Readonly<Record<string, string | number | boolean>> | undefined;
}

/** As a part of the worker tells it: the recorder adds the rest. */
export interface NewEvent extends Pick<ActivityEvent, "kind" | "actor" | "target" | "details"> {
  readonly session?: SessionId | undefined;
  /**
   * Distinguishes it from all others of its kind in its session, also when the next owner of the session records it again; undefined:
   * it is never recorded again.
   */
  readonly once?: string | undefined;
}

/**
 * How events name a session: the part of its id that the dashboard shows, with a digest that no other session has. With the
 * id itself everyone who reads an event could ask to join.
 */
export function sessionName(id: SessionId): string {
  const digest = hash("sha256", id, "hex");
  return `${id.slice(0, SHOWN_CHARS)}-${digest.slice(0, DIGEST_CHARS)}`;
}

const SHOWN_CHARS = 8;
const DIGEST_CHARS = 16;

const text = z.string().max(65_536);

const partySchema = z.object({
  type: z.enum(["user", "operator", "rule", "edge"]),
  id: text.exactOptional(),
  name: text.exactOptional(),
  email: text.exactOptional(),
  way: text.exactOptional(),
  address: text.exactOptional(),
  client: text.exactOptional(),
});

/** Kinds of later versions are read too. */
export const eventSchema = z.object({
  id: text,
  kind: text,
  atMs: z.number(),
  worker: text,
  session: text.exactOptional(),
  actor: partySchema.exactOptional(),
  target: partySchema.exactOptional(),
  details: z.record(z.string(), z.union([text, z.number(), z.boolean()])).exactOptional(),
});

/**
 * Sign-ins at identity providers, as the store has them: found by whose they are, and ended for all workers at once. The part
 * with which the provider is asked again is encrypted (worker/login/identity/sign-in-records.ts).
 */
import { createHash } from "node:crypto";
import { z } from "zod";
import { readJson } from "../base/json.ts";
import { type Sender, senderSchema } from "../control/command.ts";
import { ROLES } from "../settings/operator-roles.ts";
import type { Store, StoredSignIn } from "../store/store.ts";

const dataSchema = z.object({
  /** The provider's id. */
  provider: z.string(),
  issuer: z.string(),
  /** The provider's name of the user. */
  subject: z.string(),
  /** The provider's name of the session in which the user signed in, if it has one. */
  providerSession: z.string().optional(),
  user: z.object({ id: z.string(), name: z.string(), email: z.string().optional() }),
  /** The user's at the provider, as it told last; undefined: it has not. Policies ask for them. */
  groups: z.array(z.string()).readonly().optional(),
  /** Of an operator, who has signed in to the dashboard. */
  role: z.enum(ROLES).optional(),
  /** With which the provider is asked again, encrypted; undefined when it gave nothing of the kind. */
  sealedAccess: z.string().optional(),
  /** The provider may have taken the refresh token without a response: that it refuses it next time says nothing. */
  isUncertain: z.literal(true).optional(),
  /** Wall time in ms of the first failure since it was confirmed last. */
  failingMs: z.number().optional(),
  /** Wall time in ms: when it began, and until when it is kept, longer than its token is valid. */
  begunMs: z.number(),
  untilMs: z.number(),
});

export interface SignIn extends Readonly<z.infer<typeof dataSchema>> {
  readonly id: string;
  readonly revision: number;
}

/** A sign-in that has ended, for the workers that have its people. */
const endedSchema = z.object({
  id: z.string(),
  /** Counted, and in the log. `signed out`: by the operator whose it was. */
  cause: z.enum(["refused", "not allowed", "unconfirmed", "provider", "operator", "signed out"]),
  /** What its people are shown. */
  message: z.string(),
  /** Wall time in ms until which its id stays revoked. */
  untilMs: z.number(),
  /** Whose it was, if that was known. */
  user: dataSchema.shape.user.optional(),
  /** The operator who has ended it. */
  by: senderSchema.optional(),
});
export type EndedSignIn = Readonly<z.infer<typeof endedSchema>>;
/** Why a sign-in has ended. */
export type EndCause = EndedSignIn["cause"];

const STREAM = "ended-sign-ins";

export function toStored({ id, revision, ...data }: SignIn): StoredSignIn {
  const { user, issuer, providerSession } = data;
  const keys = [
    userKey(user.id),
    nameKey(user.name),
    ...(user.email === undefined ? [] : [emailKey(user.email)]),
    ...(providerSession === undefined ? [] : [providerSessionKey(issuer, providerSession)]),
  ];
  return { id, revision, keys, data };
}

/** Undefined: another version has written it, or another program. */
export function fromStored({ id, revision, data }: StoredSignIn): SignIn | undefined {
  const parsed = dataSchema.safeParse(data).data;
  return parsed && { id, revision, ...parsed };
}

// --- keys ---

/** Hashed: a key is short, and a name or an id may be anything. */
function keyOf(kind: string, ...parts: readonly string[]): string {
  const digest = createHash("sha256").update(parts.join("\n")).digest("base64url");
  return `${kind}:${digest}`;
}

export function userKey(id: string): string {
  return keyOf("user", id);
}

export function emailKey(email: string): string {
  return keyOf("email", email.toLowerCase());
}

export function nameKey(name: string): string {
  return keyOf("name", name);
}

export function providerSessionKey(issuer: string, session: string): string {
  return keyOf("session", issuer, session);
}

/** Those with one of these keys. Rejects with `StoreAwayError`. */
export async function findSignIns(
  store: Pick<Store, "findSignIns">,
  keys: readonly string[],
): Promise<readonly SignIn[]> {
  const found = await Promise.all(keys.map((key) => store.findSignIns({ key })));
  const byId = new Map<string, SignIn>();
  for (const stored of found.flat()) {
    const signIn = fromStored(stored);
    if (signIn !== undefined) byId.set(signIn.id, signIn);
  }
  return [...byId.values()];
}

// --- the end ---

export interface EndingSignIn extends Pick<SignIn, "id" | "untilMs"> {
  /** Whose it is, if that is known. */
  readonly user?: SignIn["user"] | undefined;
}

/**
 * Ends a sign-in: its tokens are no longer accepted, and its people are disconnected by their workers. Rejects with
 * `StoreAwayError`; then call it again. `by`: the operator who ends it.
 */
export async function endSignIn(
  store: Pick<Store, "endSignIn" | "appendToStream">,
  { id, untilMs, user }: EndingSignIn,
  cause: EndCause,
  message: string,
  by?: Sender,
): Promise<void> {
  const ended: EndedSignIn = {
    ...{ id, cause, message, untilMs },
    ...(user !== undefined && { user }),
    ...(by !== undefined && { by }),
  };
  // First: if this process dies in between, a check ends the sign-in again. A store whose memory is full refuses it, but not the
  // rest: workers find out when they look for the sign-in (ended-sign-ins.ts).
  const told = await store.appendToStream(STREAM, [JSON.stringify(ended)]).then(
    () => undefined,
    (error: unknown) => ({ error }),
  );
  await store.endSignIn(id, untilMs);
  if (told !== undefined) throw told.error;
}

/** Those that have ended since `after`, or the newest. Rejects with `StoreAwayError`. */
export async function readEnded(
  store: Pick<Store, "readStream">,
  after: string | undefined,
  limit: number,
): Promise<{ readonly ended: readonly EndedSignIn[]; readonly last: string | undefined }> {
  const query = { limit, ...(after !== undefined && { after }) };
  const entries = await store.readStream(STREAM, query);
  const ended = entries.flatMap(({ text }) => readJson(endedSchema, text) ?? []);
  return { ended, last: entries.at(-1)?.id ?? after };
}

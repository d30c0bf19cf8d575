/**
 * Sign-ins under way: a client begins one and polls for it, and a form that a user or program submits to any worker completes
 * it. They are tickets in the store. A ticket records the user; the token is signed only when it is sent, so that the store
 * never contains one.
 */
import { z } from "zod";
import type { Clock } from "../../shared/base/clock.ts";
import { randomAlphanumerics } from "../../shared/base/ids.ts";
import { taggedId, type WorkerTag } from "../../shared/base/worker-tag.ts";
import type { Store, UserRecord } from "../../shared/store/store.ts";
import { userRecordSchema } from "../../shared/store/user-record.ts";
import type { SignInForm, SignInWay } from "./form-provider.ts";

export type SignIns = ReturnType<typeof createSignIns>;

/** The client that began a sign-in, for the person who completes it. */
export interface Asker {
  /** What the client says of itself. */
  readonly client: string;
  readonly address: string;
  /** Wall time in ms. */
  readonly atMs: number;
}

/** As in the protocol's own server: the time limit for the user to submit the form. */
const SIGN_IN_MS = 300_000;
const USER_ID_CHARS = 24;
/** Sign-ins remembered in case the store loses them: about 1 MB. In a flood the oldest are forgotten. */
const MAX_PENDING = 10_000;

export function createSignIns(deps: {
  readonly store: Pick<Store, "putTicket" | "readTicket" | "answerTicket" | "dropTicket">;
  readonly tag: WorkerTag;
  readonly clock: Pick<Clock, "nowMs">;
}) {
  const { store, tag, clock } = deps;
  /** The sign-ins that began here, oldest first. */
  const pending = new Map<string, { readonly endMs: number; readonly asked: Asker }>();

  function put(token: string, asked: Asker, ttlMs: number): Promise<void> {
    return store.putTicket({ kind: "login", token, question: asked, ttlMs });
  }

  /**
   * Restores one that began here and that the store has lost. `false`: it did not begin here, has ended or has expired.
   * Rejects with `StoreAwayError`.
   */
  async function putBack(token: string): Promise<boolean> {
    const entry = pending.get(token);
    const leftMs = (entry?.endMs ?? 0) - clock.nowMs();
    if (entry === undefined || leftMs <= 0) return false;
    await put(token, entry.asked, leftMs);
    return true;
  }

  /** As `finish`, for a user whom an identity provider has signed in. */
  async function finishAs(token: string, user: UserRecord): Promise<"done" | "answered" | "gone"> {
    const outcome = await store.answerTicket("login", token, user);
    if (outcome !== "gone" || !(await putBack(token))) return outcome;
    return store.answerTicket("login", token, user);
  }

  return {
    /** Begins one. Its token starts with this worker's tag, so that polls come here. Rejects with `StoreAwayError`. */
    async begin(asked: Asker): Promise<string> {
      const token = taggedId(tag);
      await put(token, asked, SIGN_IN_MS);
      pending.set(token, { endMs: clock.nowMs() + SIGN_IN_MS, asked });
      for (const [oldest, { endMs }] of pending) {
        if (pending.size <= MAX_PENDING && clock.nowMs() < endMs) break;
        pending.delete(oldest);
      }
      return token;
    },
    /** Who began one that waits for its user; undefined when there is none, or it is complete. Rejects with `StoreAwayError`. */
    async askerOf(token: string): Promise<Asker | undefined> {
      const ticket = await store.readTicket("login", token);
      if (ticket?.state === "answered") return undefined;
      return ticket === undefined
        ? pending.get(token)?.asked
        : // A worker of the version before does not tell.
          (askerSchema.safeParse(ticket.question).data ?? UNKNOWN);
    },
    /**
     * Completes one. `gone`: it has expired, has ended or never existed. `answered`: an earlier form completed it (the button was
     * pressed twice). Rejects with `StoreAwayError`.
     */
    async finish(
      way: SignInWay,
      form: Extract<SignInForm, { outcome: "accepted" }>,
    ): Promise<{ readonly outcome: "done" | "answered" | "gone"; readonly user: UserRecord }> {
      const id = randomAlphanumerics(USER_ID_CHARS);
      const user = { id, ...form.user, authProvider: way.authProvider };
      return { user, outcome: await finishAs(form.token, user) };
    },
    finishAs,
    /** Removes one whose token was sent. Rejects with `StoreAwayError`. */
    async end(token: string): Promise<void> {
      pending.delete(token);
      await store.dropTicket("login", token);
    },
    putBack,
  };
}

/** The user in a ticket's answer. Throws when it is malformed. */
export function readSignedIn(answer: unknown): UserRecord {
  return userRecordSchema.parse(answer);
}

const UNKNOWN: Asker = { client: "", address: "", atMs: 0 };
const askerSchema = z.object({ client: z.string(), address: z.string(), atMs: z.number() });

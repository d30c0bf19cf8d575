/**
 * Sign-ins under way: begun by a client, finished by a form that a person or program sends to any worker, and picked up
 * by the client, which polls for it. They are tickets in the store; a ticket says who signed in, and the token is signed
 * only when it is handed out, so that the store never holds one.
 */
import { z } from "zod";
import type { Clock } from "../../shared/base/clock.ts";
import { randomAlphanumerics } from "../../shared/base/ids.ts";
import { taggedId, type WorkerTag } from "../../shared/base/tag.ts";
import type { Store, UserRecord } from "../../shared/store/store.ts";
import type { SignInForm, SignInWay } from "./form-provider.ts";

export interface SignIns {
  /** Begins one. The token begins with this worker's tag, so that polls come here. Rejects with `StoreAwayError`. */
  begin(): Promise<string>;
  /**
   * Finishes one. `gone`: it expired, was picked up, or never was. `answered`: another form came first, which counts (a
   * button that was pressed twice). Rejects with `StoreAwayError`.
   */
  finish(
    way: SignInWay,
    form: Extract<SignInForm, { outcome: "accepted" }>,
  ): Promise<"done" | "answered" | "gone">;
  /** Ends one that was picked up. Rejects with `StoreAwayError`. */
  end(token: string): Promise<void>;
  /**
   * Puts one back that began here and that the store has lost. `false`: it did not begin here, has ended, or its time is
   * over. Rejects with `StoreAwayError`.
   */
  putBack(token: string): Promise<boolean>;
}

/** As in the protocol's own server: a person has so long to find and fill the form. */
const SIGN_IN_MS = 300_000;
const USER_ID_CHARS = 24;
/** Sign-ins that are remembered in case the store loses them: about 1 MB. In a flood the oldest are forgotten. */
const MAX_PENDING = 10_000;

export function createSignIns(needs: {
  readonly store: Pick<Store, "putTicket" | "answerTicket" | "dropTicket">;
  readonly tag: WorkerTag;
  readonly clock: Pick<Clock, "nowMs">;
}): SignIns {
  const { store, tag, clock } = needs;
  /** When those that began here end, oldest first. */
  const pending = new Map<string, number>();

  function put(token: string, ttlMs: number): Promise<void> {
    return store.putTicket({ kind: "login", token, question: null, ttlMs });
  }

  async function putBack(token: string): Promise<boolean> {
    const leftMs = (pending.get(token) ?? 0) - clock.nowMs();
    if (leftMs <= 0) return false;
    await put(token, leftMs);
    return true;
  }

  return {
    async begin() {
      const token = taggedId(tag);
      await put(token, SIGN_IN_MS);
      pending.set(token, clock.nowMs() + SIGN_IN_MS);
      for (const [oldest, endMs] of pending) {
        if (pending.size <= MAX_PENDING && clock.nowMs() < endMs) break;
        pending.delete(oldest);
      }
      return token;
    },
    async finish(way, form) {
      const user: UserRecord = {
        id: randomAlphanumerics(USER_ID_CHARS),
        ...form.user,
        authProvider: way.authProvider,
      };
      const outcome = await store.answerTicket("login", form.token, user);
      if (outcome !== "gone" || !(await putBack(form.token))) return outcome;
      return store.answerTicket("login", form.token, user);
    },
    async end(token) {
      pending.delete(token);
      await store.dropTicket("login", token);
    },
    putBack,
  };
}

/** Who signed in, as the answer of a ticket says. Throws when it is not one of ours. */
export function readSignedIn(answer: unknown): UserRecord {
  return userSchema.parse(answer);
}

const text = z.string().min(1).max(1024);
const userSchema = z.object({
  id: text,
  name: text,
  email: text.exactOptional(),
  authProvider: text,
});

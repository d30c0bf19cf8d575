/**
 * Sign-ins whose user is at an identity provider. What binds the provider's response to its request is in the store, so that any
 * worker can finish what another has begun; the browser has half of it, in a cookie.
 */
import { createHash } from "node:crypto";
import { z } from "zod";
import { taggedId, type WorkerTag } from "../../../shared/base/worker-tag.ts";
import type { Store } from "../../../shared/store/store.ts";
import { isSignInToken } from "../form-provider.ts";
import type { ProviderClient } from "./provider-client.ts";

export interface WebSignIn {
  /** The provider's id. */
  readonly provider: string;
  /** Who signs in: the person of a client that polls, or an operator, for the dashboard. */
  readonly purpose: "client" | "operator";
  /** Of the sign-in that a client polls for; empty for an operator. */
  readonly token: string;
  readonly redirectUri: string;
  /** Where the browser goes afterwards; empty: nowhere. */
  readonly redirect: string;
}

/** What came back from the provider. */
export interface Returned {
  readonly state: string;
  /** The value of the browser's cookie. */
  readonly browser: string | undefined;
}

export type WebSignIns = ReturnType<typeof createWebSignIns>;

export interface Taken extends WebSignIn {
  readonly state: string;
  readonly verifier: string;
  readonly nonce: string;
}

/** People look for their password, and for the second factor. */
const WEB_SIGN_IN_MS = 600_000;

export function createWebSignIns(deps: {
  readonly store: Pick<Store, "putTicket" | "readTicket" | "answerTicket">;
  readonly tag: WorkerTag;
}) {
  const { store, tag } = deps;
  return {
    /** Resolves with where the browser goes. Rejects with `StoreAwayError` and `ProviderError`. */
    async begin(
      client: ProviderClient,
      {
        purpose,
        token,
        redirectUri,
        redirect,
        browser,
      }: Omit<WebSignIn, "provider"> & { readonly browser: string },
    ): Promise<string> {
      const { randomNonce, randomPKCECodeVerifier } = await import("openid-client");
      const state = taggedId(tag);
      const begun = { verifier: randomPKCECodeVerifier(), nonce: randomNonce() };
      // First: a provider that does not respond costs nobody a ticket.
      const url = await client.begin({ ...begun, redirectUri, state });
      const question: z.infer<typeof questionSchema> = {
        ...begun,
        provider: client.provider.id,
        purpose,
        token,
        redirectUri,
        redirect,
        browser: digest(browser),
      };
      await store.putTicket({ kind: "web-login", token: state, question, ttlMs: WEB_SIGN_IN_MS });
      return url;
    },
    /**
     * The sign-in that a browser comes back with; once only. `gone`: none, or it took too long. `used`: it has come back before.
     * `foreign`: another browser has begun it. Rejects with `StoreAwayError`.
     */
    async take({ state, browser }: Returned): Promise<Taken | "gone" | "used" | "foreign"> {
      if (!isSignInToken(state)) return "gone";
      const ticket = await store.readTicket("web-login", state);
      const question = questionSchema.safeParse(ticket?.question).data;
      if (ticket === undefined || question === undefined) return "gone";
      // Before it is used: another browser that knows the state must not use it up.
      if (browser === undefined || digest(browser) !== question.browser) return "foreign";
      const outcome = await store.answerTicket("web-login", state, true);
      if (outcome !== "done") return outcome === "gone" ? "gone" : "used";
      return { ...question, state };
    },
  };
}

const questionSchema = z.object({
  provider: z.string(),
  // A worker of the version before does not tell.
  purpose: z.enum(["client", "operator"]).default("client"),
  token: z.string(),
  redirectUri: z.string(),
  redirect: z.string(),
  verifier: z.string(),
  nonce: z.string(),
  browser: z.string(),
});

function digest(text: string): string {
  return createHash("sha256").update(text).digest("base64url");
}

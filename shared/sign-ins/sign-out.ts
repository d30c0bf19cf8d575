/** Sign-ins that an operator ends. */
import type { Sender } from "../control/command.ts";
import type { Store } from "../store/store.ts";
import { type EndingSignIn, endSignIn } from "./sign-in.ts";

const MESSAGE = "An operator of this server has ended your sign-in. You can sign in again.";

/** Resolves with what happened, for the operator. Rejects with `StoreAwayError`. */
export async function signOutByOperator(
  store: Pick<Store, "endSignIn" | "appendToStream">,
  signIns: readonly EndingSignIn[],
  by: Sender,
): Promise<string> {
  for (const signIn of signIns) await endSignIn(store, signIn, "operator", MESSAGE, by);
  const sum = signIns.length === 1 ? "1 sign-in has" : `${signIns.length} sign-ins have`;
  return `${sum} ended; the person is out of all sessions within 5 s, and may sign in again`;
}

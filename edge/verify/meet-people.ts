/** Signs in, opens sessions, and notes what became of them. */
import { keyPerWorker } from "./judge/stickiness.ts";
import { playLargeBody, playSession, type SessionDeps } from "./people/sessions.ts";
import { finishSignIn, signIn, signOut } from "./people/sign-in.ts";
import type { KeyedHandshakes } from "./probes/stickiness.ts";
import type { Run } from "./run-options.ts";

/** `signal` ends it early; what was begun is completed. Without a sign-in nothing else is there. Never rejects. */
export async function meetPeople(
  run: Run,
  signal: AbortSignal,
  seen: { readonly keyed: readonly KeyedHandshakes[]; readonly upgrades: boolean },
) {
  const { patient, patience, target, cleanup } = run;
  run.onProgress("signing in");
  const { baseUrl } = target;
  const { credentials } = run;
  const onAbandoned = (token: string): void =>
    cleanup.add(() => finishSignIn(patient, token, credentials));
  const answer = await signIn(
    { http: patient, baseUrl, signal: patience, onAbandoned },
    credentials,
  );
  if (answer.outcome !== "signed in") return { signIn: answer };
  const { token, by } = answer;
  // A token that was given stays valid.
  if (by !== "token") cleanup.add(() => signOut(patient, token));
  const deps: SessionDeps = {
    ...{ http: patient, userToken: token, signal, patience, upgrades: seen.upgrades },
    onCleanup: (undo) => cleanup.add(undo),
  };
  run.onProgress("opening sessions");
  const first = await playSession(target.baseUrl, deps);
  const keys = keyPerWorker(seen.keyed);
  const own = first.outcome === "done" ? first.tag : undefined;
  const [other] = [...keys].filter(([tag]) => tag !== own);
  const key = other?.[1] ?? [...keys.values()][0];
  const [second, file] = await Promise.all([
    playSession(key === undefined ? target.baseUrl : `${target.baseUrl}/k/${key}`, deps),
    playLargeBody(target.baseUrl, deps),
  ]);
  return { signIn: answer, userToken: token, first, second, file };
}

/** A worker under policies that the test changes, and people who have signed in at it in every way. */
import { createDecider } from "../../../shared/policy/decide.ts";
import { parsePolicy } from "../../../shared/policy/parse-policy.ts";
import type { ReadPolicy } from "../../../shared/policy/policy-file.ts";
import { toStored } from "../../../shared/sign-ins/sign-in.ts";
import type { UserRecord } from "../../../shared/store/store.ts";
import { PEOPLE, type Who } from "../../support/policy-cases.ts";
import { startWorker, type Worker, type WorkerOptions } from "../api/fixture.ts";
import type { RawPeer } from "../sessions/raw-peer.ts";

const LABEL = "Company account";
const OPEN = "{version: 1, otherwise: {host: allow, join: allow}, rules: [{name: a, host: allow}]}";

export interface PolicyWorker {
  readonly worker: Worker;
  /** Another policy is in force at once. */
  readonly use: (text: string) => void;
  /** As its tokens name somebody. */
  readonly userOf: (who: Who) => Promise<UserRecord>;
  /** A user token. */
  readonly tokenOf: (who: Who) => Promise<string>;
  /** Opens a session, while everybody may; its host accepts everyone. */
  readonly openRoom: (who: Who) => Promise<{ readonly roomId: string; readonly host: RawPeer }>;
}

export async function startPolicyWorker(options: WorkerOptions = {}): Promise<PolicyWorker> {
  let current = read(OPEN);
  const worker = await startWorker({
    ...options,
    policy: {
      get current() {
        return current;
      },
    },
    loginApiKey: "ci:the-key-of-ci-the-key,agent:the-key-of-agent-the-key",
    identityProviders: [{ provider: { id: "company", label: LABEL } }] as never,
  });

  async function userOf(who: Who): Promise<UserRecord> {
    const kind = PEOPLE[who];
    const id = `id-of-${who}`;
    if (kind === "name") return { id, name: who, authProvider: "Unverified" };
    if (kind === "API key") return { id, name: who, authProvider: "API Key" };
    const { email, groups } = kind;
    const user: UserRecord = { id, name: who, ...(email !== undefined && { email }) };
    const signIn = `sign-in-of-${who}`;
    const untilMs = Date.now() + 3_600_000;
    const record = {
      ...{ id: signIn, revision: 1, provider: "company", issuer: "https://id.example" },
      ...{ subject: who, user, begunMs: Date.now(), untilMs },
      ...(groups !== undefined && { groups: [...groups] }),
    };
    await worker.store.putSignIn({ ...toStored(record), ttlMs: 3_600_000 });
    return { ...user, authProvider: LABEL, signIn };
  }

  const tokenOf = async (who: Who): Promise<string> => worker.tokens.signUser(await userOf(who));

  return {
    worker,
    userOf,
    tokenOf,
    use(text) {
      current = read(text);
    },
    async openRoom(who) {
      const { sessionId, host } = await worker.openSession(await tokenOf(who));
      host.socket.on("message", () => {
        for (const message of host.received.splice(0)) {
          if (message.kind === "request") host.decide(message, true);
        }
      });
      return { roomId: sessionId, host };
    },
  };
}

function read(text: string): ReadPolicy {
  const parsed = parsePolicy(text);
  if (parsed.outcome === "invalid") throw new Error(parsed.problems.join("; "));
  const { policy, prefixes } = parsed;
  return { policy, decider: createDecider(policy, prefixes), digest: "" };
}

/** Forty cases of policies, each with an unmodified client of the protocol's package, and what it shows its user. */
import { ConnectionProvider, SocketIoTransportProvider } from "open-collaboration-protocol";
import { beforeEach, describe, expect, test } from "vitest";
import { createDecider } from "../../../shared/policy/decide.ts";
import { parsePolicy } from "../../../shared/policy/parse-policy.ts";
import type { ReadPolicy } from "../../../shared/policy/policy-file.ts";
import { toStored } from "../../../shared/sign-ins/sign-in.ts";
import type { UserRecord } from "../../../shared/store/store.ts";
import { initializeProtocolWithPooledKeys } from "../../support/rsa-keys.ts";
import { startWorker, type Worker } from "../api/fixture.ts";

initializeProtocolWithPooledKeys();

type Who = keyof typeof PEOPLE;

/** `groups` undefined: the provider has not told them. */
const PEOPLE = {
  ada: { email: "ada@example.com", groups: ["staff", "leads"] },
  bob: { email: "bob@dev.example.com", groups: ["contractors"] },
  eve: { email: "eve@elsewhere.example", groups: [] },
  untold: { email: "untold@example.com", groups: undefined },
  unverified: { email: undefined, groups: ["staff"] },
  markup: { email: "m@example.com", groups: ["<b>staff</b>", "staff,ops"] },
  named: "name",
  ci: "API key",
  agent: "API key",
} as const;

const LABEL = "Company account";
const CONTACT = "Contact your administrator.";
const NO_EMAIL = "you have no verified email address";
const NO_GROUPS = "no identity provider has sent your groups";

interface Case {
  /** Rules, and what is said for everything else: denied, unless it says so. */
  readonly rules: string;
  readonly otherwise?: "allow";
  /** Who hosts, or who joins whom. */
  readonly who: Who;
  readonly of?: Who;
  /** A part of what the person is shown; undefined: it may. */
  readonly refusal?: string;
}

const CASES: readonly Case[] = [
  // Hosting, by each kind of condition.
  { rules: "{ name: a, host: allow }", who: "named" },
  { rules: "{ name: a, join: allow }", who: "ada", refusal: CONTACT },
  { rules: "{ name: a, who: { domains: [example.com] }, host: allow }", who: "ada" },
  {
    rules: "{ name: a, who: { domains: [example.com] }, host: allow }",
    who: "bob",
    refusal: CONTACT,
  },
  { rules: '{ name: a, who: { domains: ["*.example.com"] }, host: allow }', who: "bob" },
  {
    rules: '{ name: a, who: { domains: ["*.example.com"] }, host: allow }',
    who: "ada",
    refusal: CONTACT,
  },
  { rules: "{ name: a, who: { domains: [EXAMPLE.com] }, host: allow }", who: "ada" },
  {
    rules: "{ name: a, who: { domains: [example.com] }, host: allow }",
    who: "named",
    refusal: NO_EMAIL,
  },
  {
    rules: "{ name: a, who: { domains: [example.com] }, host: allow }",
    who: "unverified",
    refusal: NO_EMAIL,
  },
  {
    rules: "{ name: a, who: { domains: [example.com] }, host: allow }",
    who: "ci",
    refusal: CONTACT,
  },
  { rules: "{ name: a, who: { groups: [staff] }, host: allow }", who: "ada" },
  { rules: "{ name: a, who: { groups: [staff] }, host: allow }", who: "bob", refusal: CONTACT },
  {
    rules: "{ name: a, who: { groups: [staff] }, host: allow }",
    who: "untold",
    refusal: NO_GROUPS,
  },
  { rules: "{ name: a, who: { groups: [staff] }, host: allow }", who: "unverified" },
  { rules: "{ name: a, who: { groups: [staff] }, host: allow }", who: "markup", refusal: CONTACT },
  { rules: '{ name: a, who: { groups: ["<b>staff</b>"] }, host: allow }', who: "markup" },
  { rules: '{ name: a, who: { groups: ["staff,ops"] }, host: allow }', who: "markup" },
  { rules: "{ name: a, who: { users: [Ada@Example.com] }, host: allow }", who: "ada" },
  { rules: "{ name: a, who: { users: [id-of-bob] }, host: allow }", who: "bob" },
  { rules: "{ name: a, who: { users: [id-of-bob] }, host: allow }", who: "eve", refusal: CONTACT },
  { rules: "{ name: a, who: { apiKeys: [ci] }, host: allow }", who: "ci" },
  { rules: "{ name: a, who: { apiKeys: [ci] }, host: allow }", who: "agent", refusal: CONTACT },
  { rules: '{ name: a, who: { apiKeys: ["*"] }, host: allow }', who: "agent" },
  { rules: '{ name: a, who: { apiKeys: ["*"] }, host: allow }', who: "named", refusal: CONTACT },
  { rules: "{ name: a, who: { networks: [127.0.0.0/8] }, host: allow }", who: "eve" },
  {
    rules: "{ name: a, who: { networks: [10.0.0.0/8] }, host: allow }",
    who: "eve",
    refusal: CONTACT,
  },
  {
    rules: "{ name: a, who: { groups: [staff], domains: [example.com] }, host: allow }",
    who: "ada",
  },
  {
    rules: "{ name: a, who: { groups: [leads], domains: [elsewhere.example] }, host: allow }",
    who: "ada",
    refusal: CONTACT,
  },
  // The order of rules, and reasons.
  {
    rules:
      "{ name: a, who: { groups: [staff] }, host: deny, reason: Not today. }, { name: b, host: allow }",
    who: "ada",
    refusal: "Not today.",
  },
  {
    rules:
      "{ name: a, who: { groups: [leads] }, host: allow }, { name: b, who: { groups: [staff] }, host: deny }",
    who: "ada",
  },
  {
    rules: "{ name: a, who: { domains: [rival.example] }, host: deny }",
    otherwise: "allow",
    who: "eve",
  },
  {
    rules: "{ name: a, who: { domains: [rival.example] }, host: deny }",
    otherwise: "allow",
    who: "named",
    refusal: NO_EMAIL,
  },
  // Joining, by guest and by host.
  { rules: "{ name: a, join: allow }", who: "named", of: "ada" },
  { rules: "{ name: a, host: allow }", who: "ada", of: "bob", refusal: CONTACT },
  { rules: "{ name: a, hosts: { groups: [staff] }, join: allow }", who: "eve", of: "ada" },
  {
    rules: "{ name: a, hosts: { groups: [staff] }, join: allow }",
    who: "eve",
    of: "bob",
    refusal: CONTACT,
  },
  {
    rules:
      '{ name: a, who: { apiKeys: ["*"] }, hosts: { domains: [example.com] }, join: deny, reason: No agents here. }',
    otherwise: "allow",
    who: "ci",
    of: "ada",
    refusal: "No agents here.",
  },
  {
    rules:
      '{ name: a, who: { apiKeys: ["*"] }, hosts: { domains: [example.com] }, join: deny, reason: No agents here. }',
    otherwise: "allow",
    who: "ci",
    of: "bob",
  },
  {
    rules: "{ name: a, guests: 0 }",
    otherwise: "allow",
    who: "eve",
    of: "ada",
    refusal: "The session is full",
  },
  {
    rules: "{ name: a, who: { groups: [contractors] }, join: deny, reason: Ask first. }",
    otherwise: "allow",
    who: "bob",
    of: "eve",
    refusal: "Ask first.",
  },
];

let worker: Worker;
let current: ReadPolicy;

function use(text: string): void {
  const parsed = parsePolicy(text);
  if (parsed.outcome === "invalid") throw new Error(parsed.problems.join("; "));
  const { policy, prefixes } = parsed;
  current = { policy, decider: createDecider(policy, prefixes), digest: "" };
}

async function tokenOf(who: Who): Promise<string> {
  const kind = PEOPLE[who];
  const id = `id-of-${who}`;
  if (kind === "name") return worker.tokens.signUser({ id, name: who, authProvider: "Unverified" });
  if (kind === "API key") return worker.tokens.signUser({ id, name: who, authProvider: "API Key" });
  const { email, groups } = kind;
  const user: UserRecord = { id, name: who, ...(email !== undefined && { email }) };
  const signIn = `sign-in-of-${who}`;
  const untilMs = Date.now() + 3_600_000;
  const record = {
    ...{ id: signIn, revision: 1, provider: "company", issuer: "https://id.example", subject: who },
    ...{ user, begunMs: Date.now(), untilMs },
    ...(groups !== undefined && { groups: [...groups] }),
  };
  await worker.store.putSignIn({ ...toStored(record), ttlMs: 3_600_000 });
  return worker.tokens.signUser({ ...user, authProvider: LABEL, signIn });
}

beforeEach(async () => {
  use("{version: 1, otherwise: {host: allow, join: allow}, rules: [{name: a, host: allow}]}");
  worker = await startWorker({
    policy: {
      get current() {
        return current;
      },
    },
    loginApiKey: "ci:the-key-of-ci-the-key,agent:the-key-of-agent-the-key",
    identityProviders: [{ provider: { id: "company", label: LABEL } }] as never,
  });
});

/** Opens a session, while everybody may; resolves with its id. */
async function openRoom(who: Who): Promise<string> {
  const { sessionId, host } = await worker.openSession(await tokenOf(who));
  host.socket.on("message", () => {
    for (const message of host.received.splice(0)) {
      if (message.kind === "request") host.decide(message, true);
    }
  });
  return sessionId;
}

async function clientOf(who: Who): Promise<ConnectionProvider> {
  return new ConnectionProvider({
    url: worker.url,
    client: "case@1.0.0",
    userToken: await tokenOf(who),
    fetch: (url, options) => fetch(url, options as RequestInit) as never,
    authenticationHandler: async () => false,
    transports: [SocketIoTransportProvider],
  });
}

describe("forty cases", () => {
  test.each(CASES.map((one, index) => ({ ...one, number: index + 1 })))(
    "$number: $who, of $of, by $rules",
    async ({ rules, otherwise = "deny", who, of, refusal }) => {
      const roomId = of === undefined ? "" : await openRoom(of);
      use(`version: 1\notherwise: { host: ${otherwise}, join: ${otherwise} }\nrules: [${rules}]\n`);
      const client = await clientOf(who);
      const act = (): Promise<unknown> =>
        of === undefined ? client.createRoom({}) : client.joinRoom({ roomId });
      if (refusal === undefined)
        expect(await act()).toMatchObject({ roomToken: expect.any(String) });
      else await expect(act()).rejects.toThrow(refusal);
    },
  );

  test("are forty", () => expect(CASES).toHaveLength(40));
});

test("people who come in without a question cannot flood the host with guests who never come", async () => {
  const roomId = await openRoom("ada");
  use(
    "{version: 1, otherwise: {host: deny, join: deny}, rules: [{name: a, join: without-asking}]}",
  );
  const client = await clientOf("eve");
  // The host is asked about the first one.
  for (let count = 0; count < 6; count++) await client.joinRoom({ roomId });
  await expect(client.joinRoom({ roomId })).rejects.toThrow("The session is full");
});

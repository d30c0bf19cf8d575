/** Operators who sign in to the dashboard at an identity provider, and programs with tokens. */
import { expect, test } from "vitest";
import { systemClock } from "../../../shared/base/clock.ts";
import { identityProviders } from "../../../shared/settings/identity-providers.ts";
import { createOutboundFetch } from "../../../worker/http/outbound-fetch.ts";
import { createProviderClient } from "../../../worker/login/identity/provider-client.ts";
import { providerSettings } from "../../shared/settings/provider-settings.ts";
import { startStore } from "../../support/embedded-store.ts";
import { type Front, startFront } from "../../support/front.ts";
import {
  type Account,
  CLIENT,
  startIdentityProvider,
  TestBrowser,
  type TestProvider,
} from "../../support/identity-provider.ts";
import { startWorker, type Worker, type WorkerOptions } from "./fixture.ts";

const YES = { name: "answer", value: "yes" };
const ROLES = { view: ["staff"], operate: ["ops"], admin: ["owners"] };
const TOKEN = "a-token-for-programs-in-tests-only";
const DRAINER = "a-token-for-a-program-that-only-drains";
const ACCOUNT: Account = { sub: "1", name: "Ada Lovelace", groups: ["staff"] };

let front: Front;
let provider: TestProvider;
let worker: Worker;
let other: Worker;

/** `groups`: of the operator who signs in. */
async function start(groups: unknown = ["staff"]): Promise<void> {
  front = await startFront(1);
  const account = { ...ACCOUNT, groups };
  provider = await startIdentityProvider([`${front.url}/api/login/oidc-callback`], account);
  const providers = identityProviders(
    providerSettings({
      oidcIssuer: provider.issuer,
      oidcClientId: CLIENT.id,
      oidcClientSecret: CLIENT.secret,
      oidcLabel: "Example ID",
      oidcScopes: ["openid", "profile", "groups"],
      // Of people who edit: operators need not be among them.
      oidcGroups: ["editors"],
    }),
  );
  if (typeof providers === "string") throw new Error(providers);
  const fetch = createOutboundFetch({ proxy: undefined, authority: undefined });
  const store = await startStore();
  const options = {
    store,
    serverUrl: front.url,
    identityProviders: providers.map((one) =>
      createProviderClient(one, { fetch, clock: systemClock }),
    ),
    operatorRoles: ROLES,
    operatorTokens: [
      { name: "ci", scopes: ["read", "drain"], token: TOKEN },
      { name: "drainer", scopes: ["drain"], token: DRAINER },
    ],
  } satisfies WorkerOptions;
  worker = await startWorker({ ...options, id: "worker-1" });
  other = await startWorker({ ...options, id: "worker-2" });
  front.leadTo(worker.port);
}

/** Follows the dashboard's address as a browser does. */
async function signIn(browser = new TestBrowser()) {
  const asked = await browser.open(`${front.url}/dashboard/`);
  expect(asked.url).toBe(`${front.url}/dashboard/sign-in`);
  expect(asked.text).toContain("Sign in with Example ID");
  return { browser, asked, page: await browser.submit(asked, YES) };
}

const COMMANDS = [
  ["workers/worker-9/drain", "drain"],
  ["sessions/abcdefgh/end", "sessions"],
  ["sessions/abcdefgh/lock", "sessions"],
  ["sessions/abcdefgh/peers/p/remove", "sessions"],
  ["sessions/abcdefgh/peers/p/sign-out", "sessions"],
] as const;

async function operatorOf(browser: TestBrowser): Promise<unknown> {
  const { text } = await browser.open(`${front.url}/dashboard/api/operator`);
  return JSON.parse(text);
}

test.each([
  [["staff"], ["read"]],
  [
    ["staff", "ops"],
    ["read", "drain"],
  ],
  [["owners"], ["read", "drain", "sessions"]],
])("an operator of the groups %j may %j", async (groups, permissions) => {
  await start(groups);
  const { browser, page } = await signIn();
  expect(page.url).toBe(`${front.url}/dashboard/`);
  expect(await operatorOf(browser)).toEqual({
    name: "Ada Lovelace",
    permissions,
    maySignOut: true,
  });
  const cookie = browser.cookiesOf(front.url);
  for (const [path, permission] of COMMANDS) {
    const headers = { cookie, "x-dashboard-request": "1", "sec-fetch-site": "same-origin" };
    const { status, body } = await worker.ask("POST", `/dashboard/api/${path}`, { headers });
    if (permissions.includes(permission)) expect(status).toBe(404);
    else
      expect({ status, body }).toMatchObject({
        status: 403,
        body: expect.stringContaining(`"${permission}"`),
      });
  }
  expect(worker.counters.value("worker.operator_logins")).toBe(1);
});

test.each<[what: string, groups: unknown, reason: RegExp]>([
  ["in other groups", ["editors"], /in no group that may see the dashboard/],
  ["without groups", null, /did not send your groups/],
  ["with groups of another shape", { staff: true }, /did not send your groups/],
])("somebody %s is refused as an operator", async (_what, groups, reason) => {
  await start(groups);
  const { browser, page } = await signIn();
  expect(page.status).toBe(403);
  expect(page.text).toMatch(reason);
  expect((await browser.open(`${front.url}/dashboard/`)).url).toContain("/dashboard/sign-in");
});

test("an operator who signs out at one worker is signed out at all of them", async () => {
  await start();
  const { browser } = await signIn();
  const cookie = browser.cookiesOf(front.url);
  const headers = { cookie, "x-dashboard-request": "1" };
  const { status } = await worker.ask("POST", "/dashboard/api/sign-out", { headers });
  expect(status).toBe(200);
  // A copy of the cookie is of no use either.
  for (const one of [worker, other]) {
    const later = await one.ask("GET", "/dashboard/api/overview", { headers: { cookie } });
    expect(later.status).toBe(401);
  }
});

test("the page of another site can neither send a command nor begin a sign-in", async () => {
  await start(["owners"]);
  const { browser, asked } = await signIn();
  const cookie = browser.cookiesOf(front.url);
  for (const headers of [
    { cookie, "sec-fetch-site": "cross-site", "x-dashboard-request": "1" },
    { cookie, origin: "https://evil.example", "x-dashboard-request": "1" },
    { cookie },
  ]) {
    const path = "/dashboard/api/sessions/abcdefgh/end";
    expect([401, 403]).toContain((await worker.ask("POST", path, { headers })).status);
  }
  const forged = { ...asked, text: asked.text.replace(/name="csrf" value="[^"]*"/, "") };
  expect((await new TestBrowser().submit(forged, YES)).status).toBe(403);
});

test("tokens of people are none of operators, and none of operators are people's", async () => {
  await start();
  const user = await worker.tokens.signUser({ id: "1", name: "Ada", authProvider: "Example ID" });
  const headers = { cookie: `ct-operator=${user}` };
  expect((await worker.ask("GET", "/dashboard/api/overview", { headers })).status).toBe(401);
  const claims = { id: "1", name: "Ada", role: "admin", provider: "oidc", signIn: "s" } as const;
  const operator = await worker.tokens.signOperator(claims);
  expect(await worker.tokens.verifyUser(operator)).toBeUndefined();
  expect(await worker.tokens.verifyRoom(operator)).toBeUndefined();
  // Nor is one whose role came of the groups of another provider.
  for (const [provider, status] of [
    ["oidc", 200],
    ["other", 401],
  ] as const) {
    const own = {
      cookie: `ct-operator=${await worker.tokens.signOperator({ ...claims, provider })}`,
    };
    expect((await worker.ask("GET", "/dashboard/api/overview", { headers: own })).status).toBe(
      status,
    );
  }
});

test("the password stays: at its own address a browser is asked for it, programs always are", async () => {
  await start();
  const navigating = { "sec-fetch-mode": "navigate", "sec-fetch-dest": "document" };
  const asked = await worker.ask("GET", "/dashboard/password", { headers: navigating });
  expect(asked).toMatchObject({ status: 401, headers: { "www-authenticate": /^Basic/ } });
  const plain = await worker.ask("GET", "/dashboard/api/overview");
  expect(plain).toMatchObject({ status: 401, headers: { "www-authenticate": /^Basic/ } });
  const logs = await worker.ask("GET", "/logs/", { headers: navigating });
  expect(logs).toMatchObject({ status: 401, headers: { "www-authenticate": /^Basic/ } });
  // A script of the page gets no dialog.
  const script = await worker.ask("GET", "/dashboard/api/overview", {
    headers: { "sec-fetch-dest": "empty" },
  });
  expect(script.status).toBe(401);
  expect(script.headers["www-authenticate"]).toBeUndefined();
  const authorization = `Basic ${btoa("ops:operator")}`;
  const { body } = await worker.ask("GET", "/dashboard/api/operator", {
    headers: { authorization },
  });
  expect(body).toEqual({
    name: "ops",
    permissions: ["read", "drain", "sessions"],
    maySignOut: false,
  });
});

test("a program does what the scopes of its token allow, without the page's header", async () => {
  await start();
  const headers = { authorization: `Bearer ${TOKEN}` };
  expect((await worker.ask("GET", "/dashboard/api/overview", { headers })).status).toBe(200);
  const post = (path: string) => worker.ask("POST", `/dashboard/api/${path}`, { headers });
  expect((await post("workers/worker-9/drain")).status).toBe(404);
  expect((await post("sessions/abcdefgh/end")).status).toBe(403);
  const drainer = { authorization: `Bearer ${DRAINER}` };
  const drained = await worker.ask("POST", "/dashboard/api/workers/worker-9/drain", {
    headers: drainer,
  });
  expect(drained.status).toBe(404);
  const seen = await worker.ask("GET", "/dashboard/api/overview", { headers: drainer });
  expect(seen.status).toBe(403);
  for (const wrong of [`${TOKEN}x`, TOKEN.slice(1), "", "x".repeat(100_000)]) {
    const refused = await worker.ask("GET", "/dashboard/api/overview", {
      headers: { authorization: `Bearer ${wrong}` },
    });
    expect([401, 431]).toContain(refused.status);
  }
});

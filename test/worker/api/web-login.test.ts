/** Sign-in at a real OpenID Connect provider, by a browser; two workers with one store. */
import { fetch } from "undici";
import { describe, expect, test } from "vitest";
import { systemClock } from "../../../shared/base/clock.ts";
import {
  type IdentityProvider,
  identityProviders,
} from "../../../shared/settings/identity-providers.ts";
import type { UserRecord } from "../../../shared/store/store.ts";
import { createOutboundFetch } from "../../../worker/http/outbound-fetch.ts";
import {
  createProviderClient,
  type ProviderClient,
} from "../../../worker/login/identity/provider-client.ts";
import { providerSettings } from "../../shared/settings/provider-settings.ts";
import { startStore } from "../../support/embedded-store.ts";
import { type Front, startFront } from "../../support/front.ts";
import {
  CLIENT,
  type Page,
  startIdentityProvider,
  TestBrowser,
  type TestProvider,
} from "../../support/identity-provider.ts";
import { freePort } from "../../support/ports.ts";
import { startWorker, type Worker } from "./fixture.ts";

const YES = { name: "answer", value: "yes" };
const NO = { name: "answer", value: "no" };
const ACCOUNT = {
  sub: "4711",
  name: "Ada Lovelace",
  email: "ada@example.com",
  email_verified: true,
  groups: ["staff"],
};

let provider: TestProvider;
let front: Front;
let worker: Worker;
let other: Worker;

function clientsOf(issuer: string, change: Partial<IdentityProvider> = {}): ProviderClient[] {
  const providers = identityProviders(
    providerSettings({
      oidcIssuer: issuer,
      oidcClientId: CLIENT.id,
      oidcClientSecret: CLIENT.secret,
      oidcLabel: "Example ID",
      oidcScopes: ["openid", "profile", "email", "groups"],
    }),
  );
  if (typeof providers === "string") throw new Error(providers);
  const fetch = createOutboundFetch({ proxy: undefined, authority: undefined });
  return providers.map((one) =>
    createProviderClient({ ...one, ...change } as IdentityProvider, { fetch, clock: systemClock }),
  );
}

/** A provider, and two workers behind a front that leads to the first. */
async function start(change: Partial<IdentityProvider> = {}, issuer?: string): Promise<void> {
  front = await startFront(1);
  provider = await startIdentityProvider([`${front.url}/api/login/oidc-callback`], ACCOUNT);
  const store = await startStore();
  const identity = clientsOf(issuer ?? provider.issuer, change);
  const options = { store, serverUrl: front.url, identityProviders: identity };
  worker = await startWorker({ ...options, id: "worker-1" });
  other = await startWorker({ ...options, id: "worker-2" });
  front.leadTo(worker.port);
}

const linkOf = (token: string): string => `${front.url}/api/login/oidc?token=${token}`;

/** Opens the link of a sign-in, and says that it is one's own. */
async function confirm(browser: TestBrowser, token: string): Promise<Page> {
  return browser.submit(await browser.open(linkOf(token)), YES);
}

/** The user for whom the client that polls gets a token. */
async function signedInAs(token: string): Promise<UserRecord | undefined> {
  const { body } = await worker.ask("POST", `/api/login/poll/${token}`);
  const verified = await worker.tokens.verifyUser((body as { loginToken: string }).loginToken);
  return verified?.user;
}

test("clients see the provider, before the forms", async () => {
  await start();
  const { body } = await worker.ask("POST", "/api/login/initial");
  const { providers } = (body as { auth: { providers: { name: string; type: string }[] } }).auth;
  expect(providers[0]).toMatchObject({
    type: "web",
    name: "oidc",
    endpoint: "/api/login/oidc",
    label: { message: "Example ID" },
  });
  expect(providers[1]).toMatchObject({ type: "form", name: "unverified" });
});

test("a person who confirms the sign-in and signs in at the provider is signed in at the client", async () => {
  await start();
  const token = await worker.begin();
  const page = await confirm(new TestBrowser(), token);
  expect(page).toMatchObject({ status: 200 });
  expect(page.text).toContain("Welcome, Ada Lovelace.");
  const user = await signedInAs(token);
  expect(user).toMatchObject({
    name: "Ada Lovelace",
    email: "ada@example.com",
    authProvider: "Example ID",
  });
  expect(worker.counters.value("worker.logins", "oidc")).toBe(1);
  // The same person has the same id next time.
  const again = await worker.begin();
  await confirm(new TestBrowser(), again);
  expect((await signedInAs(again))?.id).toBe(user?.id);
});

test("another worker finishes a sign-in that one has begun, also when that one is gone", async () => {
  await start();
  const token = await worker.begin();
  const browser = new TestBrowser();
  const asked = await browser.open(linkOf(token));
  front.leadTo(other.port);
  expect((await browser.submit(asked, YES)).text).toContain("Welcome");
  expect(other.counters.value("worker.logins", "oidc")).toBe(1);
  await worker.stop();
  const { body } = await other.ask("POST", `/api/login/poll/${token}`);
  expect(body).toHaveProperty("loginToken");
});

describe("the page before", () => {
  test("the page before a sign-in says who asks, and goes on only by its own form", async () => {
    await start();
    const token = await worker.begin();
    const browser = new TestBrowser();
    const page = await browser.open(linkOf(token));
    expect(page.text).toContain("127.0.0.1");
    expect(page.text).toMatch(/began to sign in \d+ seconds ago/);
    // The first button is what Enter presses.
    expect(page.text.indexOf('value="no"')).toBeLessThan(page.text.indexOf('value="yes"'));
    const stranger = new TestBrowser();
    expect(await stranger.submit(page, YES)).toMatchObject({ status: 403 });
    const forged = { ...page, text: page.text.replace(/name="csrf" value="[^"]*"/, "") };
    expect(await browser.submit(forged, YES)).toMatchObject({ status: 403 });
    expect(worker.counters.value("worker.requests_refused", "login-csrf")).toBe(2);
  });

  test("a form that another site sends is refused", async () => {
    await start();
    const token = await worker.begin();
    const opened = await fetch(linkOf(token));
    const [cookie = ""] = (opened.headers.get("set-cookie") ?? "").split(";");
    const csrf = /name="csrf" value="([^"]*)"/.exec(await opened.text())?.[1] ?? "";
    const response = await fetch(linkOf(token), {
      method: "POST",
      headers: {
        cookie,
        origin: "https://evil.example",
        "content-type": "application/x-www-form-urlencoded",
      },
      body: new URLSearchParams({ csrf, answer: "yes" }).toString(),
    });
    expect(response.status).toBe(403);
  });

  test("somebody who cancels is not signed in", async () => {
    await start();
    const token = await worker.begin();
    const browser = new TestBrowser();
    const page = await browser.submit(await browser.open(linkOf(token)), NO);
    expect(page.text).toContain("Nobody was signed in");
    expect(await worker.store.readTicket("login", token)).toMatchObject({ state: "waiting" });
  });

  test.each([
    ["unknown", "a".repeat(40)],
    ["malformed", "<script>"],
    ["missing", ""],
  ])("a link with a token that is %s says that the sign-in is over", async (_what, token) => {
    await start();
    const page = await new TestBrowser().open(linkOf(encodeURIComponent(token)));
    expect(page.status).toBe(400);
    expect(page.text).toContain("Start it again");
    expect(page.text).not.toContain("<script>");
  });
});

describe("what comes back", () => {
  /** Signs in up to the provider's answer, which it returns instead of following it. */
  async function answerOf(browser: TestBrowser, token: string): Promise<string> {
    const asked = await browser.open(linkOf(token));
    const isBack = (url: string): boolean => new URL(url).pathname.endsWith("-callback");
    return (await browser.submit(asked, YES, isBack)).url;
  }

  test("a provider's response signs in once", async () => {
    await start();
    const browser = new TestBrowser();
    const answer = await answerOf(browser, await worker.begin());
    expect(await browser.open(answer)).toMatchObject({ status: 200 });
    const again = await browser.open(answer);
    expect(again.status).toBe(400);
    expect(again.text).toContain("works once");
  });

  test("a provider's response does not sign in another browser, and stays good for its own", async () => {
    await start();
    const browser = new TestBrowser();
    const answer = await answerOf(browser, await worker.begin());
    const victim = await new TestBrowser().open(answer);
    expect(victim.status).toBe(400);
    expect(victim.text).toContain("another browser");
    expect(await browser.open(answer)).toMatchObject({ status: 200 });
  });

  test.each<[what: string, change: (url: URL) => void, status: number]>([
    ["without a state", (url) => url.searchParams.delete("state"), 400],
    ["with an unknown state", (url) => url.searchParams.set("state", "b".repeat(40)), 400],
    ["with another code", (url) => url.searchParams.set("code", "forged"), 502],
    ["of another issuer", (url) => url.searchParams.set("iss", "https://evil.example"), 502],
    ["that says no", (url) => url.searchParams.set("error", "access_denied"), 403],
  ])("a response %s signs nobody in", async (_what, change, status) => {
    await start();
    const browser = new TestBrowser();
    const token = await worker.begin();
    const url = new URL(await answerOf(browser, token));
    change(url);
    if (url.searchParams.has("error")) url.searchParams.delete("code");
    const page = await browser.open(url.href);
    expect(page.status).toBe(status);
    expect(page.text).not.toContain("forged");
    expect(await worker.store.readTicket("login", token)).toMatchObject({ state: "waiting" });
  });

  test("a response of one provider is not taken for another's", async () => {
    await start();
    const [first] = clientsOf(provider.issuer);
    const [second] = clientsOf(provider.issuer, { id: "second", label: "Second" });
    if (first === undefined || second === undefined) throw new Error("no providers");
    const two = await startWorker({ serverUrl: front.url, identityProviders: [first, second] });
    front.leadTo(two.port);
    const browser = new TestBrowser();
    const token = await two.begin();
    const answer = await answerOf(browser, token);
    const page = await browser.open(answer.replace("/oidc-callback", "/second-callback"));
    expect(page.status).toBe(400);
    expect(await two.store.readTicket("login", token)).toMatchObject({ state: "waiting" });
  });

  test("a link with a provider's response that is only looked at uses nothing up", async () => {
    await start();
    const browser = new TestBrowser();
    const answer = await answerOf(browser, await worker.begin());
    expect((await fetch(answer, { method: "HEAD" })).status).toBe(405);
    expect((await fetch(answer)).status).toBe(400);
    expect(await browser.open(answer)).toMatchObject({ status: 200 });
  });

  test("a person who says no at the provider is not signed in", async () => {
    await start();
    provider.account = undefined;
    const page = await confirm(new TestBrowser(), await worker.begin());
    expect(page.status).toBe(403);
    expect(page.text).toContain("Example ID did not sign you in");
  });

  test("a sign-in that its client has given up says so in the browser", async () => {
    await start();
    const token = await worker.begin();
    const browser = new TestBrowser();
    const answer = await answerOf(browser, token);
    await worker.store.dropTicket("login", token);
    // Another worker: this one remembers what has begun here.
    front.leadTo(other.port);
    expect((await browser.open(answer)).text).toContain("Start it again");
  });
});

describe("afterwards", () => {
  const BACK = "https://app.example/signed-in";

  async function startWith(options: { loginRedirects?: string[]; loginSuccessUrl?: string }) {
    await start();
    const web = await startWorker({
      ...options,
      serverUrl: front.url,
      identityProviders: clientsOf(provider.issuer),
    });
    front.leadTo(web.port);
    return web;
  }

  /** Signs in, and returns where the browser is sent. */
  async function sentTo(link: string): Promise<string> {
    const browser = new TestBrowser();
    const isElsewhere = (url: string): boolean => new URL(url).hostname !== "127.0.0.1";
    return (await browser.submit(await browser.open(link), YES, isElsewhere)).url;
  }

  test("the browser returns to a page that the operator has allowed, with the token of the sign-in", async () => {
    const web = await startWith({ loginRedirects: [BACK] });
    const token = await web.begin();
    const redirect = encodeURIComponent(`${BACK}?from=here`);
    const url = await sentTo(`${linkOf(token)}&redirect=${redirect}`);
    expect(url).toBe(`${BACK}?from=here&token=${token}`);
  });

  test.each([
    ["of another path", `${BACK}/more`],
    ["of another host", "https://app.example.evil.example/signed-in"],
    ["of another scheme", "http://app.example/signed-in"],
    ["with a name before the host", "https://app.example@evil.example/signed-in"],
    ["that is a script", "javascript:alert(1)"],
    ["that is a path", "/signed-in"],
  ])("a page to return to %s is refused at once", async (_what, redirect) => {
    const web = await startWith({ loginRedirects: [BACK] });
    const link = `${linkOf(await web.begin())}&redirect=${encodeURIComponent(redirect)}`;
    const page = await new TestBrowser().open(link);
    expect(page.status).toBe(400);
    expect(page.text).toContain("CT_LOGIN_REDIRECTS");
  });

  test("the browser returns to the operator's own page after a sign-in", async () => {
    const web = await startWith({ loginSuccessUrl: "https://acme.example/done" });
    expect(await sentTo(linkOf(await web.begin()))).toBe("https://acme.example/done");
  });
});

test("clients open the operator's own sign-in page", async () => {
  const loginPageUrl = "https://acme.example/login";
  const own = await startWorker({ loginPageUrl });
  const { body } = await own.ask("POST", "/api/login/initial");
  const { auth } = body as { auth: { loginPageUrl: string } };
  expect(auth.loginPageUrl).toMatch(/^https:\/\/acme\.example\/login\?token=\w+$/);
});

describe("who may come in", () => {
  test("only members of the groups that the operator names may come in", async () => {
    await start({ groups: ["admins", "staff"] });
    const token = await worker.begin();
    expect((await confirm(new TestBrowser(), token)).status).toBe(200);
    provider.account = { ...ACCOUNT, sub: "12", groups: ["guests"] };
    const page = await confirm(new TestBrowser(), await worker.begin());
    expect(page.status).toBe(403);
    expect(page.text).toContain("not in a group that may use this server");
  });

  test("an email that the provider has not verified is not shown to anyone", async () => {
    await start();
    provider.account = { ...ACCOUNT, email_verified: false };
    const token = await worker.begin();
    await confirm(new TestBrowser(), token);
    expect(await signedInAs(token)).not.toHaveProperty("email");
  });

  test("a profile of 100 KB is read", async () => {
    await start({ groups: ["staff"] });
    const groups = [
      ...Array.from({ length: 2000 }, (_, i) => `group ${i} ${"x".repeat(40)}`),
      "staff",
    ];
    provider.account = { ...ACCOUNT, groups };
    const token = await worker.begin();
    expect((await confirm(new TestBrowser(), token)).status).toBe(200);
  });
});

describe("a provider that fails", () => {
  test("a provider that fails is named, and the person may try again", async () => {
    const gone = `http://127.0.0.1:${await freePort()}`;
    await start({}, gone);
    const page = await confirm(new TestBrowser(), await worker.begin());
    expect(page.status).toBe(502);
    expect(page.text).toContain("Example ID does not respond");
  });

  test("a provider that lies about who it is signs nobody in", async () => {
    await start({}, "http://localhost:1");
    const { port } = new URL(provider.issuer);
    // Its metadata names 127.0.0.1.
    const identity = clientsOf(`http://localhost:${port}`);
    const liar = await startWorker({ serverUrl: front.url, identityProviders: identity });
    front.leadTo(liar.port);
    const page = await confirm(new TestBrowser(), await liar.begin());
    expect(page.status).toBe(502);
  });
});

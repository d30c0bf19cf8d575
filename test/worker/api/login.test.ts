/**
 * Sign-in and sign-out over HTTP, on one worker and across two that share a store.
 */
import { expect, test } from "vitest";
import { startStore } from "../../support/embedded-store.ts";
import { watchMachine } from "../../support/machine.ts";
import { connectRaw } from "../../support/sockets.ts";
import { until } from "../../support/until.ts";
import { isJoinRequest } from "../sessions/fixture.ts";
import type { RawPeer } from "../sessions/raw-peer.ts";
import { createSkipClock } from "../sessions/skip-clock.ts";
import {
  type Answer,
  API_KEY,
  pollsWait,
  refusal,
  startTwoWorkers,
  startWorker,
  type Worker,
} from "./fixture.ts";

const machine = watchMachine();

const COOKIE_ATTRIBUTES = "Path=/; HttpOnly; Secure; SameSite=None";

// --- a whole sign-in ---

test("a sign-in offers the methods that are on, and a page for users", async () => {
  const worker = await startWorker();

  const { status, body } = await worker.ask("POST", "/api/login/initial");

  expect(status).toBe(200);
  const { pollToken, auth } = body as { pollToken: string; auth: Record<string, unknown> };
  expect(pollToken).toMatch(/^[A-Za-z0-9]{40}$/);
  // The tag routes its polls to this worker.
  expect(pollToken.startsWith(worker.tag)).toBe(true);
  expect(auth["loginPageUrl"]).toBe(`/login.html?token=${pollToken}`);
  expect(auth["defaultSuccessUrl"]).toBe("");
  expect(auth["providers"]).toMatchObject([
    {
      type: "form",
      name: "unverified",
      endpoint: "/api/login/simple",
      group: { code: "BuiltinsGroup", params: [] },
      label: { code: "UnverifiedLoginLabel", params: [] },
      fields: [
        { name: "user", required: true },
        { name: "email", required: false },
      ],
    },
    {
      type: "form",
      name: "apikey",
      endpoint: "/api/login/apikey",
      fields: [{ name: "apiKey", required: true }],
    },
  ]);
});

test("a user who enters a name is signed in under it, with a different id at each sign-in", async () => {
  const worker = await startWorker({ loginUnverifiedEmail: "keep" });
  const users: unknown[] = [];
  for (let round = 0; round < 2; round++) {
    const token = await worker.begin();
    const sent = await worker.send("/api/login/simple", {
      token,
      user: "  Ada Lovelace ",
      email: "ada@example.com",
    });
    expect(sent).toMatchObject({ status: 200, body: "Ok" });
    users.push((await userOf(worker, await poll(worker, token)))?.user);
  }
  const ada = { name: "Ada Lovelace", email: "ada@example.com", authProvider: "Unverified" };
  expect(users).toMatchObject([ada, ada]);
  const [first, second] = users as { id: string }[];
  expect(first?.id).not.toBe(second?.id);
  expect(worker.counters.value("worker.logins", "simple")).toBe(2);
});

test("an empty email address counts as none", async () => {
  const { worker, token } = await startSignIn();
  await worker.send("/api/login/simple", { token, user: "Ada", email: "" });
  const user = (await userOf(worker, await poll(worker, token)))?.user;
  expect(user).toEqual({ id: expect.any(String), name: "Ada", authProvider: "Unverified" });
});

test("an unverified email is dropped, also from tokens issued before", async () => {
  const worker = await startWorker();
  const { sessionId, host } = await worker.openSession();
  const token = await worker.begin();
  const form = { token, user: "Mallory", email: "boss@example.com" };
  expect(await worker.send("/api/login/simple", form)).toMatchObject({ status: 200 });
  const { body } = await poll(worker, token);
  const { loginToken } = body as { loginToken: string };
  const old = await worker.tokens.signUser({
    id: "u",
    name: "Mallory",
    email: "boss@example.com",
    authProvider: "Unverified",
  });
  for (const [count, userToken] of [loginToken, old].entries()) {
    const headers = { "x-oct-jwt": userToken };
    await worker.ask("POST", `/api/session/join/${sessionId}`, { headers });
    await until("the host is asked", () => asked(host).length === count + 1);
    expect(asked(host).at(-1)).toMatchObject({ name: "Mallory", email: "" });
  }
});

test("an operator can have the unverified email shown to hosts", async () => {
  const worker = await startWorker({ loginUnverifiedEmail: "keep" });
  const { sessionId, host } = await worker.openSession();
  const token = await worker.begin();
  await worker.send("/api/login/simple", { token, user: "Ada", email: "ada@example.com" });
  const { body } = await poll(worker, token);
  const headers = { "x-oct-jwt": (body as { loginToken: string }).loginToken };
  await worker.ask("POST", `/api/session/join/${sessionId}`, { headers });
  await until("the host is asked", () => asked(host).length === 1);
  expect(asked(host)).toMatchObject([{ name: "Ada", email: "ada@example.com" }]);
});

test("the sign-in page asks for an email only when it is used", async () => {
  for (const loginUnverifiedEmail of ["drop", "keep"] as const) {
    const worker = await startWorker({ loginUnverifiedEmail });
    const { body } = await worker.ask("GET", "/login.html");
    expect(String(body).includes('name="email"')).toBe(loginUnverifiedEmail === "keep");
    expect(body).toContain('name="user"');
    expect(body).not.toContain("<!--");
  }
});

test("the host sees which program requests to join, until its key is removed from the list", async () => {
  const store = await startStore();
  const keys = "ci:the key of the build,Review agent:the key of the agent";
  const worker = await startWorker({ store, loginApiKey: keys });
  const { sessionId, host } = await worker.openSession();
  const token = await worker.begin();
  const apiKey = "the key of the agent";
  expect(await worker.send("/api/login/apikey", { token, apiKey })).toMatchObject({ status: 200 });
  const { body } = await poll(worker, token);
  const headers = { "x-oct-jwt": (body as { loginToken: string }).loginToken };
  await worker.ask("POST", `/api/session/join/${sessionId}`, { headers });
  await until("the host is asked", () => asked(host).length === 1);
  expect(asked(host)).toMatchObject([{ name: "Review agent", authProvider: "API Key" }]);

  const valid = async (it: Worker) =>
    ((await it.ask("POST", "/api/login/validate", { headers })).body as { valid: boolean }).valid;
  expect(await valid(worker)).toBe(true);
  const later = await startWorker({
    store,
    id: "worker-2",
    loginApiKey: "ci:the key of the build",
  });
  expect(await valid(later)).toBe(false);
});

test("a program signs in with the API key", async () => {
  const { worker, token } = await startSignIn();

  const wrong = await refusal(worker, () =>
    worker.send("/api/login/apikey", { token, apiKey: `${API_KEY}!` }),
  );
  const missing = await refusal(worker, () => worker.send("/api/login/apikey", { token }));
  const right = await worker.send("/api/login/apikey", { token, apiKey: API_KEY });

  expect(wrong).toMatchObject({ status: 403, body: "Invalid API key", counted: 1 });
  expect(missing).toMatchObject({ status: 400, counted: 1 });
  expect(right).toMatchObject({ status: 200, body: "Ok" });
  expect((await userOf(worker, await poll(worker, token)))?.user).toMatchObject({
    name: "API Key User",
    authProvider: "API Key",
  });
});

test("a poll that waits here ends when the form is submitted to another worker", async () => {
  const [here, there] = await startTwoWorkers();
  const token = await here.begin();
  const polled = poll(here, token);
  await pollsWait(here, 1);

  const startedMs = performance.now();
  await there.send("/api/login/simple", { token, user: "Ada" });

  expect((await userOf(there, await polled))?.user.name).toBe("Ada");
  // Woken by the store's hint, not by the read once a second.
  expect(performance.now() - startedMs).toBeLessThan(
    machine.limitMs(startedMs, { promisedMs: 500 }),
  );
});

test("a poll may go to any worker", async () => {
  const [here, there] = await startTwoWorkers();
  const token = await here.begin();
  await here.send("/api/login/simple", { token, user: "Ada" });
  expect((await userOf(here, await poll(there, token)))?.user.name).toBe("Ada");
});

// --- polling ---

test("a poll without an answer ends after its timeout, and the client polls again", async () => {
  const { worker, token } = await startSignIn({ pollTimeoutMs: 50 });

  expect(await poll(worker, token)).toMatchObject({ status: 204, body: "" });
  await worker.send("/api/login/simple", { token, user: "Ada" });
  expect((await poll(worker, token)).status).toBe(200);
});

test("a poll waits 30 s by default", async () => {
  const clock = createSkipClock();
  const { worker, token } = await startSignIn({ clock });
  const polled = poll(worker, token);
  await pollsWait(worker, 1);
  clock.skip(29_000);
  await pollsWait(worker, 1);
  clock.skip(1100);
  expect((await polled).status).toBe(204);
});

test("a sign-in that is not completed expires after 300 s, also for a waiting poll", async () => {
  const clock = createSkipClock();
  const { worker, token } = await startSignIn({ clock, pollTimeoutMs: 600_000 });
  const polled = poll(worker, token);
  await pollsWait(worker, 1);

  clock.skip(301_000);

  expect(await polled).toMatchObject({ status: 400, body: { code: "AuthTimeout" } });
  const late = await refusal(worker, () =>
    worker.send("/api/login/simple", { token, user: "Ada" }),
  );
  expect(late).toMatchObject({ status: 400, counted: 1 });
});

test("an unknown token gets the same response as an expired one", async () => {
  const worker = await startWorker();
  const refused = await refusal(worker, () =>
    poll(worker, "0123456789abcdefUnknownUnknownUnknown123"),
  );
  expect(refused).toMatchObject({
    status: 400,
    body: { code: "AuthTimeout", params: [], message: "Authentication timed out" },
    counted: 1,
  });
});

test("a client that disconnects frees its poll", async () => {
  const { worker, token } = await startSignIn();
  const abort = new AbortController();
  const polled = worker.ask("POST", `/api/login/poll/${token}`, { signal: abort.signal });
  await pollsWait(worker, 1);

  abort.abort();

  await expect(polled).rejects.toThrow();
  await pollsWait(worker, 0);
});

test("a client whose poll was interrupted gets its token with the next one", async () => {
  const { worker, token } = await startSignIn();
  const raw = await connectRaw(worker.port);
  raw.write(`POST /api/login/poll/${token} HTTP/1.1\r\nHost: a\r\n\r\n`);
  await pollsWait(worker, 1);
  raw.socket.resetAndDestroy();
  await pollsWait(worker, 0);

  await worker.send("/api/login/simple", { token, user: "Ada" });

  expect((await userOf(worker, await poll(worker, token)))?.user.name).toBe("Ada");
});

test("a sign-in issues one token", async () => {
  const { worker, token } = await startSignIn();
  await worker.send("/api/login/simple", { token, user: "Ada" });
  expect((await poll(worker, token)).status).toBe(200);
  await until("it is used up", async () => (await poll(worker, token)).status === 400);
  const again = await worker.send("/api/login/simple", { token, user: "Eve" });
  expect(again.status).toBe(400);
});

test("two waiting polls of one sign-in both get a token, because the first client's connection may have broken unnoticed", async () => {
  const { worker, token } = await startSignIn();
  const both = [poll(worker, token), poll(worker, token)];
  await pollsWait(worker, 2);

  await worker.send("/api/login/simple", { token, user: "Ada" });

  for (const answer of await Promise.all(both)) {
    expect((await userOf(worker, answer))?.user.name).toBe("Ada");
  }
});

test("of two forms submitted for one sign-in the first counts", async () => {
  const { worker, token } = await startSignIn();
  await worker.send("/api/login/simple", { token, user: "Ada" });
  expect((await worker.send("/api/login/simple", { token, user: "Eve" })).status).toBe(200);
  expect((await userOf(worker, await poll(worker, token)))?.user.name).toBe("Ada");
  expect(worker.counters.value("worker.logins")).toBe(1);
});

test("the polls of a worker that stops end, and succeed on another worker", async () => {
  const [here, there] = await startTwoWorkers();
  const token = await here.begin();
  const polled = poll(here, token);
  await pollsWait(here, 1);

  await here.stop();

  const answer = await polled;
  expect(answer.status).toBe(204);
  // So that a balancer does not send the next request on a connection that is about to close.
  expect(answer.headers["connection"]).toBe("close");
  await there.send("/api/login/simple", { token, user: "Ada" });
  expect((await poll(there, token)).status).toBe(200);
});

// --- the store is away ---

test("a poll waits while the store is away, and succeeds when it is back", async () => {
  const { worker, token } = await startSignIn();
  const polled = poll(worker, token);
  await pollsWait(worker, 1);

  await worker.storeFixture.stop();
  await until("the store is away", () => worker.store.health.state === "away");
  const second = poll(worker, token);
  await pollsWait(worker, 2);
  await worker.storeFixture.start();
  await until("the store is back", () => worker.store.health.state === "up");
  await worker.send("/api/login/simple", { token, user: "Ada" });

  expect((await polled).status).toBe(200);
  expect((await second).status).toBe(200);
});

test("requests that need the store get a 503 while it is away, and validate works without it", async () => {
  const { worker, token } = await startSignIn();
  const user = await worker.signIn();
  await worker.storeFixture.stop();
  await until("the store is away", () => worker.store.health.state === "away");

  const initial = await refusal(worker, () => worker.ask("POST", "/api/login/initial"));
  const form = await worker.send("/api/login/simple", { token, user: "Ada" });
  const logout = await worker.ask("GET", "/api/logout", { headers: { "x-oct-jwt": user } });

  expect(initial).toMatchObject({ status: 503, body: { code: "StoreAway" }, counted: 1 });
  expect(form.status).toBe(503);
  expect(logout.status).toBe(503);
  expect(await validate(worker, { "x-oct-jwt": user })).toBe(true);
});

// --- validate, logout, cookies ---

test("validate reports whether a token is valid, and never fails", async () => {
  const worker = await startWorker();
  const user = await worker.signIn();
  const [head = "", claims = "", signature = ""] = user.split(".");
  expect(await validate(worker, { "x-oct-jwt": user })).toBe(true);
  for (const bad of [
    "",
    "garbage",
    `${head}.${claims}.${signature.slice(0, -4)}AAAA`,
    `${Buffer.from('{"alg":"none"}').toString("base64url")}.${claims}.`,
    "x".repeat(20_000),
  ]) {
    expect(await validate(worker, { "x-oct-jwt": bad }), bad.slice(0, 20)).toBe(false);
  }
  expect(await validate(worker, {})).toBe(false);
});

test("a token is valid on every worker, unless its sign-in method is off", async () => {
  const simple = await startWorker({ loginApiKey: undefined });
  const user = await simple.signIn();
  const sharing = { store: simple.storeFixture, id: "worker-2" };
  const same = await startWorker(sharing);
  const keysOnly = await startWorker({ ...sharing, id: "worker-3", loginSimple: false });
  expect(await validate(same, { "x-oct-jwt": user })).toBe(true);
  expect(await validate(keysOnly, { "x-oct-jwt": user })).toBe(false);
});

test("after logout a token is invalid on every worker", async () => {
  const [here, there] = await startTwoWorkers();
  const headers = { "x-oct-jwt": await here.signIn() };

  const out = await here.ask("GET", "/api/logout", { headers });

  expect(out).toMatchObject({ status: 200, body: "Logged out" });
  expect(out.headers["set-cookie"]).toBe(`oct-jwt=; Max-Age=0; ${COOKIE_ATTRIBUTES}`);
  expect(await validate(there, headers)).toBe(false);
  const again = await refusal(here, () => here.ask("GET", "/api/logout", { headers }));
  expect(again).toMatchObject({ status: 400, counted: 1 });
});

test("a browser client gets its token as a cookie when it requests one", async () => {
  const { worker, token } = await startSignIn();
  await worker.send("/api/login/simple", { token, user: "Ada" });

  const answer = await worker.ask("POST", `/api/login/poll/${token}?useCookie=true`);

  const { loginToken } = answer.body as { loginToken: string };
  const cookie = `oct-jwt=${loginToken}; Max-Age=31536000; ${COOKIE_ATTRIBUTES}`;
  expect(answer.headers["set-cookie"]).toBe(cookie);
  expect(await validate(worker, { cookie: `a=b; oct-jwt=${loginToken}; c=d` })).toBe(true);
  expect(await validate(worker, { cookie: `xoct-jwt=${loginToken}` })).toBe(false);
});

test("a page of a foreign origin can neither use the cookie nor have one set", async () => {
  const worker = await startWorker({ corsAllowedOrigins: ["https://ide.example.com"] });
  const cookie = `oct-jwt=${await worker.signIn()}`;

  for (const from of [
    { origin: "https://evil.example.com" },
    { origin: "https://ide.example.com.evil.com" },
    { origin: "null" },
    { "sec-fetch-site": "cross-site" },
    { "sec-fetch-site": "same-site" },
  ]) {
    const headers = { cookie, ...from } as Record<string, string>;
    expect(await validate(worker, headers), JSON.stringify(from)).toBe(false);
    expect((await worker.ask("POST", "/api/session/create", { headers })).status).toBe(403);
    expect((await worker.ask("GET", "/api/logout", { headers })).status).toBe(400);
    const token = await worker.begin();
    await worker.send("/api/login/simple", { token, user: "Mallory" });
    const path = `/api/login/poll/${token}?useCookie=true`;
    const answer = await worker.ask("POST", path, { headers });
    expect(answer.headers["set-cookie"]).toBeUndefined();
  }
  for (const from of [
    {},
    { origin: worker.url },
    { origin: "https://ide.example.com" },
    { "sec-fetch-site": "same-origin" },
  ]) {
    const headers = { cookie, ...from } as Record<string, string>;
    expect(await validate(worker, headers), JSON.stringify(from)).toBe(true);
  }
});

// --- helpers ---

/** A worker, and the poll token of a sign-in that has begun there. */
async function startSignIn(options?: Parameters<typeof startWorker>[0]) {
  const worker = await startWorker(options);
  return { worker, token: await worker.begin() };
}

/** The user in the host's join request. */
function asked(host: RawPeer): unknown[] {
  return host.received
    .filter(isJoinRequest)
    .map(({ content }) => (content as { params: unknown[] }).params[0]);
}

function poll(worker: Worker, token: string): Promise<Answer> {
  return worker.ask("POST", `/api/login/poll/${token}`);
}

async function userOf(worker: Worker, answer: Answer) {
  const { loginToken } = answer.body as { loginToken: string };
  return worker.tokens.verifyUser(loginToken);
}

async function validate(worker: Worker, headers: Record<string, string>): Promise<unknown> {
  const { status, body } = await worker.ask("POST", "/api/login/validate", { headers });
  expect(status).toBe(200);
  return (body as { valid: unknown }).valid;
}

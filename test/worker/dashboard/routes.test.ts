/** The routes below /dashboard and /logs, over HTTP: access, data and commands. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { systemClock } from "../../../shared/base/clock.ts";
import type { SessionId } from "../../../shared/base/ids.ts";
import { listenForCommands } from "../../../shared/control/command-listener.ts";
import { readPolicyFile } from "../../../shared/policy/policy-file.ts";
import { readEnded, toStored } from "../../../shared/sign-ins/sign-in.ts";
import type { UserRecord } from "../../../shared/store/store.ts";
import type {
  CheckResponse,
  CommandReply,
  OverviewResponse,
  PolicyCheckResponse,
  SessionEventsResponse,
  SessionsResponse,
  UsageResponse,
  WorkersResponse,
} from "../../../worker/dashboard/responses.ts";
import { recordedActivity } from "../../support/activity.ts";
import { silentLog } from "../../support/logs.ts";
import { pluginZip, put, putRepository } from "../../support/plugins.ts";
import { exchange } from "../../support/sockets.ts";
import { tempFolder } from "../../support/temp-folder.ts";
import { until } from "../../support/until.ts";
import { type Answer, startWorker, type Worker, type WorkerOptions } from "../api/fixture.ts";

let folder: string;
beforeEach(() => {
  folder = tempFolder();
});

const basic = (user: string, password: string): string =>
  `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;
const OPERATOR = { authorization: basic("ops", "operator") };
const OWN_PAGE = { ...OPERATOR, "x-dashboard-request": "1", "sec-fetch-site": "same-origin" };

function look(worker: Worker, path: string): Promise<Answer> {
  return worker.ask("GET", path, { headers: OPERATOR });
}

/** A worker that accepts operator commands. */
async function startListening(options: WorkerOptions = {}) {
  const worker = await startWorker(options);
  const commands: unknown[] = [];
  const commandListener = listenForCommands({
    store: worker.store,
    clock: systemClock,
    log: silentLog(),
    self: worker.id,
    handleCommand(command) {
      commands.push(command);
      return { outcome: "done", message: "as you wish" };
    },
  });
  onTestFinished(() => commandListener.close());
  return { worker, commands };
}

// --- access ---

const PATHS = [
  "/dashboard",
  "/dashboard/",
  "/dashboard/dashboard.js",
  "/dashboard/api/overview",
  "/dashboard/api/history",
  "/dashboard/api/workers",
  "/dashboard/api/sessions",
  "/dashboard/api/sessions/abcdefgh/events",
  "/dashboard/api/downloads",
  "/dashboard/api/downloads.csv",
  "/dashboard/api/usage",
  "/dashboard/usage.csv",
  "/dashboard/api/policy",
  "/dashboard/api/policy/check",
  "/dashboard/api/logs",
  "/dashboard/api/logs/server",
  "/dashboard/api/events",
  "/dashboard/api/check",
  "/dashboard/api/echo",
  "/dashboard/api/no-such-thing",
  "/dashboard/no/such/thing",
  "/logs",
  "/logs/",
  "/logs/server.log",
  "/logs/no-such-thing",
];

test("every path below /dashboard and /logs, existing or not, requires the operator's credentials", async () => {
  const worker = await startWorker();
  for (const path of PATHS) {
    const { status, headers, body } = await worker.ask("GET", path);
    expect([path, status, body]).toEqual([path, 401, "Sign in as the operator of this server"]);
    expect(headers["www-authenticate"]).toBe('Basic realm="CodeTogether edge", charset="UTF-8"');
  }
  for (const method of ["POST", "PUT", "DELETE", "OPTIONS"]) {
    expect((await worker.ask(method, "/dashboard/api/workers/worker-1/drain")).status).toBe(401);
  }
});

test.each([
  "Basic",
  "Basic ",
  "Basic !!!",
  "Basic b3Bz",
  "basic",
  "Bearer b3BzOm9wZXJhdG9y",
  `Basic ${"QUFB".repeat(2000)}`,
  basic("ops", "Operator"),
  basic("ops:operator", ""),
  basic("", "operator"),
  "Basic \u0080\u00ff",
  `Basic ${Buffer.from("ops:pässwort", "latin1").toString("base64")}`,
])(
  "an invalid or wrong Authorization header is treated like a missing one: %s",
  async (authorization) => {
    const worker = await startWorker();
    const text = await exchange(
      worker.port,
      `GET /dashboard/ HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: ${authorization}\r\n\r\n`,
    );
    expect(text).toMatch(/^HTTP\/1\.1 401 /);
    expect(text).toMatch(/\r\nwww-authenticate: Basic realm=/i);
    expect(text).toMatch(/Sign in as the operator of this server$/);
  },
);

test("a password may contain colons and letters of any language", async () => {
  const operatorPassword = "a:pässwort:с буквами";
  const worker = await startWorker({ operatorPassword });
  const headers = { authorization: basic("ops", operatorPassword) };
  expect((await worker.ask("GET", "/dashboard/", { headers })).status).toBe(200);
});

test("ten thousand wrong passwords from one address do not block the right one, and cost little", async () => {
  const worker = await startWorker();
  const headers = { authorization: basic("ops", "guess") };
  const statuses = new Map<number, number>();
  let asked = 0;
  const guess = async (): Promise<void> => {
    while (asked++ < 10_000) {
      const { status } = await worker.ask("GET", "/dashboard/api/overview", { headers });
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
    }
  };
  const guessers = Array.from({ length: 50 }, guess);
  await until("a flood", () => (statuses.get(429) ?? 0) > 100);
  expect((await look(worker, "/dashboard/api/overview")).status).toBe(200);
  await Promise.all(guessers);
  expect(new Set(statuses.keys())).toEqual(new Set([401, 429]));
  // A hundred for each minute of the test.
  expect(statuses.get(401)).toBeLessThanOrEqual(200);
  expect((await look(worker, "/dashboard/api/overview")).status).toBe(200);
});

// --- headers of every response ---

test("the page may run only its own files, cannot be framed, and is not cached", async () => {
  const worker = await startWorker({ serverUrl: "https://edge.example.com" });
  for (const path of ["/dashboard/", "/dashboard/api/overview", "/logs/"]) {
    const { status, headers } = await look(worker, path);
    expect([path, status]).toEqual([path, 200]);
    expect(headers).toMatchObject({
      "content-security-policy":
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
      "x-content-type-options": "nosniff",
      "referrer-policy": "no-referrer",
      "cross-origin-opener-policy": "same-origin",
      "cross-origin-resource-policy": "same-origin",
      "cache-control": "no-store",
      "strict-transport-security": "max-age=63072000",
    });
  }
  const { body } = await look(worker, "/dashboard/");
  expect(body).not.toMatch(/<script(?! type="module" src="dashboard\.js")|style=|onclick|https?:/);
});

test("no other origin may read any of it, not even one that the public API allows", async () => {
  const worker = await startWorker({ corsAllowedOrigins: ["https://ide.example.com"] });
  const headers = { ...OPERATOR, origin: "https://ide.example.com" };
  const answer = await worker.ask("GET", "/dashboard/api/overview", { headers });
  expect(answer.status).toBe(200);
  const names = Object.keys(answer.headers);
  expect(names.filter((name) => name.startsWith("access-control-"))).toEqual([]);
});

test("the page is compressed for clients that accept it", async () => {
  const worker = await startWorker();
  const headers = { ...OPERATOR, "accept-encoding": "br, gzip" };
  const zipped = await worker.ask("GET", "/dashboard/", { headers });
  expect(zipped.headers).toMatchObject({ "content-encoding": "gzip", vary: "accept-encoding" });
  const plain = await look(worker, "/dashboard/");
  expect(plain.headers["content-encoding"]).toBeUndefined();
  expect(plain.body).toMatch(/^<!doctype html>/);
});

test("URLs without a trailing slash redirect to those with one, below any path prefix", async () => {
  const worker = await startWorker();
  for (const [from, to] of [
    ["/dashboard", "dashboard/"],
    ["/logs", "logs/"],
  ] as const) {
    const { status, headers } = await look(worker, from);
    expect([status, headers["location"]]).toEqual([302, to]);
  }
});

// --- data ---

test("overview, workers and sessions show the edge, with null for unknown values", async () => {
  const worker = await startWorker();
  const { sessionId } = await worker.openSession();
  await until("the session is listed", async () => {
    const { body } = await look(worker, "/dashboard/api/sessions");
    return (body as SessionsResponse).sessions[0]?.peers.length === 1;
  });
  const overview = (await look(worker, "/dashboard/api/overview")).body as OverviewResponse;
  expect(overview).toMatchObject({
    store: { state: "up", reason: null },
    tiles: { usersOnline: null, sessionsActive: null, lagMs: null },
    workers: { up: 1, suspended: 0, draining: 0, suspect: 0, dead: 0, unknown: 0 },
    balancers: 0,
    concerns: [],
  });
  const { workers } = (await look(worker, "/dashboard/api/workers")).body as WorkersResponse;
  expect(workers).toMatchObject([{ id: "worker-1", state: "up", restarts: null, rssBytes: null }]);
  const { sessions, total } = (await look(worker, "/dashboard/api/sessions"))
    .body as SessionsResponse;
  expect([total, sessions]).toMatchObject([
    1,
    [{ id: sessionId.slice(0, 8), worker: "worker-1", ownerState: "lives", bytes: null }],
  ]);
  expect(JSON.stringify(sessions)).not.toContain(sessionId);
});

test("the history of a session is found by a prefix of its id that is long enough to be unique", async () => {
  const worker = await startWorker();
  const { sessionId } = await worker.openSession();
  const path = `/dashboard/api/sessions/${sessionId.slice(0, 8)}/events`;
  const { body } = await look(worker, path);
  expect((body as SessionEventsResponse).events.map(({ kind, cause }) => [kind, cause])).toEqual([
    ["created", expect.any(String)],
    ["joined", "host"],
  ]);
  for (const id of [
    sessionId.slice(0, 7),
    "",
    "zzzzzzzz",
    `${sessionId}x`,
    "%00",
    "a".repeat(3000),
  ]) {
    expect((await look(worker, `/dashboard/api/sessions/${id}/events`)).status).toBe(404);
  }
});

test("usage is counted as JSON and as a file; a number of days that is none is refused", async () => {
  const worker = await startWorker();
  const { status, body } = await look(worker, "/dashboard/api/usage?days=7");
  expect(status).toBe(200);
  expect(body).toMatchObject({ now: { users: null, sessions: null }, days: 7, users: 0 });
  const today = new Date().toISOString().slice(0, 10);
  expect(body as UsageResponse).toHaveProperty("rows.0.day", today);
  const file = await look(worker, "/dashboard/usage.csv");
  expect(file.headers).toMatchObject({
    "content-type": "text/csv; charset=utf-8",
    "content-disposition": 'attachment; filename="usage.csv"',
  });
  expect(String(file.body).split("\r\n")[1]).toMatch(`${today},0,0,`);
  for (const days of ["0", "367", "-1", "1e2", "", "30&days=31", "a".repeat(2000)]) {
    for (const path of ["api/usage", "usage.csv"]) {
      const answer = await look(worker, `/dashboard/${path}?days=${days}`);
      expect([days, answer.status]).toEqual([days, 400]);
    }
  }
});

test("usage and the policy need the permission to read, and only that", async () => {
  const tokens = { reader: "r".repeat(32), drainer: "d".repeat(32) };
  const worker = await startWorker({
    operatorTokens: [
      { name: "reader", scopes: ["read"], token: tokens.reader },
      { name: "drainer", scopes: ["drain", "sessions"], token: tokens.drainer },
    ],
  });
  const statusFor = async (token: string, path: string): Promise<number> => {
    const headers = { authorization: `Bearer ${token}` };
    return (await worker.ask("GET", path, { headers })).status;
  };
  for (const path of ["api/usage", "usage.csv", "api/policy"]) {
    expect(await statusFor(tokens.reader, `/dashboard/${path}`)).toBe(200);
  }
  for (const path of ["api/usage", "usage.csv", "api/policy", "api/policy/check"]) {
    expect(await statusFor(tokens.drainer, `/dashboard/${path}`)).toBe(403);
  }
});

test("while the store is away, usage is refused and not shown as nothing", async () => {
  const worker = await startWorker();
  await worker.storeFixture.stop();
  for (const path of ["api/usage", "usage.csv"]) {
    expect((await look(worker, `/dashboard/${path}`)).status).toBe(503);
  }
  await worker.storeFixture.start();
});

describe("the policy", () => {
  const TEXT = `version: 1
otherwise: { host: deny, join: deny }
rules:
  - { name: staff, who: { groups: [staff] }, host: allow, join: allow }
  - { name: look only, who: { groups: [staff] }, readOnly: true }
  - { name: everybody, guests: 5, longest: 8h }
  - { name: new clients, clients: { "Visual Studio Code": "0.3.1" } }
`;

  function start(text = TEXT, problem?: string) {
    const path = join(folder, "policy.yaml");
    writeFileSync(path, text);
    const current = readPolicyFile(path);
    const state = { digest: current.digest, problem };
    return startWorker({ shownPolicy: { current, state, path, loadedMs: 1 } });
  }

  test("the policy is shown with its state, as the worker has it", async () => {
    const none = await startWorker();
    const answer = await look(none, "/dashboard/api/policy");
    expect(answer.body).toEqual({ worker: "worker-1", policy: null });
    expect((await look(none, "/dashboard/api/policy/check?user=Ada")).status).toBe(404);

    const worker = await start(TEXT, "line 4: rule 1, host: nonsense");
    expect((await look(worker, "/dashboard/api/policy")).body).toEqual({
      worker: "worker-1",
      policy: {
        path: join(folder, "policy.yaml"),
        version: expect.stringMatching(/^[0-9a-f]{12}$/),
        rules: 4,
        warnings: [
          "rule 2 (look only): readOnly is a hint to the browser page of this server; other clients do not know it, so this is guidance, no protection",
          "rule 4 (new clients): clients can claim any version, so this is guidance, no protection",
        ],
        guidance: ["look only", "new clients"],
        problem: "line 4: rule 1, host: nonsense",
        loadedMs: 1,
      },
    });
  });

  test("the dashboard explains what the policy decides as the command does", async () => {
    const worker = await start();
    const { sessionId } = await worker.openSession();
    const room = sessionId.slice(0, 8);
    const { body, status } = await look(
      worker,
      `/dashboard/api/policy/check?user=ada@example.com&groups=staff,%20leads&room=${room}&address=`,
    );
    expect(status).toBe(200);
    expect(body).toMatchObject({
      worker: "worker-1",
      person: { email: "ada@example.com", groups: ["staff", "leads"], isVerified: true },
      host: { outcome: "allowed", rule: "staff" },
      join: { outcome: "allowed", rule: "staff", isAsked: true },
      readOnlyHint: { rule: "look only" },
      limits: [{ name: "guests", value: 5, rule: "everybody" }, { name: "longestMs" }],
      guidance: ["look only", "new clients"],
    });
    expect((body as PolicyCheckResponse).text.slice(3)).toEqual([
      "person: ada@example.com; groups staff, leads",
      'host: allowed by rule "staff"',
      'join a session of Host: allowed by rule "staff"',
      'hint: the browser page opens it read-only by rule "look only"; other clients do not know this',
      'limits: 5 guests (rule "everybody"), 8h at most (rule "everybody")',
    ]);
    const nobody = await look(worker, "/dashboard/api/policy/check");
    expect(nobody.body).not.toHaveProperty("person");
  });

  test.each([
    ["user=nobody", 404, "nobody called nobody is signed in at an identity provider"],
    ["user=a@b.example&room=zzzzzzzz", 404, "No session has this id"],
    ["user=a@b.example&room=z", 404, "No session has this id"],
    ["user=a@b.example&room=../../x", 404, "No session has this id"],
    ["user=a@b.example&groups=a,,b", 400, "names with commas"],
    ["user=a@b.example&address=localhost", 400, "IP address"],
    ["user=a&user=b", 400, "may be given once"],
    [`user=${"a".repeat(501)}`, 400, "up to 500 characters"],
  ])(
    "the dashboard refuses a question to the policy that it cannot answer: %s",
    async (query, status, text) => {
      const worker = await start();
      const answer = await look(worker, `/dashboard/api/policy/check?${query}`);
      expect(answer.status).toBe(status);
      expect(answer.body).toContain(text);
    },
  );
});

test("a range of the history that does not exist is not found", async () => {
  const worker = await startWorker();
  for (const range of ["hour", "day", "month"]) {
    const { status, body } = await look(worker, `/dashboard/api/history?range=${range}`);
    expect([status, body]).toMatchObject([200, { range, atMs: [], users: [] }]);
  }
  for (const query of ["range=year", "range=__proto__", "range=toString", "range="]) {
    expect((await look(worker, `/dashboard/api/history?${query}`)).status).toBe(404);
  }
});

test("downloads are listed by day, IDE, plugin and version, and as CSV", async () => {
  put(folder, "intellij/p.zip", await pluginZip({ id: "com.example.p", version: "1.2" }));
  await putRepository(join(folder, "eclipse"));
  const worker = await startWorker({ clientsDir: folder });
  await until("it is offered", async () => {
    const { status } = await worker.ask("GET", "/clients/intellij/p.zip");
    return status === 200;
  });
  const { body } = await look(worker, "/dashboard/api/downloads");
  const day = new Date().toISOString().slice(0, 10);
  expect(body).toEqual({
    total: 1,
    rows: [{ day, ide: "intellij", artifact: "com.example.p", version: "1.2", count: 1 }],
  });
  const csv = await look(worker, "/dashboard/api/downloads.csv");
  expect(csv.headers["content-type"]).toBe("text/csv; charset=utf-8");
  expect(csv.body).toBe(`day,ide,id,version,downloads\r\n${day},intellij,com.example.p,1.2,1\r\n`);
});

test("the checks are listed, and the echo names the worker that responded", async () => {
  const worker = await startWorker();
  const { body } = await look(worker, "/dashboard/api/check");
  expect((body as CheckResponse).checks.map(({ name, outcome }) => [name, outcome])).toEqual([
    ["Store", "good"],
    ["Workers", "good"],
    ["Balancers agree", "unknown"],
    ["Secret", "unknown"],
    ["TLS certificate", "unknown"],
    ["Policy", "unknown"],
    ["Webhooks", "unknown"],
    ["Audit", "unknown"],
    ["StatsD", "unknown"],
    ["License", "off"],
  ]);
  const echo = await look(worker, "/dashboard/api/echo");
  expect(echo.body).toEqual({ worker: "worker-1", workers: 1 });
});

// --- logs ---

describe("logs", () => {
  const LINES = "first\nsecond <b>bold</b>\nthird \u001b[31m\u202e\n";

  test("logs are listed, shown and sent below /logs, the older form", async () => {
    writeFileSync(join(folder, "server.log"), LINES);
    const worker = await startWorker({ logDir: folder });
    const list = await look(worker, "/logs/");
    expect(list.headers["content-type"]).toBe("text/html; charset=utf-8");
    for (const name of ["server.log", "access.log", "error.log"]) {
      expect(list.body).toContain(`<a href="${name}">${name}</a>`);
      expect(list.body).toContain(`<a href="${name}?view">view</a>`);
    }
    expect(list.body).toContain(`${Buffer.byteLength(LINES)} bytes`);
    const shown = await look(worker, "/logs/server.log?view");
    expect([
      shown.headers["content-type"],
      shown.headers["content-disposition"],
      shown.body,
    ]).toEqual([
      "text/plain; charset=utf-8",
      undefined,
      "first\nsecond <b>bold</b>\nthird \\u001b[31m\\u202e\n",
    ]);
    const sent = await look(worker, "/logs/server.log");
    expect(sent.headers["content-disposition"]).toBe('attachment; filename="server.log"');
    expect(sent.body).toBe(LINES);
  });

  test("logs are listed and sent below /dashboard/api/logs", async () => {
    writeFileSync(join(folder, "server.log"), LINES);
    const worker = await startWorker({ logDir: folder });
    expect((await look(worker, "/dashboard/api/logs")).body).toEqual({
      logs: [
        { id: "server", name: "server.log", bytes: Buffer.byteLength(LINES) },
        { id: "access", name: "access.log", bytes: null },
        { id: "error", name: "error.log", bytes: null },
      ],
    });
    expect((await look(worker, "/dashboard/api/logs/server")).body).toBe(LINES);
    // Log lines of processes on other machines are in the store.
    expect(await look(worker, "/dashboard/api/logs/access")).toMatchObject({
      status: 200,
      body: "",
    });
  });

  test("logs are named by ids, never by paths", async () => {
    writeFileSync(join(folder, "secret.txt"), "secret");
    const worker = await startWorker({ logDir: folder });
    for (const name of [
      "secret.txt",
      "..%2fsecret.txt",
      "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
      "server.log%00",
      "__proto__",
      "constructor",
    ]) {
      expect((await look(worker, `/logs/${name}`)).status).toBe(404);
      expect((await look(worker, `/logs/${name}?view`)).status).toBe(404);
      expect((await look(worker, `/dashboard/api/logs/${name}`)).status).toBe(404);
    }
  });
});

// --- commands ---

describe("commands", () => {
  const DRAIN = "/dashboard/api/workers/worker-1/drain";

  test("a command is sent to the worker, and its reply is returned", async () => {
    const { worker, commands } = await startListening();
    for (const kind of ["drain", "suspend", "resume"]) {
      const path = `/dashboard/api/workers/worker-1/${kind}`;
      const { status, body } = await worker.ask("POST", path, { headers: OWN_PAGE });
      expect([status, body]).toEqual([200, { outcome: "done", message: "as you wish" }]);
    }
    expect(commands).toEqual([{ kind: "drain" }, { kind: "suspend" }, { kind: "resume" }]);
  });

  test("a command ends a session that is named by a prefix of its id", async () => {
    const { worker, commands } = await startListening();
    const { sessionId } = await worker.openSession();
    const path = `/dashboard/api/sessions/${sessionId.slice(0, 8)}/end`;
    const { body } = await worker.ask("POST", path, { headers: OWN_PAGE });
    expect((body as CommandReply).outcome).toBe("done");
    expect(commands).toEqual([{ kind: "end-session", sessionId: sessionId as SessionId }]);
  });

  test("a command locks a session, and unlocks it", async () => {
    const { worker, commands } = await startListening();
    const { sessionId } = await worker.openSession();
    for (const action of ["lock", "unlock"]) {
      const path = `/dashboard/api/sessions/${sessionId.slice(0, 8)}/${action}`;
      const { body } = await worker.ask("POST", path, { headers: OWN_PAGE });
      expect(body).toMatchObject({ outcome: "done" });
    }
    expect(commands).toEqual([
      { kind: "lock-session", sessionId, isLocked: true },
      { kind: "lock-session", sessionId, isLocked: false },
    ]);
  });

  test("a command removes a guest from a session, and none for anybody else is sent", async () => {
    const { worker, commands } = await startListening();
    const { sessionId, host } = await worker.openSession();
    const session = `/dashboard/api/sessions/${sessionId.slice(0, 8)}/peers`;
    const remove = (peer: string) =>
      worker.ask("POST", `${session}/${peer}/remove`, { headers: OWN_PAGE });
    expect((await remove(host.id)).body).toMatchObject({ outcome: "done" });
    expect(commands).toEqual([{ kind: "remove-peer", sessionId, peerId: host.id }]);
    expect((await remove("a".repeat(24))).status).toBe(404);
    expect((await remove("%2e%2e")).status).toBe(404);
    expect(commands).toHaveLength(1);
  });

  test("a person who has signed in at an identity provider is signed out, anybody else is not", async () => {
    const worker = await startWorker();
    const signOut = async (user: UserRecord): Promise<unknown> => {
      const { sessionId, host } = await worker.openSession(await worker.tokens.signUser(user));
      const path = `/dashboard/api/sessions/${sessionId.slice(0, 8)}/peers/${host.id}/sign-out`;
      return (await worker.ask("POST", path, { headers: OWN_PAGE })).body;
    };
    const user = { id: "user-1", name: "Ada", authProvider: "Unverified" };
    expect(await signOut(user)).toMatchObject({ outcome: "refused" });
    const signIn = {
      ...{ id: "sign-in-1", provider: "oidc", issuer: "https://id.example.com", subject: "1" },
      ...{ revision: 1, begunMs: 1, untilMs: Date.now() + 60_000, user },
    };
    await worker.store.putSignIn({ ...toStored(signIn), ttlMs: 60_000 });
    expect(await signOut({ ...user, signIn: signIn.id })).toMatchObject({
      outcome: "done",
      message: expect.stringContaining("1 sign-in has ended") as string,
    });
    expect(await worker.store.get("revoked", signIn.id)).toBe("");
    expect(await readEnded(worker.store, undefined, 10)).toMatchObject({
      ended: [{ id: signIn.id, cause: "operator" }],
    });
  });

  test.each([
    ["without the page's field", { ...OPERATOR, "sec-fetch-site": "same-origin" }],
    ["of another site", { ...OWN_PAGE, "sec-fetch-site": "cross-site" }],
    ["of another host of the same site", { ...OWN_PAGE, "sec-fetch-site": "same-site" }],
    ["typed into the address line", { ...OWN_PAGE, "sec-fetch-site": "none" }],
    ["with another value", { ...OWN_PAGE, "x-dashboard-request": "0" }],
  ])("a command is refused %s", async (_, headers) => {
    const { worker, commands } = await startListening();
    const { status } = await worker.ask("POST", DRAIN, { headers });
    expect([status, commands]).toEqual([403, []]);
  });

  test("a command requires credentials, a POST, and an existing worker or session", async () => {
    const { worker, commands } = await startListening();
    const { authorization: _, ...anonymous } = OWN_PAGE;
    expect((await worker.ask("POST", DRAIN, { headers: anonymous })).status).toBe(401);
    expect((await worker.ask("GET", DRAIN, { headers: OWN_PAGE })).status).toBe(404);
    for (const path of [
      "/dashboard/api/workers/worker-2/drain",
      "/dashboard/api/workers/%2e%2e/drain",
      "/dashboard/api/workers/worker-1/kill",
      "/dashboard/api/sessions/zzzzzzzz/end",
      "/dashboard/api/sessions/a/end",
    ]) {
      const { status } = await worker.ask("POST", path, { headers: OWN_PAGE });
      expect([path, status]).toEqual([path, 404]);
    }
    expect(commands).toEqual([]);
  });
});

test("operators who come, and what they may not do, are recorded", async () => {
  const recorded = recordedActivity();
  const token = "r".repeat(32);
  const worker = await startWorker({
    activity: recorded.activity,
    operatorTokens: [{ name: "reader", scopes: ["read"], token }],
  });
  const program = { authorization: `Bearer ${token}` };
  for (const headers of [OPERATOR, OPERATOR, program]) {
    expect((await worker.ask("GET", "/dashboard/api/overview", { headers })).status).toBe(200);
  }
  const drain = "/dashboard/api/workers/worker-1/drain";
  expect((await worker.ask("POST", drain, { headers: program })).status).toBe(403);
  expect((await worker.ask("POST", drain, { headers: OPERATOR })).status).toBe(403);
  const wrong = { authorization: basic("ops", "guess") };
  expect((await worker.ask("GET", "/dashboard/", { headers: wrong })).status).toBe(401);
  expect((await worker.ask("GET", "/dashboard/")).status).toBe(401);
  expect(recorded.lines()).toEqual([
    "operator.sign-in, operator ops",
    "operator.sign-in, operator reader",
    "operator.refused, operator reader, permission",
    "operator.refused, operator ops, cross-site",
    "operator.refused, operator, credentials",
  ]);
});

/**
 * Decisions by a request's head: which worker it is for, what to trust, CORS; and the shutdown of a worker's server.
 */
import { expect, test } from "vitest";
import { newIncarnation } from "../../../shared/base/ids.ts";
import { edgeProof, membersProof, newNonce } from "../../../shared/net/edge-headers.ts";
import { watchMachine } from "../../support/machine.ts";
import { connectRaw } from "../../support/sockets.ts";
import { until } from "../../support/until.ts";
import { rawPeer } from "../sessions/fixture.ts";
import { rawPublicKey } from "../sessions/raw-peer.ts";
import { KEYS } from "../worker-parts.ts";
import { pollsWait, refusal, startTwoWorkers, startWorker, type Worker } from "./fixture.ts";

const machine = watchMachine();

// --- x-ct-edge ---

test("a request for the worker that had this address before gets a 421 that names no owner", async () => {
  const worker = await startWorker();
  const former = edgeProof(KEYS.edge, worker.id, newIncarnation());
  for (const proof of [former, "", "x", `${worker.proof}x`]) {
    const refused = await refusal(worker, () =>
      worker.ask("GET", "/api/meta", { headers: { "x-ct-edge": proof } }),
    );
    expect(refused).toMatchObject({ status: 421, body: { code: "Misdirected" }, counted: 1 });
    expect(refused.headers).not.toHaveProperty("x-ct-owner");
    // Its incarnation, also under the name of the version before.
    expect(refused.headers["x-ct-incarnation"]).toMatch(/^[A-Za-z0-9]{16}\./);
    expect(refused.headers["x-ct-life"]).toBe(refused.headers["x-ct-incarnation"]);
    expect(await upgrade(worker, { "x-ct-edge": proof })).toMatch(/^HTTP\/1.1 421 /);
  }
});

test("a request with the right proof is served, and so is one without any proof", async () => {
  const worker = await startWorker();
  const headers = { "x-ct-edge": worker.proof };
  expect((await worker.ask("GET", "/api/meta", { headers })).status).toBe(200);
  expect((await worker.ask("GET", "/api/meta")).status).toBe(200);
});

test("forwarding headers count only with a balancer's proof", async () => {
  const worker = await startWorker();
  const forwarded = {
    origin: "https://edge.example.com",
    "x-forwarded-proto": "https",
    "x-forwarded-host": "edge.example.com",
  };
  const ask = (headers: Record<string, string>) => worker.ask("GET", "/api/meta", { headers });
  const proven = await ask({ ...forwarded, "x-ct-edge": worker.proof });
  expect(proven.headers["access-control-allow-credentials"]).toBe("true");
  // As Traefik sends it with WebSocket requests.
  const wss = await ask({ ...forwarded, "x-forwarded-proto": "wss", "x-ct-edge": worker.proof });
  expect(wss.headers["access-control-allow-credentials"]).toBe("true");
  const untrusted = await ask(forwarded);
  expect(untrusted.headers).not.toHaveProperty("access-control-allow-credentials");
});

test.each([
  ["wss", true],
  ["WSS", true],
  ["HTTPS, http", true],
  ["ws", false],
  ["gopher", false],
])(
  "X-Forwarded-Proto: %s makes the page https://edge.example.com our own: %s",
  async (proto, isOurs) => {
    const worker = await startWorker();
    const headers = {
      "x-ct-edge": worker.proof,
      origin: "https://edge.example.com",
      "x-forwarded-proto": proto,
      "x-forwarded-host": "edge.example.com",
    };
    const answer = await worker.ask("GET", "/api/meta", { headers });
    expect("access-control-allow-credentials" in answer.headers).toBe(isOurs);
  },
);
// --- the list of members ---

test("a balancer that does not reach the store gets an authenticated list of the workers", async () => {
  const worker = await startWorker();
  const nonce = newNonce();
  const headers = { "x-ct-edge": worker.proof, "x-ct-balancer": "b-1", "x-ct-nonce": nonce };
  const listed = await worker.ask("GET", "/ct-edge/members", { headers });
  expect(listed).toMatchObject({ status: 200, body: [worker.record] });
  const proof = membersProof(KEYS.edge, nonce, Buffer.from(JSON.stringify([worker.record])));
  expect(listed.headers["x-ct-members"]).toBe(proof);
  const again = { ...headers, "x-ct-nonce": newNonce() };
  const other = await worker.ask("GET", "/ct-edge/members", { headers: again });
  expect(other.headers["x-ct-members"]).not.toBe(proof);
});

test("only a balancer gets the list of the workers", async () => {
  const worker = await startWorker();
  const right = { "x-ct-edge": worker.proof, "x-ct-balancer": "b-1", "x-ct-nonce": newNonce() };
  const ask = async (headers: Record<string, string>, method = "GET", path = "/ct-edge/members") =>
    (await worker.ask(method, path, { headers })).status;
  const { "x-ct-edge": proof, ...untrusted } = right;
  expect(await ask(untrusted)).toBe(404);
  expect(await ask({ ...right, "x-ct-edge": `${proof}x` })).toBe(421);
  expect(await ask({ "x-ct-edge": proof })).toBe(404);
  expect(await ask({ ...right, "x-ct-nonce": "short" })).toBe(404);
  expect(await ask({ ...right, "x-ct-balancer": "no name!" })).toBe(404);
});

test("a worker that does not reach the store refuses to list the workers", async () => {
  const worker = await startWorker();
  await worker.storeFixture.stop();
  const headers = { "x-ct-edge": worker.proof, "x-ct-balancer": "b-1" };
  await until("the store is away", () => worker.store.health.state !== "up");
  const asked = { ...headers, "x-ct-nonce": newNonce() };
  expect((await worker.ask("GET", "/ct-edge/members", { headers: asked })).status).toBe(503);
});

// --- probes of balancers ---

test("a balancer's probe gets a 204, and its report on the store is recorded", async () => {
  const worker = await startWorker();
  const probe = (store: string, more = {}) =>
    worker.ask("GET", "/ct-edge/probe", {
      headers: { "x-ct-edge": worker.proof, "x-ct-balancer": "b-1", "x-ct-store": store, ...more },
    });
  expect((await probe("away")).status).toBe(204);
  expect(worker.outageReports.isStoreAwayForAll).toBe(true);
  expect((await probe("up")).status).toBe(204);
  expect(worker.outageReports.isStoreAwayForAll).toBe(false);
});

test("reports on the store are accepted from balancers only", async () => {
  const worker = await startWorker();
  const former = edgeProof(KEYS.edge, worker.id, newIncarnation());
  const report = { "x-ct-balancer": "b-1", "x-ct-store": "away" };
  const ask = async (headers: Record<string, string>, method = "GET", path = "/ct-edge/probe") =>
    (await worker.ask(method, path, { headers })).status;
  expect(await ask(report)).toBe(404);
  expect(await ask({ ...report, "x-ct-edge": former })).toBe(421);
  // As a client's request arrives: with a balancer's proof and without a probe's headers.
  expect(await ask({ "x-ct-edge": worker.proof })).toBe(404);
  expect(await ask({ ...report, "x-ct-edge": worker.proof, "x-ct-store": "maybe" })).toBe(404);
  expect(await ask({ ...report, "x-ct-edge": worker.proof, "x-ct-balancer": "b 1" })).toBe(404);
  expect(await ask({ ...report, "x-ct-edge": worker.proof }, "POST")).toBe(404);
  expect(await ask({ ...report, "x-ct-edge": worker.proof }, "GET", "/ct-edge/probe/x")).toBe(404);
  expect(worker.outageReports.isStoreAwayForAll).toBe(false);
});

// --- migrate requests of balancers ---

/** The id of the request that opens a WebSocket. */
const OPENING = "b1-17";

// The second path is that of the version before.
test.each(["/ct-edge/migrate", "/ct-edge/farewell"])(
  "a balancer's request to %s migrates the clients that it names, and no others",
  async (path) => {
    const worker = await startWorker();
    const created = await worker.ask("POST", "/api/session/create", {
      headers: { "x-oct-jwt": await worker.signIn("Host") },
    });
    const { roomToken } = created.body as { roomToken: string };
    const headers = { "x-request-id": OPENING };
    const host = await rawPeer({ url: worker.url, roomToken, headers }).ready();
    await until("it has a WebSocket", () => host.socket.io.engine.transport.name === "websocket");
    const migrateRequests = async (headers: Record<string, string>, body: string) =>
      (await worker.ask("POST", path, { headers, body })).status;
    const balancer = { "x-ct-edge": worker.proof, "x-ct-balancer": "b-1" };
    expect(await migrateRequests({}, OPENING)).toBe(404);
    expect(await migrateRequests({ "x-ct-balancer": "b-1" }, OPENING)).toBe(404);
    // As a client's request arrives.
    expect(await migrateRequests({ "x-ct-edge": worker.proof }, OPENING)).toBe(404);
    expect(await migrateRequests(balancer, "x".repeat(300_000))).toBe(413);
    expect(await migrateRequests(balancer, "nobody\n\n")).toBe(204);
    expect(host.disconnects).toEqual([]);

    expect(await migrateRequests(balancer, `nobody\n${OPENING}`)).toBe(204);
    await until("the host is back", () => host.connects === 2);
  },
);

// --- CORS ---

test("any origin may read responses without credentials; listed origins and our own may with credentials", async () => {
  const worker = await startWorker({
    corsAllowedOrigins: ["https://ide.example.com"],
    serverUrl: "https://edge.example.com",
  });
  const cors = async (origin: string) => {
    const { headers } = await worker.ask("GET", "/api/meta", { headers: { origin } });
    expect(headers["vary"]).toBe("Origin");
    return [
      headers["access-control-allow-origin"],
      headers["access-control-allow-credentials"] ?? "none",
    ];
  };
  expect(await cors("https://anywhere.example.org")).toEqual(["*", "none"]);
  expect(await cors("null")).toEqual(["*", "none"]);
  expect(await cors("https://ide.example.com:8443")).toEqual(["*", "none"]);
  expect(await cors("https://xide.example.com")).toEqual(["*", "none"]);
  expect(await cors("https://ide.example.com")).toEqual(["https://ide.example.com", "true"]);
  expect(await cors("https://edge.example.com")).toEqual(["https://edge.example.com", "true"]);
  expect(await cors(worker.url)).toEqual([worker.url, "true"]);
});

test.each([
  { path: "/api/meta", methods: "GET, HEAD" },
  { path: "/api/login/poll/abc", methods: "POST" },
  { path: "/api/login/poll/abc?useCookie=true", methods: "POST" },
  { path: "/api/session/create", methods: "POST" },
  { path: "/socket.io/?EIO=4&transport=polling", methods: "GET, POST" },
])("the preflight for $path names its methods and our headers", async ({ path, methods }) => {
  const worker = await startWorker();
  const answer = await worker.ask("OPTIONS", path, {
    headers: { origin: "https://ide.example.com", "access-control-request-method": "POST" },
  });
  expect(answer.status).toBe(200);
  expect(answer.headers).toMatchObject({
    "access-control-allow-origin": "*",
    "access-control-allow-methods": methods,
    "access-control-allow-headers":
      "x-oct-jwt, x-oct-public-key, x-oct-client, x-oct-compression, content-type, ctstickiness",
  });
});

test("error responses and handshakes have the CORS headers too, so that pages can read them", async () => {
  const worker = await startWorker();
  for (const path of [
    "/api/nothing",
    "/api/login/poll/%zz",
    "/socket.io/?EIO=4&transport=polling",
  ]) {
    const method = path.startsWith("/socket.io") ? "GET" : "POST";
    const answer = await worker.ask(method, path, { headers: { origin: "https://a.example" } });
    expect(answer.headers["access-control-allow-origin"], path).toBe("*");
  }
});

// --- base paths ---

test("requests are served with and without the path of CT_SERVER_URL", async () => {
  const worker = await startWorker({ serverUrl: "https://edge.example.com/team/oct/" });
  for (const path of ["/api/meta", "/team/oct/api/meta", "/team/oct/login.html"]) {
    expect((await worker.ask("GET", path)).status, path).toBe(200);
  }
  for (const path of ["/team/api/meta", "/team/octapi/meta", "/team/oct/team/oct/api/meta"]) {
    expect((await worker.ask("GET", path)).status, path).toBe(404);
  }
  const create = await worker.ask("POST", "/team/oct/api/session/create", {
    headers: { "x-oct-jwt": await worker.signIn("Host") },
  });
  const { roomToken } = create.body as { roomToken: string };
  const host = await rawPeer({ url: `${worker.url}/team/oct`, roomToken }).ready();
  expect(host.connects).toBe(1);
});

// --- sockets ---

test("a handshake for another worker's session gets a 421 that names the owner, for a request and for an upgrade", async () => {
  const [here, there] = await startTwoWorkers();
  const created = await here.ask("POST", "/api/session/create", {
    headers: { "x-oct-jwt": await here.signIn("Host") },
  });
  const { roomId, roomToken } = created.body as { roomId: string; roomToken: string };
  const epoch = created.headers["x-ct-epoch"];
  const handshake = { "x-oct-jwt": roomToken, "x-oct-public-key": rawPublicKey() };

  for (const headers of [
    handshake,
    { ...handshake, "x-oct-jwt": "", cookie: `oct-jwt=${roomToken}` },
  ]) {
    const polling = await there.ask("GET", "/socket.io/?EIO=4&transport=polling", { headers });
    expect(polling.status).toBe(421);
    expect(polling.headers).toMatchObject({
      "x-ct-owner": "worker-1",
      "x-ct-epoch": epoch,
      "x-ct-key": roomId,
    });
    const upgraded = await upgrade(there, headers);
    expect(upgraded).toMatch(/^HTTP\/1.1 421 Misdirected Request\r\n/);
    expect(upgraded).toContain("\r\nx-ct-owner: worker-1\r\n");
    expect(upgraded).toContain(`\r\nx-ct-epoch: ${String(epoch)}\r\n`);
    expect(upgraded).toContain(`\r\nx-ct-key: ${roomId}\r\n`);
  }
  expect(there.counters.value("worker.requests_misdirected")).toBe(4);
  expect((await rawPeer({ url: here.url, roomToken }).ready()).connects).toBe(1);
});

test("an upgrade without a token, as browsers send it, gets a 421 by the session that routed it", async () => {
  const [here, there] = await startTwoWorkers();
  const { sessionId } = await here.openSession();
  const balanced = { "x-ct-edge": there.proof, "x-ct-key": sessionId };
  const upgraded = await upgrade(there, balanced);
  expect(upgraded).toMatch(/^HTTP\/1.1 421 Misdirected Request\r\n/);
  expect(upgraded).toContain("\r\nx-ct-owner: worker-1\r\n");
  // A key in front of the path that balancers leave there, behind another one.
  const behind = await upgrade(there, { ...balanced, "x-ct-key": "team" }, socketAt(sessionId));
  expect(behind).toContain("\r\nx-ct-owner: worker-1\r\n");
  expect(await upgrade(here, {}, socketAt(sessionId))).toMatch(/^HTTP\/1.1 101 /);
});

test("an upgrade without a token is accepted when no session has its key, and CONNECT decides", async () => {
  const worker = await startWorker();
  for (const key of ["team", "aB3dE5fG7hJ9kL1mN3pQ5rS7"]) {
    const headers = { "x-ct-edge": worker.proof, "x-ct-key": key };
    expect(await upgrade(worker, headers)).toMatch(/^HTTP\/1.1 101 /);
  }
  expect(await worker.store.sessionsOf(worker.id)).toEqual([]);
});

function socketAt(sessionId: string): string {
  return `/k/${sessionId}/socket.io/?EIO=4&transport=websocket`;
}

test("a handshake with an invalid token connects and is then disconnected, so that its client gives up", async () => {
  const worker = await startWorker();
  const peer = rawPeer({ url: worker.url, roomToken: "garbage" });
  await expect.poll(() => peer.disconnects).toEqual(["io server disconnect"]);
});

test("engine.io refuses an unknown connection id, whichever worker owns the session", async () => {
  const [here, there] = await startTwoWorkers();
  const created = await here.ask("POST", "/api/session/create", {
    headers: { "x-oct-jwt": await here.signIn("Host") },
  });
  const { roomToken } = created.body as { roomToken: string };
  const answer = await there.ask("GET", "/socket.io/?EIO=4&transport=polling&sid=unknown", {
    headers: { "x-oct-jwt": roomToken },
  });
  expect(answer).toMatchObject({ status: 400, body: { message: "Session ID unknown" } });
});

test("an empty connection id is none, as for engine.io: a handshake for another worker's session gets a 421", async () => {
  const [here, there] = await startTwoWorkers();
  const created = await here.ask("POST", "/api/session/create", {
    headers: { "x-oct-jwt": await here.signIn("Host") },
  });
  const { roomToken } = created.body as { roomToken: string };
  const headers = { "x-oct-jwt": roomToken };
  const path = "/socket.io/?EIO=4&transport=polling&sid=";
  expect((await there.ask("GET", path, { headers })).status).toBe(421);
  const answer = await here.ask("GET", path, { headers });
  expect(answer.status).toBe(200);
  expect(answer.headers).toHaveProperty("x-ct-session");
});

test("an upgrade on a path without sockets is refused", async () => {
  const worker = await startWorker();
  expect(await upgrade(worker, {}, "/api/meta")).toMatch(/^HTTP\/1.1 400 /);
  expect(await upgrade(worker, {}, "/nothing")).toMatch(/^HTTP\/1.1 404 /);
  expect(worker.counters.value("worker.requests_refused")).toBe(2);
});

// --- the page ---

test("the sign-in page has no inline script and a strict content security policy", async () => {
  const worker = await startWorker({ serverUrl: "https://edge.example.com" });

  const page = await worker.ask("GET", "/login.html?token=abc");

  expect(page.status).toBe(200);
  expect(page.headers).toMatchObject({
    "content-type": "text/html; charset=utf-8",
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "strict-transport-security": "max-age=63072000",
    "content-security-policy": expect.stringContaining("default-src 'none'; script-src 'self'"),
  });
  const html = String(page.body);
  expect(html).not.toMatch(/<script(?![^>]*\bsrc=)|\son\w+=|<style|\sstyle=/);
  // Relative, so that the page works below /k/KEY/.
  const links = [...html.matchAll(/\b(?:src|href|data-endpoint)="([^"]*)"/g)].map(
    ([, link]) => link,
  );
  expect(links).toEqual([
    "login.svg",
    "login.css",
    "login.js",
    "api/login/simple",
    "api/login/apikey",
  ]);
  for (const [path, type] of [
    ["/login.js", "text/javascript; charset=utf-8"],
    ["/login.css", "text/css; charset=utf-8"],
    ["/login.svg", "image/svg+xml; charset=utf-8"],
  ] as const) {
    expect(await worker.ask("GET", path)).toMatchObject({
      status: 200,
      headers: { "content-type": type },
    });
  }
});

test("browsers are told to use HTTPS only when CT_SERVER_URL is set", async () => {
  const worker = await startWorker();
  const page = await worker.ask("GET", "/login.html");
  expect(page.headers).not.toHaveProperty("strict-transport-security");
});

test("the sign-in page has a form for each sign-in method that is on", async () => {
  const forms = async (worker: Worker) => {
    const page = String((await worker.ask("GET", "/login.html")).body);
    expect(page).not.toMatch(/<!--/);
    return [
      ...page.matchAll(/data-endpoint="api\/login\/(\w+)"|(No sign-in method is enabled)/g),
    ].map(([, way, none]) => way ?? none);
  };
  expect(await forms(await startWorker())).toEqual(["simple", "apikey"]);
  expect(await forms(await startWorker({ loginSimple: false }))).toEqual(["apikey"]);
  expect(await forms(await startWorker({ loginApiKey: undefined }))).toEqual(["simple"]);
  expect(await forms(await startWorker({ loginSimple: false, loginApiKey: undefined }))).toEqual([
    "No sign-in method is enabled",
  ]);
});

// --- shutdown ---

test("a worker that stops ends its polls, closes its sockets so that clients reconnect, and frees its port", async () => {
  const worker = await startWorker();
  const { host } = await worker.openSession();
  const token = await worker.begin();
  const polled = worker.ask("POST", `/api/login/poll/${token}`);
  await pollsWait(worker, 1);
  // Half a request that is never completed.
  const stuck = await connectRaw(worker.port);
  stuck.write("GET /api/meta HT");

  const startedMs = performance.now();
  await worker.stop();

  expect(performance.now() - startedMs).toBeLessThan(
    machine.limitMs(startedMs, { promisedMs: 1500, waitsMs: 700 }),
  );
  expect((await polled).status).toBe(204);
  await expect.poll(() => host.disconnects).toEqual(["transport close"]);
  await expect(worker.ask("GET", "/api/meta")).rejects.toThrow("ECONNREFUSED");
});

/** Requests a WebSocket upgrade and resolves with all bytes received until the connection closes. */
async function upgrade(
  worker: Worker,
  headers: Readonly<Record<string, string>>,
  path = "/socket.io/?EIO=4&transport=websocket",
): Promise<string> {
  const raw = await connectRaw(worker.port);
  const fields = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  raw.write(
    `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
      `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n${fields.join("")}\r\n`,
  );
  await raw.has("\r\n\r\n");
  // A connection that is accepted stays open.
  if (!raw.text.startsWith("HTTP/1.1 101 ")) await raw.close();
  return raw.text;
}

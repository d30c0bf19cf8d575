/**
 * Invalid input of every kind, sent through the balancer of a real edge: it gets a clear response and is counted, other
 * clients lose nothing, and no process exits.
 */
import { randomBytes } from "node:crypto";
import { connect } from "node:net";
import { Encryption } from "open-collaboration-protocol";
import { fetch } from "undici";
import { afterEach, beforeAll, expect, test } from "vitest";
import type { Client } from "../support/clients.ts";
import { type EdgeProcess, startEdge } from "../support/edge-process.ts";
import { watchMachine } from "../support/machine.ts";
import { everybodyHears, expectMainJob, openSession, person } from "../support/people.ts";
import {
  chatFor,
  connectRawPeer,
  handshakeHeaders,
  type RawPeer,
  tryHandshake,
} from "../support/raw-peer.ts";
import { countOf } from "../support/status.ts";
import { until } from "../support/until.ts";

const machine = watchMachine();

let edge: EdgeProcess;
let processesAtStart: string;

beforeAll(async () => {
  edge = await startEdge();
  processesAtStart = pidsOf(edge);
});
// No input of any test may have restarted a process.
afterEach(() => expect(pidsOf(edge)).toBe(processesAtStart));

// --- HTTP ---

test.each([
  { method: "GET", path: "/api/session/create" },
  { method: "GET", path: "/api/login/initial" },
  { method: "PUT", path: "/api/meta" },
  { method: "DELETE", path: "/api/session/join/abcdefghijklmnopqrstuvwx" },
])("$method $path is refused as a method that does not fit", async ({ method, path }) => {
  const refused = await refusals(() => ask(method, path));
  expect([404, 405]).toContain(refused.answer.status);
  expect(refused.counted).toBe(1);
});

test("a request for an unknown path gets 404", async () => {
  const refused = await refusals(() => ask("GET", "/api/no-such-thing"));
  expect(refused.answer.status).toBe(404);
  expect(refused.counted).toBe(1);
});

test("malformed JSON gets 400", async () => {
  const refused = await refusals(() => askJson("/api/login/simple", "{ token: "));
  expect(refused.answer.status).toBe(400);
  expect(refused.counted).toBe(1);
});

test("JSON of the wrong shape gets 400", async () => {
  const bodies = ["null", "[]", '"text"', '{"token":{"a":1},"user":["x"]}', "{}"];
  for (const body of bodies) {
    const refused = await refusals(() => askJson("/api/login/simple", body));
    expect(refused.answer.status, body).toBe(400);
    expect(refused.counted).toBe(1);
  }
});

test("a sign-in form without a usable name gets 400", async () => {
  for (const user of ["", "   ", "a".repeat(10_000), "evil\u0000name\u001b[31m"]) {
    const token = await startSignIn();
    const refused = await refusals(() =>
      askJson("/api/login/simple", JSON.stringify({ token, user })),
    );
    expect(refused.answer.status, JSON.stringify(user.slice(0, 20))).toBe(400);
    expect(refused.counted).toBe(1);
  }
});

test("a body of more than 100 kB gets 413", async () => {
  const body = JSON.stringify({ token: "t", user: "x".repeat(200_000) });
  const refused = await refusals(() => askJson("/api/login/simple", body));
  expect(refused.answer.status).toBe(413);
  expect(refused.counted).toBe(1);
});

test("an unknown sign-in token gets the same response as one that timed out", async () => {
  const refused = await refusals(() => ask("POST", "/api/login/poll/unknownunknownunknown123"));
  expect(refused.answer.status).toBe(400);
  expect(refused.answer.body).toMatchObject({ code: "AuthTimeout", params: [] });
  expect(refused.counted).toBe(1);
});

test("without a valid user token nothing under /api/session is allowed", async () => {
  const user = await signIn("Somebody");
  const [head = "", claims = "", signature = ""] = user.split(".");
  const forged = Buffer.from(JSON.stringify({ id: "x", name: "root" })).toString("base64url");
  const bad = [
    "",
    "garbage",
    `${head}.${forged}.${signature}`,
    `${head}.${claims}.${signature.slice(0, -4)}AAAA`,
    `${Buffer.from('{"alg":"none"}').toString("base64url")}.${claims}.`,
  ];
  for (const token of bad) {
    const refused = await refusals(() =>
      ask("POST", "/api/session/create", { headers: { "x-oct-jwt": token } }),
    );
    expect(refused.answer.status, token.slice(0, 10)).toBe(403);
    expect(refused.counted).toBe(1);
    const validated = await ask("POST", "/api/login/validate", {
      headers: { "x-oct-jwt": token },
    });
    expect(validated).toMatchObject({ status: 200, body: { valid: false } });
  }
});

test("a room token is not accepted as a user token", async () => {
  const host = person({ baseUrl: edge.httpUrl, name: "Host" });
  await host.login();
  const { roomToken } = await host.provider.createRoom({});
  const headers = { "x-oct-jwt": roomToken };
  expect((await ask("POST", "/api/session/create", { headers })).status).toBe(403);
});

test("an unknown session cannot be joined", async () => {
  const guest = person({ baseUrl: edge.httpUrl, name: "Lost" });
  await expect(guest.join("abcdefghijklmnopqrstuvwx")).rejects.toMatchObject({
    code: "RoomNotFound",
  });
});

test("an unknown join request is not found", async () => {
  const headers = { "x-oct-jwt": await signIn("Somebody") };
  const refused = await refusals(() =>
    ask("POST", "/api/session/poll/unknownunknownunknown123", { headers }),
  );
  expect(refused.answer).toMatchObject({ status: 404, body: { code: "JoinRequestNotFound" } });
  expect(refused.counted).toBe(1);
});

test("a client cannot poll the join request of another user", async () => {
  const { sessionId, host } = await openSession({ baseUrl: edge.httpUrl, guestCount: 0 });
  host.decide = () => "never answer";
  const mine = { "x-oct-jwt": await signIn("Asker") };
  const theirs = { "x-oct-jwt": await signIn("Thief") };
  const asked = await ask("POST", `/api/session/join/${sessionId}`, { headers: mine });
  const { pollToken } = asked.body as { pollToken: string };

  const stolen = await ask("POST", `/api/session/poll/${pollToken}`, { headers: theirs });
  expect(stolen.status).toBeGreaterThanOrEqual(400);
  const own = await ask("POST", `/api/session/poll/${pollToken}`, { headers: mine });
  expect(own).toMatchObject({ status: 200, body: { code: "WaitingForHost", failure: false } });
});

// --- sockets ---

test("a socket without a valid room token is refused with an error that stops its client from retrying", async () => {
  const { publicKey } = await Encryption.generateKeyPair();
  const user = await signIn("Somebody");
  const before = await countOf(edge, "worker.connects_refused");
  for (const token of ["garbage", user]) {
    const headers = handshakeHeaders(token, publicKey);
    expect(await tryHandshake(edge.httpUrl, headers)).toBe("io server disconnect");
  }
  expect(await countOf(edge, "worker.connects_refused")).toBe(before + 2);
});

test("a guest who left cannot return with the old token", async () => {
  const { host, raw, roomToken } = await sessionWithRawPeer();
  raw.send(leaveMessage());
  await until("the host sees it leave", () => host.left.length === 1);

  const { publicKey } = await Encryption.generateKeyPair();
  const answer = await tryHandshake(edge.httpUrl, handshakeHeaders(roomToken, publicKey));
  expect(answer).toBe("io server disconnect");
  expect(host.joined).toHaveLength(2);
});

test("a host whose session was closed cannot open it again", async () => {
  const host = person({ baseUrl: edge.httpUrl, name: "Host" });
  await host.login();
  const { roomId, roomToken } = await host.provider.createRoom({});
  const raw = await connectRawPeer({ baseUrl: edge.httpUrl, roomToken });
  raw.send(leaveMessage());
  await until("the session is closed", () => raw.disconnectReason !== undefined);

  const { publicKey } = await Encryption.generateKeyPair();
  const answer = await tryHandshake(edge.httpUrl, handshakeHeaders(roomToken, publicKey));
  expect(answer).toBe("io server disconnect");
  const guest = person({ baseUrl: edge.httpUrl, name: "Late" });
  await expect(guest.join(roomId)).rejects.toMatchObject({ code: "RoomNotFound" });
});

// --- messages ---

test("a broadcast without a key for a peer reaches the others and not that peer", async () => {
  const { host, guest, raw } = await sessionWithRawPeer();
  const before = await countOf(edge, "worker.messages_dropped");

  raw.send(await chatFor([peerOf(host)], "", "only the host has a key"));
  raw.send(await chatFor([peerOf(host), peerOf(guest)], "", "both have one"));

  await until("both got what they have a key for", () => {
    return host.said.length === 2 && guest.said.length === 1;
  });
  expect(host.said.map(({ text }) => text).sort()).toEqual([
    "both have one",
    "only the host has a key",
  ]);
  expect(guest.said.map(({ text }) => text)).toEqual(["both have one"]);
  expect(await countOf(edge, "worker.messages_dropped")).toBe(before + 1);
});

test("a message with a forged origin is delivered with the true sender's name", async () => {
  const { host, guest, raw } = await sessionWithRawPeer();

  raw.send(await chatFor([peerOf(guest)], host.id, "I am the host"));

  await until("the guest hears it", () => guest.said.length === 1);
  expect(guest.said).toEqual([{ from: raw.self.id, text: "I am the host", direct: false }]);
});

test("a peer cannot impersonate the server", async () => {
  const { host, guest, raw } = await sessionWithRawPeer();
  const before = await countOf(edge, "worker.messages_dropped");
  const plain = { version: "0.3.1", metadata: noMetadata, origin: "" };

  raw.send({ ...plain, kind: "broadcast", content: { method: "room/closed", params: [] } });
  raw.send({
    ...plain,
    kind: "notification",
    target: guest.id,
    content: { method: "peer/info", params: [raw.self] },
  });
  raw.send({
    ...plain,
    kind: "request",
    id: 1,
    target: host.id,
    content: { method: "peer/join", params: [{ name: "Friend of mine" }] },
  });

  await until("the messages are dropped", async () => {
    return (await countOf(edge, "worker.messages_dropped")) === before + 3;
  });
  await everybodyHears(host, [guest], "still here");
  expect(guest.closedCount).toBe(0);
  expect(guest.infos).toHaveLength(1);
  expect(host.joinRequests).toHaveLength(2);
});

test("invalid messages are dropped, and the session continues", async () => {
  const { host, guest, raw } = await sessionWithRawPeer();
  const before = await countOf(edge, "worker.messages_dropped");
  const nonsense: unknown[] = [
    null,
    42,
    "text",
    [],
    {},
    { version: "0.3.1", kind: "broadcast" },
    { version: "9.0.0", kind: "broadcast", metadata: noMetadata, content: new Uint8Array(8) },
    { version: "0.3.1", kind: "shout", metadata: noMetadata, content: new Uint8Array(8) },
    { version: "0.3.1", kind: "notification", target: "nobody", metadata: noMetadata, content: {} },
    { version: "0.3.1", kind: "broadcast", metadata: { encryption: { keys: "all" } }, content: 1 },
  ];

  for (const message of nonsense) raw.send(message);
  for (const bytes of [new Uint8Array(0), randomBytes(64), new Uint8Array([0xc1])]) {
    raw.sendBytes(bytes);
  }

  await until("all of them are counted", async () => {
    return (await countOf(edge, "worker.messages_dropped")) >= before + nonsense.length + 2;
  });
  await everybodyHears(host, [guest], "we go on");
  await everybodyHears(guest, [host], "so we do");
});

test("a request to an absent peer gets the protocol's error", async () => {
  const { host } = await sessionWithRawPeer();
  await expect(
    host.connection.sendRequest("fileSystem/readFile", host.id.replace(/.$/, "!"), "x"),
  ).rejects.toThrow();
});

test("a client that floods is throttled while the requests of others are answered", async () => {
  const { host, guest, raw } = await sessionWithRawPeer();
  const elsewhere = await openSession({ baseUrl: edge.httpUrl, guestCount: 1 });
  const floods = await countOf(edge, "worker.floods_slowed");
  const taken = await countOf(edge, "worker.messages_relayed", "broadcast");
  // No peer has a key: the flood costs only the server, not the clients that are measured here.
  const message = await chatFor([raw.self], "", "flood");

  for (let count = 0; count < 6000; count++) raw.send(message);
  await until("the flood is slowed down", async () => {
    return (await countOf(edge, "worker.floods_slowed")) > floods;
  });

  const askedMs = performance.now();
  const [first] = elsewhere.guests;
  for (let round = 0; round < 5; round++) {
    expect(await guest.read(host.id, "src/main.ts")).toBe("Host:src/main.ts");
    expect(await first?.read(elsewhere.host.id, "src/main.ts")).toBe("Host:src/main.ts");
  }
  const tookMs = performance.now() - askedMs;
  expect(tookMs).toBeLessThan(machine.limitMs(askedMs, { promisedMs: 5000 }));
  // A burst of 1000, then 500 a second: most of the flood is still queued at its sender.
  expect(await countOf(edge, "worker.messages_relayed", "broadcast")).toBeLessThan(taken + 5000);
  expect(raw.disconnectReason).toBeUndefined();
});

// --- bytes ---

test("garbage bytes on any port do no harm", async () => {
  const { host, guests } = await openSession({ baseUrl: edge.httpUrl, guestCount: 1 });
  const { httpPort, tlsPort, statusPort, workers } = edge.readFile();
  const ports = [httpPort, tlsPort, statusPort];
  for (const worker of workers) ports.push(worker.port, worker.statusPort);
  const garbage = [
    randomBytes(4096),
    Buffer.alloc(128 * 1024, "A"),
    Buffer.from(
      "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    ),
    Buffer.from([0x16, 0x03, 0x01, 0xff, 0xff, ...randomBytes(300)]),
    Buffer.from(
      "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nUpgrade: websocket\r\n\r\n\0\0",
    ),
  ];

  await Promise.all(
    ports.flatMap((port) => garbage.map((bytes) => sendBytesUntilClosed(port, bytes))),
  );

  expect(await guests[0]?.read(host.id, "src/main.ts")).toBe("Host:src/main.ts");
  expect(host.reconnectCount).toBe(0);
});

test("a new session works after all invalid input", async () => {
  await expectMainJob(edge.httpUrl, 2);
});

// --- arrangements ---

const noMetadata = { encryption: { keys: [] }, compression: { algorithm: "none" } };

interface Answer {
  readonly status: number;
  /** Parsed when it is JSON, else the text. */
  readonly body: unknown;
}

async function ask(
  method: string,
  path: string,
  init: { readonly headers?: Record<string, string>; readonly body?: string } = {},
): Promise<Answer> {
  const answer = await fetch(edge.httpUrl + path, { method, ...init });
  const text = await answer.text();
  try {
    return { status: answer.status, body: JSON.parse(text) };
  } catch {
    return { status: answer.status, body: text };
  }
}

function askJson(path: string, body: string): Promise<Answer> {
  return ask("POST", path, { headers: { "content-type": "application/json" }, body });
}

/** The response, and the increase of the counter of refused requests. */
async function refusals(
  act: () => Promise<Answer>,
): Promise<{ readonly answer: Answer; readonly counted: number }> {
  const before = await countOf(edge, "worker.requests_refused");
  const answer = await act();
  const after = await countOf(edge, "worker.requests_refused");
  return { answer, counted: after - before };
}

async function startSignIn(): Promise<string> {
  const { body } = await ask("POST", "/api/login/initial");
  return (body as { pollToken: string }).pollToken;
}

/** A user token. */
async function signIn(name: string): Promise<string> {
  const client = person({ baseUrl: edge.httpUrl, name });
  await client.login();
  return client.provider.authToken ?? "";
}

/** A session with a host, a guest with an unmodified client, and a peer that sends arbitrary bytes. */
async function sessionWithRawPeer(): Promise<{
  host: Client;
  guest: Client;
  raw: RawPeer;
  roomToken: string;
}> {
  const { sessionId, host, guests } = await openSession({ baseUrl: edge.httpUrl, guestCount: 1 });
  const [guest] = guests;
  if (guest === undefined) throw new Error("there is no guest");
  const joining = person({ baseUrl: edge.httpUrl, name: "Raw" });
  await joining.login();
  const { roomToken } = await joining.provider.joinRoom({ roomId: sessionId });
  const raw = await connectRawPeer({ baseUrl: edge.httpUrl, roomToken });
  await until("the others know the raw peer", () =>
    [host, guest].every((client) => client.joined.some((peer) => peer.id === raw.self.id)),
  );
  return { host, guest, raw, roomToken };
}

function peerOf(client: Client): (typeof client.infos)[number] {
  const info = client.infos[0];
  if (info === undefined) throw new Error(`${client.name} is in no session`);
  return info;
}

function leaveMessage(): unknown {
  const content = { method: "room/leave", params: [] };
  return {
    version: "0.3.1",
    kind: "notification",
    origin: "",
    target: "",
    metadata: noMetadata,
    content,
  };
}

function pidsOf(of: EdgeProcess): string {
  const { pid, balancer, workers } = of.readFile();
  return JSON.stringify([pid, balancer.pid, ...workers.map((worker) => worker.pid)]);
}

/** Sends bytes and waits until the connection has closed, cleanly or not; half a request may wait for its timeout. */
function sendBytesUntilClosed(port: number, bytes: Buffer): Promise<void> {
  const socket = connect(port, "127.0.0.1", () => socket.end(bytes));
  socket.on("error", () => {});
  socket.resume();
  return new Promise((resolve) => socket.once("close", () => resolve()));
}

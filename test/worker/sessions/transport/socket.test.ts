/** The `/socket.io/` endpoint: session headers, ids, namespaces, refused CONNECTs. */
import { request } from "node:http";
import { expect, it } from "vitest";
import { newPeerId, newSessionId } from "../../../../shared/base/ids.ts";
import { readTag } from "../../../../shared/base/worker-tag.ts";
import { exchange } from "../../../support/sockets.ts";
import { until } from "../../../support/until.ts";
import {
  HOST_USER,
  startWithGuest,
  startWithHost,
  startWorker,
  type WorkerFixture,
} from "../fixture.ts";
import { rawPublicKey } from "../raw-peer.ts";

interface Head {
  readonly status: number;
  readonly headers: Record<string, unknown>;
  readonly body: string;
}

function get(
  worker: WorkerFixture,
  path: string,
  headers: Record<string, string> = {},
): Promise<Head> {
  return new Promise((resolve, reject) => {
    request(`${worker.url}${path}`, { headers }, (res) => {
      let body = "";
      res.setEncoding("utf8");
      res.on("data", (chunk) => {
        body += chunk;
      });
      res.on("end", () => resolve({ status: res.statusCode ?? 0, headers: res.headers, body }));
    })
      .on("error", reject)
      .on("upgrade", (res, socket) => {
        socket.destroy();
        resolve({ status: res.statusCode ?? 0, headers: res.headers, body: "" });
      })
      .end();
  });
}

function upgradeHeaders(more: Record<string, string> = {}): Record<string, string> {
  return {
    connection: "Upgrade",
    upgrade: "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    ...more,
  };
}

const POLL = "/socket.io/?EIO=4&transport=polling";
const SOCKET = "/socket.io/?EIO=4&transport=websocket";

it("responses to handshakes and upgrades carry session and epoch, also when the upgrade has only a sid", async () => {
  const { worker, sessionId, hostToken } = await startWithHost();
  const marks = {
    "x-ct-session": sessionId,
    "x-ct-epoch": String(worker.registry.live(sessionId)?.epoch),
  };
  const handshake = await get(worker, POLL, { "x-oct-jwt": hostToken });
  expect(handshake.headers).toMatchObject(marks);
  const { sid } = JSON.parse(handshake.body.slice(1)) as { sid: string };
  const upgrade = await get(worker, `${SOCKET}&sid=${sid}`, upgradeHeaders());
  expect(upgrade).toMatchObject({ status: 101, headers: marks });
  const direct = await get(worker, SOCKET, upgradeHeaders({ cookie: `a=b; oct-jwt=${hostToken}` }));
  expect(direct).toMatchObject({ status: 101, headers: marks });
  const stranger = await get(worker, POLL);
  expect(stranger.status).toBe(200);
  expect(stranger.headers).not.toHaveProperty("x-ct-session");
});

it("connection ids start with the worker's tag", async () => {
  const worker = await startWorker();
  const { body } = await get(worker, POLL);
  const { sid, maxPayload } = JSON.parse(body.slice(1)) as { sid: string; maxPayload: number };
  expect(readTag(sid)).toBe(worker.tag);
  expect(sid).toHaveLength(40);
  expect(maxPayload).toBe(16 * 1024 * 1024);
});

it("a connection is served under any base path", async () => {
  const worker = await startWorker();
  const { sessionId, roomToken } = await worker.create();
  const host = worker.peer(roomToken, {
    url: `${worker.url}/k/my-key/deeper`,
    // A balancer strips the path before it gets here; the namespace keeps it.
    options: { path: "/socket.io" },
  });
  await host.ready();
  const guest = await worker.joinSession(sessionId, host);
  guest.broadcast("hello", [host.id]);
  await until("the host gets it", () => host.contents("broadcast").includes("hello"));
  host.broadcast("hello back", [guest.id]);
  await until("the guest gets it", () => guest.contents("broadcast").includes("hello back"));
});

it("a connection can enter only one namespace", async () => {
  const { host } = await startWithHost();
  const errors: string[] = [];
  for (let n = 0; n < 3; n++) {
    host.socket.io
      .socket(`/more-${n}`)
      .on("connect_error", (error) => errors.push(error.message))
      .connect();
  }
  await until("all are refused", () => errors.length === 3);
  expect(new Set(errors)).toEqual(new Set(["one namespace per connection"]));
  expect(host.disconnects).toEqual([]);
});

it.each([
  ["no token", async () => "", {}, "token"],
  ["a token that is none", async () => "garbage", {}, "token"],
  ["a user token", (worker: WorkerFixture) => worker.tokens.signUser(HOST_USER), {}, "token"],
  ["no public key", hostToken, { "x-oct-public-key": "" }, "key"],
  ["a public key that is none", hostToken, { "x-oct-public-key": "MIIBnonsense" }, "key"],
  ["a token of a session that does not exist", tokenOfNothing, {}, "unknown"],
] as const)(
  "with %s a client connects and is sent away for good",
  async (_, token, headers, reason) => {
    const worker = await startWorker();
    const peer = worker.peer(await token(worker), { headers });
    await until("it is disconnected", () => peer.disconnects.length === 1);
    expect(peer.disconnects).toEqual(["io server disconnect"]);
    expect(worker.counters.value("worker.connects_refused", reason)).toBe(1);
    await expect.poll(() => worker.sockets.connections).toBe(0);
  },
);

// --- what a browser's WebSocket sends in its CONNECT ---

const WEBSOCKET_ONLY = ["websocket"] as const;

it("a client without headers is admitted by what its CONNECT contains", async () => {
  const { worker, sessionId, host } = await startWithHost();
  const roomToken = await worker.invite(sessionId, host);
  const guest = worker.peer(roomToken, { payload: {}, transports: WEBSOCKET_ONLY });
  await guest.ready();
  guest.broadcast("hello", [host.id]);
  await until("the host gets it", () => host.contents("broadcast").includes("hello"));
  const [[joined] = []] = host.plain("room/joined");
  expect(joined).toMatchObject({
    metadata: {
      encryption: { publicKey: rawPublicKey() },
      compression: { supported: ["gzip"] },
    },
  });
});

it("headers come before what the CONNECT contains, and that before the cookie, which all tabs share", async () => {
  const { worker, sessionId, host } = await startWithHost();
  const [first, second] = [
    await worker.invite(sessionId, host, { id: "user-1", name: "First" }),
    await worker.invite(sessionId, host, { id: "user-2", name: "Second" }),
  ];
  const names = (): unknown[] =>
    host.plain("room/joined").map(([peer]) => (peer as { name: string }).name);
  const headers = { "x-oct-jwt": first, "x-oct-public-key": rawPublicKey() };
  const junk = { "x-oct-jwt": "junk", "x-oct-public-key": "junk" };
  await worker.peer("junk", { headers, payload: junk }).ready();
  expect(names()).toEqual(["First"]);
  await worker.peer(second, { headers: { cookie: `oct-jwt=${first}` }, payload: {} }).ready();
  expect(names()).toEqual(["First", "Second"]);
});

it.each([
  ["no token", { "x-oct-jwt": undefined }, "token"],
  ["a token that is no text", { "x-oct-jwt": { toString: "x" } }, "token"],
  ["a token that is too long", { "x-oct-jwt": "x".repeat(60_000) }, "token"],
  ["no public key", { "x-oct-public-key": null }, "key"],
  ["a public key that is none", { "x-oct-public-key": "MIIBnonsense" }, "key"],
  ["a public key that is too long", { "x-oct-public-key": "M".repeat(5000) }, "key"],
])("a client whose CONNECT contains %s is sent away for good", async (_, payload, reason) => {
  const worker = await startWorker();
  const peer = worker.peer(await hostToken(worker), { payload });
  await until("it is disconnected", () => peer.disconnects.length === 1);
  expect(peer.disconnects).toEqual(["io server disconnect"]);
  expect(worker.counters.value("worker.connects_refused", reason)).toBe(1);
});

it("the response to a browser's upgrade carries the session by which it was routed, if it is here", async () => {
  const { worker, sessionId } = await startWithHost();
  const upgrade = (key: string): Promise<Head> =>
    get(worker, SOCKET, upgradeHeaders({ "x-ct-key": key }));
  expect(await upgrade(sessionId)).toMatchObject({
    status: 101,
    headers: { "x-ct-session": sessionId },
  });
  for (const key of [newSessionId(), "team"]) {
    expect((await upgrade(key)).headers).not.toHaveProperty("x-ct-session");
  }
});

it("a guest is not admitted before the host, even with a valid token", async () => {
  const worker = await startWorker();
  const created = await worker.create();
  const guest = worker.peer(await roomToken(worker, { sessionId: created.sessionId, host: false }));
  await until("it is disconnected", () => guest.disconnects.length === 1);
  const second = worker.peer(await roomToken(worker, { sessionId: created.sessionId, host: true }));
  await second.ready();
  const third = worker.peer(created.roomToken);
  await until("a second host is disconnected", () => third.disconnects.length === 1);
});

it("a flood of requests for an unknown session reaches the store once a second", async () => {
  const worker = await startWorker();
  const sessionId = newSessionId();
  let asked = 0;
  const resumeSession = worker.store.resumeSession.bind(worker.store);
  worker.store.resumeSession = (resume) => {
    asked++;
    return resumeSession(resume);
  };
  const claims = await Promise.all(
    Array.from({ length: 100 }, () => worker.registry.claim(sessionId)),
  );
  expect(new Set(claims.map(({ outcome }) => outcome))).toEqual(new Set(["unknown"]));
  await worker.registry.claim(sessionId);
  expect(asked).toBe(1);
});

it("malformed requests do not affect the session", async () => {
  const { worker, host } = await startWithHost();
  const statuses = [];
  for (const path of [
    "/socket.io/",
    "/socket.io/?EIO=3&transport=polling",
    "/socket.io/?EIO=4&transport=pigeon",
    "/socket.io/?EIO=4&transport=websocket",
    `${POLL}&sid=unknown`,
    `${POLL}&sid=__proto__`,
    "//?EIO=4",
  ]) {
    statuses.push((await get(worker, path)).status);
  }
  expect(statuses).toEqual([400, 400, 400, 400, 400, 400, 400]);
  for (const bytes of [
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    "GET // HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    `GET ${SOCKET} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\xff\xff\xff\xff`,
  ]) {
    await exchange(worker.port, bytes);
  }
  expect(host.disconnects).toEqual([]);
});

it("an event with several binary parts is not buffered and closes its connection", async () => {
  const { worker, guest } = await startWithGuest();
  guest.socket.emit("message", Buffer.from("a"), Buffer.from("b"));
  await until("the connection is closed", () => guest.disconnects.length === 1);
  expect(worker.counters.value("worker.messages_dropped", "malformed")).toBe(1);
  await until("it comes back", () => guest.connects === 2);
});

it("a worker that stops closes its connections so that clients reconnect", async () => {
  const { worker, host } = await startWithHost();
  await worker.stop();
  await until("the host is disconnected", () => host.disconnects.length === 1);
  expect(["transport close", "transport error"]).toContain(host.disconnects[0]);
  const next = await startWorker({ store: worker.storeFixture, port: worker.port });
  await next.registry.recover();
  await until("it is back", () => host.connects === 2);
});

async function hostToken(worker: WorkerFixture): Promise<string> {
  const created = await worker.registry.create(HOST_USER);
  return created.outcome === "created" ? created.roomToken : "";
}

function tokenOfNothing(worker: WorkerFixture): Promise<string> {
  return roomToken(worker, { sessionId: newSessionId(), host: true });
}

function roomToken(
  worker: WorkerFixture,
  claims: Pick<Parameters<WorkerFixture["tokens"]["signRoom"]>[0], "sessionId" | "host">,
): Promise<string> {
  return worker.tokens.signRoom({ clock: 0, peerId: newPeerId(), user: HOST_USER, ...claims });
}

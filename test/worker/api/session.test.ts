/**
 * Creating sessions and requesting to join them over HTTP.
 */
import { expect, test } from "vitest";
import type { SessionId } from "../../../shared/base/ids.ts";
import { KEY_HEADER } from "../../../shared/net/edge-headers.ts";
import { connectRaw } from "../../support/sockets.ts";
import { until } from "../../support/until.ts";
import { isJoinRequest } from "../sessions/fixture.ts";
import type { RawPeer } from "../sessions/raw-peer.ts";
import { createSkipClock } from "../sessions/skip-clock.ts";
import {
  type Answer,
  pollsWait,
  refusal,
  startTwoWorkers,
  startWorker,
  type Worker,
} from "./fixture.ts";

// --- authentication ---

test("requests below /api/session/ are refused without a user token", async () => {
  const worker = await startWorker();
  const { sessionId } = await worker.openSession();
  const created = await create(worker, await worker.signIn());
  const { roomToken } = created.body as { roomToken: string };
  for (const token of ["", "garbage", roomToken]) {
    for (const path of ["create", `join/${sessionId}`, `poll/${sessionId}abc`]) {
      const refused = await refusal(worker, () =>
        worker.ask("POST", `/api/session/${path}`, { headers: { "x-oct-jwt": token } }),
      );
      expect(refused).toMatchObject({ status: 403, body: "Forbidden resource", counted: 1 });
    }
  }
});

// --- create ---

test("the response to a create has the host's room token, and the session's headers for the balancer", async () => {
  const worker = await startWorker();
  const user = await worker.signIn("Host");

  const { status, body, headers } = await create(worker, user);

  expect(status).toBe(200);
  const { roomId, roomToken } = body as { roomId: SessionId; roomToken: string };
  expect(roomId).toMatch(/^[A-Za-z0-9]{24}$/);
  expect(await worker.tokens.verifyRoom(roomToken)).toMatchObject({
    sessionId: roomId,
    host: true,
    user: { name: "Host" },
  });
  expect(headers["x-ct-session"]).toBe(roomId);
  expect(Number(headers["x-ct-epoch"])).toBe(worker.registry.live(roomId)?.epoch);
});

test("a user with too many open sessions cannot create another one", async () => {
  const worker = await startWorker({ maxSessionsPerUser: 1 });
  const user = await worker.signIn();
  expect((await create(worker, user)).status).toBe(200);
  const refused = await refusal(worker, () => create(worker, user));
  expect(refused).toMatchObject({ status: 400, body: { code: "SessionQuota" }, counted: 1 });
});

test("a session key becomes the alias of the first session created with it, when a balancer passes it on", async () => {
  const worker = await startWorker();
  const user = await worker.signIn();
  const vouched = { "x-ct-edge": worker.proof, [KEY_HEADER]: "team-7" };

  const first = await create(worker, user, vouched);
  const second = await create(worker, user, vouched);
  const unvouched = await create(worker, user, { [KEY_HEADER]: "team-8" });

  const { roomId } = first.body as { roomId: string };
  const find = (key: string) => worker.store.findSession(key as SessionId);
  expect((await find("team-7"))?.id).toBe(roomId);
  expect(second.status).toBe(200);
  expect(unvouched.status).toBe(200);
  expect(await find("team-8")).toBeUndefined();
});

test("new sessions start while the store is away", async () => {
  const worker = await startWorker();
  const user = await worker.signIn();
  await worker.storeFixture.stop();
  await until("the store is away", () => worker.store.health.state === "away");
  expect((await create(worker, user)).status).toBe(200);
});

// --- join ---

test("a guest who requests to join gets WaitingForHost, and a room token when the host accepts", async () => {
  const worker = await startWorker();
  const { sessionId, host } = await worker.openSession();
  const guest = await worker.signIn("Guest");

  const asked = await join(worker, guest, sessionId);
  expect(asked).toMatchObject({ status: 200, body: { roomId: sessionId } });
  expect(asked.headers["x-ct-session"]).toBe(sessionId);
  const token = pollTokenOf(asked);
  expect(await poll(worker, guest, token)).toMatchObject({
    status: 200,
    body: {
      code: "WaitingForHost",
      failure: false,
      params: [],
      message: "Waiting for host to accept join request",
    },
  });
  const polled = poll(worker, guest, token);
  await pollsWait(worker, 1);
  await decide(host, true);

  const { status, body } = await polled;
  expect(status).toBe(200);
  expect(body).toMatchObject({
    roomId: sessionId,
    roomToken: expect.any(String),
    workspace: { name: expect.any(String), folders: expect.any(Array) },
    host: { host: true, name: "Host", metadata: { encryption: {}, compression: {} } },
  });
  const { roomToken } = body as { roomToken: string };
  expect(await worker.tokens.verifyRoom(roomToken)).toMatchObject({ host: false, sessionId });
  // A client that lost the response polls again.
  expect((await poll(worker, guest, token)).body).toEqual(body);
});

test("a host's decision that precedes the first poll is sent at once", async () => {
  const { worker, sessionId, host, guest, token } = await startJoin();
  await decide(host, true);
  await until("it is answered", async () => {
    return (await worker.store.readTicket("join", token))?.state === "answered";
  });
  expect((await poll(worker, guest, token)).body).toMatchObject({ roomId: sessionId });
});

test("a guest whom the host rejects gets JoinRejected", async () => {
  const { worker, host, guest, token } = await startJoin();
  await decide(host, false);
  const answer = await until("the answer", async () => {
    const { body } = await poll(worker, guest, token);
    return (body as { failure?: boolean }).failure === true ? body : undefined;
  });
  expect(answer).toEqual({
    code: "JoinRejected",
    failure: true,
    params: [],
    message: "Join request has been rejected",
  });
});

test("a guest whose host does not decide within 300 s gets JoinTimeout", async () => {
  const clock = createSkipClock();
  const { worker, host, guest, token } = await startJoin({ clock, pollTimeoutMs: 600_000 });
  await poll(worker, guest, token);
  const polled = poll(worker, guest, token);
  await pollsWait(worker, 1);
  await until("the host is asked", () => host.received.some(isJoinRequest));

  // In steps, so that the host's connection stays alive, and not much further: a minute later the request is forgotten.
  let steps = 0;
  await until("the time is over", () => {
    if (steps++ <= 300 / 10) clock.skip(10_000);
    return worker.api.waitingPolls === 0;
  });

  expect((await polled).body).toMatchObject({ code: "JoinTimeout", failure: true });
});

test("a join poll without a decision ends after its timeout, with a response that all clients understand", async () => {
  const { worker, guest, token } = await startJoin({ pollTimeoutMs: 50 });
  // Clients of protocol packages before 0.3.3 parse any body as JSON.
  for (let count = 0; count < 3; count++) {
    expect(await poll(worker, guest, token)).toMatchObject({
      status: 200,
      body: { code: "WaitingForHost", failure: false },
    });
  }
});

test("a guest's poll on a worker that drains or stops ends with WaitingForHost, and not in a tight loop", async () => {
  const { worker, guest, token } = await startJoin();
  const waitingForHost = { status: 200, body: { code: "WaitingForHost", failure: false } };
  expect(await poll(worker, guest, token)).toMatchObject(waitingForHost);
  const polled = poll(worker, guest, token);
  await pollsWait(worker, 1);

  const startMs = performance.now();
  worker.api.shortenPolls();
  expect(await polled).toMatchObject(waitingForHost);
  expect(await poll(worker, guest, token)).toMatchObject(waitingForHost);
  // A second for this poll; the one before may have waited for most of its own already.
  expect(performance.now() - startMs).toBeGreaterThanOrEqual(995);

  const last = poll(worker, guest, token);
  await pollsWait(worker, 1);
  worker.api.releasePolls();
  expect(await last).toMatchObject(waitingForHost);
});

test("for a guest, another user's join request does not exist", async () => {
  const { worker, host, guest, token } = await startJoin();
  const thief = await worker.signIn("Thief");
  const unknown = { status: 404, body: { code: "JoinRequestNotFound", params: [] }, counted: 1 };

  expect(await refusal(worker, () => poll(worker, thief, token))).toMatchObject(unknown);
  await decide(host, true);
  await until("it is answered", async () => {
    return (await worker.store.readTicket("join", token))?.state === "answered";
  });
  expect(await refusal(worker, () => poll(worker, thief, token))).toMatchObject(unknown);
  // The other user's polls have not used up the guest's first WaitingForHost.
  expect((await poll(worker, guest, token)).status).toBe(200);
});

test("sessions that do not exist, have no host yet, or have ended cannot be joined", async () => {
  const worker = await startWorker();
  const guest = await worker.signIn("Guest");
  const missing = { status: 404, body: { code: "RoomNotFound", params: [] }, counted: 1 };
  const ask = (sessionId: string) => refusal(worker, () => join(worker, guest, sessionId));

  expect(await ask("abcdefghijklmnopqrstuvwx")).toMatchObject(missing);
  expect(await ask("short")).toMatchObject(missing);
  const created = await create(worker, await worker.signIn("Host"));
  expect(await ask((created.body as { roomId: string }).roomId)).toMatchObject(missing);
  const { sessionId, host } = await worker.openSession();
  host.leave();
  await until("it is closed", () => worker.registry.live(sessionId as SessionId) === undefined);
  expect(await ask(sessionId)).toMatchObject(missing);
});

test("a full session refuses join requests", async () => {
  const worker = await startWorker({ maxPeersPerSession: 2 });
  const { sessionId } = await worker.openSession();
  const guest = await worker.signIn("Guest");
  expect((await join(worker, guest, sessionId)).status).toBe(200);
  expect((await join(worker, guest, sessionId)).status).toBe(200);
  const refused = await refusal(worker, () => join(worker, guest, sessionId));
  expect(refused).toMatchObject({ status: 403, body: { code: "RoomFull" }, counted: 1 });
});

// --- two workers ---

test("a worker that does not have the session names its owner", async () => {
  const [here, there] = await startTwoWorkers();
  const { sessionId } = await here.openSession();
  const guest = await there.signIn("Guest");
  const token = pollTokenOf(await join(here, guest, sessionId));
  const epoch = here.registry.live(sessionId as SessionId)?.epoch;

  for (const answer of [await join(there, guest, sessionId), await poll(there, guest, token)]) {
    expect(answer.status).toBe(421);
    expect(answer.headers).toMatchObject({
      "x-ct-owner": "worker-1",
      "x-ct-epoch": String(epoch),
      "x-ct-key": sessionId,
    });
    expect(answer.body).toEqual({
      code: "Misdirected",
      params: [],
      message: "Another worker has this session",
    });
  }
  expect(there.counters.value("worker.requests_misdirected")).toBe(2);
});

test("a request for another worker's session gets its 421 before its body has arrived", async () => {
  const [here, there] = await startTwoWorkers();
  const { sessionId } = await here.openSession();
  const guest = await there.signIn("Guest");
  const raw = await connectRaw(there.port);
  raw.write(
    `POST /api/session/join/${sessionId} HTTP/1.1\r\nHost: a\r\nx-oct-jwt: ${guest}\r\n` +
      "Content-Type: application/json\r\nContent-Length: 50000\r\n\r\n{",
  );
  expect(await raw.head()).toMatch(/^HTTP\/1.1 421 Misdirected Request\r\n/);
});

test("a guest's poll waits while the store is away", async () => {
  const { worker, sessionId, host, guest, token } = await startJoin({ pollTimeoutMs: 50 });
  await worker.storeFixture.stop();
  await until("the store is away", () => worker.store.health.state === "away");

  expect((await poll(worker, guest, token)).body).toMatchObject({ code: "WaitingForHost" });
  const asked = await refusal(worker, () => join(worker, guest, sessionId));
  expect(asked).toMatchObject({ status: 503, body: { code: "StoreAway" }, counted: 1 });

  await worker.storeFixture.start();
  await decide(host, true);
  const answer = await until("the answer", async () => {
    const { body } = await poll(worker, guest, token);
    return typeof body === "object" && "roomToken" in (body as object) && body;
  });
  expect(answer).toMatchObject({ roomId: sessionId });
});

// --- helpers ---

function create(worker: Worker, user: string, more: Record<string, string> = {}): Promise<Answer> {
  return worker.ask("POST", "/api/session/create", { headers: { "x-oct-jwt": user, ...more } });
}

function join(worker: Worker, user: string, sessionId: string): Promise<Answer> {
  return worker.ask("POST", `/api/session/join/${sessionId}`, { headers: { "x-oct-jwt": user } });
}

function poll(worker: Worker, user: string, token: string): Promise<Answer> {
  return worker.ask("POST", `/api/session/poll/${token}`, { headers: { "x-oct-jwt": user } });
}

/** A worker with a session, which a guest has asked to join. */
async function startJoin(options?: Parameters<typeof startWorker>[0]) {
  const worker = await startWorker(options);
  const { sessionId, host } = await worker.openSession();
  const guest = await worker.signIn("Guest");
  const token = pollTokenOf(await join(worker, guest, sessionId));
  return { worker, sessionId, host, guest, token };
}

function pollTokenOf({ body }: Answer): string {
  return (body as { pollToken: string }).pollToken;
}

/** Makes the host decide on the latest join request. */
async function decide(host: RawPeer, accepted: boolean): Promise<void> {
  const request = await until("the host is asked", () => host.received.findLast(isJoinRequest));
  host.decide(request, accepted);
}

/**
 * Clients are migrated because a balancer in front shuts down: it names them by the ids of the requests that opened their
 * WebSockets.
 */
import { expect, test } from "vitest";
import { REQUEST_ID_HEADER } from "../../../shared/net/edge-headers.ts";
import { MIGRATE_GRACE_MS } from "../../../worker/sessions/transport/socket.ts";
import { until } from "../../support/until.ts";
import { startWorker, type WorkerFixture } from "./fixture.ts";
import type { RawPeer } from "./raw-peer.ts";
import { createSkipClock } from "./skip-clock.ts";

/** Headers that give the request that opens a client's WebSocket this id. */
function opening(id: string) {
  return { headers: { [REQUEST_ID_HEADER]: id } };
}

/** A host and a guest with WebSockets, opened by the requests "host" and "guest". */
async function openPair(worker: WorkerFixture) {
  const created = await worker.create();
  const host = await worker.peer(created.roomToken, opening("host")).ready();
  const guestToken = await worker.invite(created.sessionId, host);
  const guest = await worker.peer(guestToken, opening("guest")).ready();
  await until("both have WebSockets", () => [host, guest].every(hasWebSocket));
  return { sessionId: created.sessionId, host, guest };
}

/** Makes a client hang. */
function stopReading({ socket }: RawPeer): void {
  const { ws } = socket.io.engine.transport as unknown as { ws: { pause(): void } };
  ws.pause();
}

function hasWebSocket({ socket }: RawPeer): boolean {
  return socket.io.engine.transport.name === "websocket";
}

/** Sends a number in each turn of the event loop until `stop`; resolves with all that was sent. */
function talk(from: RawPeer, to: string) {
  const sent: string[] = [];
  let isSending = true;
  function next(): void {
    // Below the rate limit of a client.
    if (!isSending || sent.length >= 400) return;
    sent.push(`${sent.length}`);
    from.broadcast(sent.at(-1) ?? "", [to]);
    setImmediate(next);
  }
  next();
  return {
    stop(): readonly string[] {
      isSending = false;
      return sent;
    },
  };
}

test("clients that are migrated deliver everything they send, once and in order", async () => {
  const worker = await startWorker();
  const { host, guest } = await openPair(worker);
  const [hostId, guestId] = [host.id, guest.id];
  const talks = [talk(host, guestId), talk(guest, hostId)] as const;
  worker.sockets.letGo(["host", "guest"]);
  await until("both were away", () => [host, guest].every((one) => one.disconnects.length === 1));
  const [byHost, byGuest] = [talks[0].stop(), talks[1].stop()];
  await until("both are back", () => host.connects === 2 && guest.connects === 2);
  host.broadcast("last", [guestId]);
  guest.broadcast("last", [hostId]);
  for (const [receiver, sent] of [
    [guest, byHost],
    [host, byGuest],
  ] as const) {
    await until("all messages are delivered", () =>
      receiver.contents("broadcast").includes("last"),
    );
    expect(receiver.contents("broadcast")).toEqual([...sent, "last"]);
    expect(receiver.plain("room/left")).toEqual([]);
    expect(receiver.plain("peer/info")).toHaveLength(1);
  }
});

test("only the named clients are migrated, and an unknown request id is ignored", async () => {
  const worker = await startWorker();
  const { host, guest } = await openPair(worker);
  worker.sockets.letGo(["", "unknown", "guest"]);
  await until("the guest is back", () => guest.connects === 2);
  guest.broadcast("here", [host.id]);
  await until("the host gets it", () => host.contents("broadcast").length === 1);
  expect(host.disconnects).toEqual([]);
});

test("a client that is back before all its input was read loses none of it, and the order is kept", async () => {
  const worker = await startWorker({ settings: { maxMessagesPerSecond: 50 } });
  const { host, guest } = await openPair(worker);
  // Input beyond the rate limit is read later than 1.5 s, after which the client is back at the latest.
  const sent = Array.from({ length: 180 }, (_, index) => `${index} ${"x".repeat(2000)}`);
  for (const text of sent) guest.broadcast(text, [host.id]);
  worker.sockets.letGo(["guest"]);
  await until("it was away", () => guest.disconnects.length > 0);
  guest.broadcast("last", [host.id]);
  await until("all messages are delivered", () => host.contents("broadcast").includes("last"));
  expect(host.contents("broadcast")).toEqual([...sent, "last"]);
});

test("a client that waits for admission is migrated as soon as it is admitted", async () => {
  const worker = await startWorker({ settings: { maxAdmissionsPerSecond: 1 } });
  const { sessionId, host } = await openPair(worker);
  const tokens = [];
  for (let i = 0; i < 3; i++) tokens.push(await worker.invite(sessionId, host));
  // Each delays those behind it by a second.
  const [, , waiting] = tokens.map((token, index) => worker.peer(token, opening(`${index}`)));
  if (waiting === undefined) throw new Error("no client waits");
  await until("it has a WebSocket", () => hasWebSocket(waiting));
  expect(waiting.connects).toBe(0);
  worker.sockets.letGo(["2"]);
  await until("it was admitted and migrated", () => waiting.disconnects.length === 1);
  expect(waiting.connects).toBe(1);
});

test("a client that ignores the migrate request is disconnected in time, and gets what it missed over its next connection", async () => {
  const clock = createSkipClock();
  const worker = await startWorker({ clock });
  const { host, guest } = await openPair(worker);
  // It no longer reads, so it does not see the migrate packet.
  stopReading(guest);
  worker.sockets.letGo(["guest"]);
  host.broadcast("meanwhile", [guest.id]);
  clock.skip(MIGRATE_GRACE_MS);
  await until("its end was noticed", () => worker.sockets.connections === 1);
  guest.socket.io.engine.close();
  await until("it has got it", () => guest.contents("broadcast").includes("meanwhile"));
  expect(guest.contents("broadcast")).toEqual(["meanwhile"]);
});

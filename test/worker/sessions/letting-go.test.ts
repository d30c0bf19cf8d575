/**
 * Clients whose way to the worker is about to go: a balancer in front leaves and asks for them by the ids of the requests
 * that opened their WebSockets.
 */
import { expect, test } from "vitest";
import { REQUEST_ID_HEADER } from "../../../shared/net/edge-headers.ts";
import { MIGRATE_GRACE_MS } from "../../../worker/sessions/transport/socket.ts";
import { until } from "../../support/until.ts";
import { HOST_USER, startWorker, type WorkerFixture } from "./fixture.ts";
import type { RawPeer } from "./raw-peer.ts";
import { createSkipClock } from "./skip-clock.ts";

/** What a client's requests say so that this is the id of the one that opens its WebSocket. */
function opening(id: string) {
  return { headers: { [REQUEST_ID_HEADER]: id } };
}

/** A host and a guest with WebSockets, opened by the requests "host" and "guest". */
async function openPair(worker: WorkerFixture) {
  const created = await worker.registry.create(HOST_USER);
  if (created.outcome !== "created") throw new Error(created.outcome);
  const host = await worker.peer(created.roomToken, opening("host")).ready();
  const guestToken = await worker.invite(created.sessionId, host);
  const guest = await worker.peer(guestToken, opening("guest")).ready();
  await until("both have WebSockets", () => [host, guest].every(hasWebSocket));
  return { sessionId: created.sessionId, host, guest };
}

/** As a client that hangs. */
function stopReading({ socket }: RawPeer): void {
  const { ws } = socket.io.engine.transport as unknown as { ws: { pause(): void } };
  ws.pause();
}

function hasWebSocket({ socket }: RawPeer): boolean {
  return socket.io.engine.transport.name === "websocket";
}

/** Says a number in each turn of the event loop until `stop`; resolves with all that was said. */
function talk(from: RawPeer, to: string) {
  const said: string[] = [];
  let isTalking = true;
  function next(): void {
    // Below what a client may send in a second.
    if (!isTalking || said.length >= 400) return;
    said.push(`${said.length}`);
    from.broadcast(said.at(-1) ?? "", [to]);
    setImmediate(next);
  }
  next();
  return {
    stop(): readonly string[] {
      isTalking = false;
      return said;
    },
  };
}

test("both say what they have to say, once and in order, while they change to another connection", async () => {
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
  for (const [hearer, said] of [
    [guest, byHost],
    [host, byGuest],
  ] as const) {
    await until("all is heard", () => hearer.contents("broadcast").includes("last"));
    expect(hearer.contents("broadcast")).toEqual([...said, "last"]);
    expect(hearer.plain("room/left")).toEqual([]);
    expect(hearer.plain("peer/info")).toHaveLength(1);
  }
});

test("those who were not named stay, and a name that is not known does no harm", async () => {
  const worker = await startWorker();
  const { host, guest } = await openPair(worker);
  worker.sockets.letGo(["", "nobody", "guest"]);
  await until("the guest is back", () => guest.connects === 2);
  guest.broadcast("here", [host.id]);
  await until("the host hears it", () => host.contents("broadcast").length === 1);
  expect(host.disconnects).toEqual([]);
});

test("who is back before all that it said was read is heard whole, and in order", async () => {
  const worker = await startWorker({ settings: { maxMessagesPerSecond: 50 } });
  const { host, guest } = await openPair(worker);
  // What is more than it may say is read later than the 1.5 s after which it is back at the latest.
  const said = Array.from({ length: 180 }, (_, index) => `${index} ${"x".repeat(2000)}`);
  for (const text of said) guest.broadcast(text, [host.id]);
  worker.sockets.letGo(["guest"]);
  await until("it was away", () => guest.disconnects.length > 0);
  guest.broadcast("last", [host.id]);
  await until("all is heard", () => host.contents("broadcast").includes("last"));
  expect(host.contents("broadcast")).toEqual([...said, "last"]);
});

test("who still waits to be let in is let go of as soon as it is in", async () => {
  const worker = await startWorker({ settings: { maxAdmissionsPerSecond: 1 } });
  const { sessionId, host } = await openPair(worker);
  const tokens = [];
  for (let i = 0; i < 3; i++) tokens.push(await worker.invite(sessionId, host));
  // Each takes a second of those behind it.
  const [, , waiting] = tokens.map((token, index) => worker.peer(token, opening(`${index}`)));
  if (waiting === undefined) throw new Error("nobody waits");
  await until("it has a WebSocket", () => hasWebSocket(waiting));
  expect(waiting.connects).toBe(0);
  worker.sockets.letGo(["2"]);
  await until("it came in and was let go of", () => waiting.disconnects.length === 1);
  expect(waiting.connects).toBe(1);
});

test("who does not go is cut off in time, and hears by its next connection what was said meanwhile", async () => {
  const clock = createSkipClock();
  const worker = await startWorker({ clock });
  const { host, guest } = await openPair(worker);
  // Reads nothing any more, so it does not see the good-bye.
  stopReading(guest);
  worker.sockets.letGo(["guest"]);
  host.broadcast("meanwhile", [guest.id]);
  clock.skip(MIGRATE_GRACE_MS);
  await until("its end was noticed", () => worker.sockets.connections === 1);
  guest.socket.io.engine.close();
  await until("it has heard it", () => guest.contents("broadcast").includes("meanwhile"));
  expect(guest.contents("broadcast")).toEqual(["meanwhile"]);
});

/** Peers that lose their connection and come back, and those that must not. */

import { expect, it } from "vitest";
import type { PeerId } from "../../../shared/base/ids.ts";
import { readEvents } from "../../../shared/cluster/history.ts";
import { createReconnectLog } from "../../../worker/sessions/peers/reconnect-log.ts";
import { createStepClock } from "../../support/step-clock.ts";
import { until } from "../../support/until.ts";
import { startWithGuest, startWithHost, startWorker } from "./fixture.ts";
import { type RawPeer, rawPublicKey } from "./raw-peer.ts";
import { createSkipClock } from "./skip-clock.ts";

/** Breaks the connection as a network does; the client reconnects by itself. */
function cut(peer: RawPeer): void {
  peer.socket.io.engine.close();
}

it("a peer that reconnects is not announced again, and gets the messages it missed in order", async () => {
  const { worker, host, sessionId, guest } = await startWithGuest();
  guest.broadcast("I am here", [host.id]);
  await until("the host gets the guest's message", () => host.contents("broadcast").length === 1);
  cut(guest);
  await expect.poll(() => worker.registry.load.connections).toBe(1);

  const sent = Array.from({ length: 150 }, (_, n) => `message ${n}`);
  for (const text of sent) host.broadcast(text, [guest.id]);

  await until("the guest is back", () => guest.connects === 2);
  await until("the guest got all", () => guest.contents("broadcast").length === sent.length);
  expect(guest.contents("broadcast")).toEqual(sent);
  expect(guest.plain("peer/info")).toHaveLength(1);
  expect(host.plain("room/joined")).toHaveLength(1);
  expect(host.plain("room/left")).toEqual([]);
  const events = await until("its return is in the history", async () => {
    const all = await readEvents(worker.store, { limit: 10, sessionId });
    return all.some(({ kind }) => kind === "returned") && all;
  });
  expect(events.at(-1)?.cause).toMatch(/^guest Guest.*, after \d+\.\d s$/);
});

it("the history records a bounded number of a flapping client's returns per minute", () => {
  const clock = createStepClock();
  const notes: string[] = [];
  const reconnectLog = createReconnectLog({ clock, note: (cause) => void notes.push(cause) });
  const peer = { id: "p" as PeerId, host: true, user: { id: "u", name: "Ada" } };
  reconnectLog.lost(peer.id);
  reconnectLog.connected(peer, false);
  reconnectLog.connected(peer, true);
  expect(notes).toEqual([]);
  for (let i = 0; i < 1000; i++) {
    reconnectLog.lost(peer.id);
    clock.advance(15);
    reconnectLog.lost(peer.id);
    clock.advance(15);
    reconnectLog.connected(peer, true);
  }
  expect(notes).toEqual(Array(60).fill("host Ada, after 0.0 s"));
  clock.advance(30_000);
  reconnectLog.lost(peer.id);
  clock.advance(1450);
  reconnectLog.connected(peer, true);
  expect(notes.at(-1)).toBe("host Ada, after 1.4 s");
  reconnectLog.lost(peer.id);
  reconnectLog.forget(peer.id);
  reconnectLog.connected(peer, true);
  expect(notes).toHaveLength(61);
});

it("a peer that loses its connection before it has sent anything is not announced again by the same worker", async () => {
  const { worker, host, sessionId, guest } = await startWithGuest();
  const other = await worker.joinSession(sessionId, host, { id: "user-2", name: "Other" });
  for (const connects of [2, 3]) {
    cut(guest);
    await until("it is back", () => guest.connects === connects);
  }
  // The first message that arrives shows that none came before it.
  guest.broadcast("back again", [host.id, other.id]);
  host.notify(guest.id, "welcome back");
  await until("every peer has got it", () =>
    [host, other].every((peer) => peer.contents("broadcast").length === 1),
  );
  await until("it gets the host's message", () => guest.contents("notification").length === 1);
  expect(guest.plain("peer/info")).toHaveLength(1);
  const announced = host.plain("room/joined").map(([peer]) => (peer as { id: string }).id);
  expect(announced).toEqual([guest.id, other.id]);
  expect(other.plain("room/joined")).toEqual([]);
});

it("a host that loses its connection before it has sent anything does not get its peer info again", async () => {
  const { host } = await startWithHost();
  cut(host);
  await until("it is back", () => host.connects === 2);
  host.notify(host.id, "to myself");
  await until("it gets itself", () => host.contents("notification").length === 1);
  expect(host.plain("peer/info")).toHaveLength(1);
});

it("a peer whose connection ends before its peer info was sent gets it over the next one", async () => {
  const { worker, host, sessionId } = await startWithHost();
  const token = await worker.invite(sessionId, host);
  const session = worker.registry.live(sessionId);
  if (session === undefined) throw new Error("the session is not here");
  const attach = session.attach.bind(session);
  let isCut = false;
  session.attach = (peer, connection) => {
    attach(peer, connection);
    // In the same turn: the worker's messages to it are not written yet.
    if (!isCut) connection.close();
    isCut = true;
  };
  const guest = await worker.peer(token).ready();
  guest.broadcast("here I am", [host.id]);
  await until("the host gets it", () => host.contents("broadcast").length === 1);
  expect(guest.plain("peer/info")).toHaveLength(1);
  expect(host.plain("room/joined")).toHaveLength(1);
});

it("messages that a polling client did not fetch go to its next connection", async () => {
  const { worker, host, guest, token } = await startWithGuest();
  guest.broadcast("I am here", [host.id]);
  await until("the host gets the guest's message", () => host.contents("broadcast").length === 1);
  guest.close();
  // By hand, because this client must poll once and never again.
  const poll = `${worker.url}/socket.io/?EIO=4&transport=polling`;
  const headers = { "x-oct-jwt": token, "x-oct-public-key": rawPublicKey() };
  const handshake = await (await fetch(poll, { headers })).text();
  const { sid } = JSON.parse(handshake.slice(1)) as { sid: string };
  await fetch(`${poll}&sid=${sid}`, { method: "POST", body: "40" });
  expect(await (await fetch(`${poll}&sid=${sid}`)).text()).toMatch(/^40/);
  const sent = ["one", "two", "three"];
  for (const text of sent) host.broadcast(text, [guest.id]);
  await expect.poll(() => worker.counters.value("worker.messages_delivered")).toBe(4);

  const back = worker.peer(token);
  await until("it gets all", () => back.contents("broadcast").length === 3);
  expect(back.contents("broadcast")).toEqual(sent);
});

it("a message that a peer sends right after it reconnected is not lost", async () => {
  const { host, guest } = await startWithGuest();
  guest.socket.on("connect", () => guest.broadcast("first words", [host.id]));
  cut(guest);
  await until("the host gets it", () => host.contents("broadcast").includes("first words"));
});

it("a guest that stays away for 30 s has left", async () => {
  const clock = createSkipClock();
  const { worker, host, guest } = await startWithGuest({ clock });
  guest.close();
  await expect.poll(() => worker.registry.load.connections).toBe(1);
  clock.skip(29_000);
  expect(host.plain("room/left")).toEqual([]);
  clock.skip(1000);
  await until("the host gets the announcement", () => host.plain("room/left").length === 1);
});

it("a host that stays away for 30 s ends the session", async () => {
  const clock = createSkipClock();
  const { worker, host, guest } = await startWithGuest({ clock });
  host.close();
  await expect.poll(() => worker.registry.load.connections).toBe(1);
  clock.skip(30_000);
  await until("the guest gets room/closed", () => guest.plain("room/closed").length === 1);
  await until("and sent away", () => guest.disconnects.length === 1);
  expect(guest.disconnects).toEqual(["io server disconnect"]);
  expect(worker.counters.value("worker.sessions_closed", "host away")).toBe(1);
});

it("a session whose host never comes expires after 60 s", async () => {
  const clock = createSkipClock();
  const worker = await startWorker({ clock });
  const created = await worker.registry.create({ id: "u", name: "U" });
  if (created.outcome !== "created") throw new Error(created.outcome);
  expect(worker.registry.load.sessions).toBe(1);
  clock.skip(60_000);
  expect(worker.registry.load.sessions).toBe(0);
  const late = worker.peer(created.roomToken);
  await until("the late host is disconnected", () => late.disconnects.length === 1);
  expect(late.disconnects).toEqual(["io server disconnect"]);
});

it("a guest that left cannot come back with its token", async () => {
  const { worker, host, guest, token } = await startWithGuest();
  guest.leave();
  await until("it has left", () => guest.disconnects.length === 1);

  const again = worker.peer(token);
  await until("it is disconnected", () => again.disconnects.length === 1);
  expect(again.disconnects).toEqual(["io server disconnect"]);
  expect(again.received).toEqual([]);
  expect(host.plain("room/joined")).toHaveLength(1);
  expect(worker.counters.value("worker.connects_refused", "left")).toBe(1);
});

it("a host cannot open its closed session again", async () => {
  const { worker, host, hostToken } = await startWithHost();
  host.leave();
  await until("it has left", () => host.disconnects.length === 1);

  const again = worker.peer(hostToken);
  await until("it is disconnected", () => again.disconnects.length === 1);
  expect(again.disconnects).toEqual(["io server disconnect"]);
  expect(worker.counters.value("worker.connects_refused", "closed")).toBe(1);
});

it("a room/leave that arrives together with the end of the connection counts", async () => {
  const { host, guest } = await startWithGuest();
  guest.leave();
  guest.close();
  await until("the host gets the announcement", () => host.plain("room/left").length === 1);
});

it("a second connection with the same token replaces the first", async () => {
  const { worker, host, sessionId } = await startWithHost();
  const token = await worker.invite(sessionId, host);
  const first = await worker.peer(token, { options: { reconnection: false } }).ready();
  const second = worker.peer(token);
  await until("the first is disconnected", () => first.disconnects.length === 1);
  expect(first.disconnects).toEqual(["transport close"]);
  host.notify(first.id, "to its current connection");
  await until("the second gets it", () => second.contents("notification").length === 1);
  expect(first.contents("notification")).toEqual([]);
  second.broadcast("hello", [host.id]);
  await until("the second sends as the first", () => host.contents("broadcast").length === 1);
  expect(host.received.at(-1)?.origin).toBe(first.id);
});

it("two concurrent connections with one new token become one peer", async () => {
  const { worker, host, sessionId } = await startWithHost();
  const token = await worker.invite(sessionId, host);
  const options = { options: { reconnection: false } };
  const both = [worker.peer(token, options), worker.peer(token, options)];
  await until("one gets its peer info", () => both.some((peer) => peer.plain("peer/info").length));
  await until("the other's connection has ended", () => worker.sockets.connections === 2);
  expect(new Set(host.plain("room/joined").map(([peer]) => (peer as { id: string }).id)).size).toBe(
    1,
  );
  expect((await worker.store.findSession(sessionId))?.peers).toHaveLength(2);
});

it("a peer comes back with a token that has expired since, but a new peer is refused with one", async () => {
  const clock = createSkipClock();
  const { worker, host, sessionId } = await startWithHost({ clock });
  const token = await worker.invite(sessionId, host);
  const unused = await worker.invite(sessionId, host, { id: "user-2", name: "Late" });
  const guest = await worker.peer(token).ready();
  clock.skip(25 * 3600 * 1000);
  cut(guest);
  await until("the guest is back", () => guest.connects === 2);
  host.notify(guest.id, "welcome back");
  await until("it is the same peer", () => guest.contents("notification").length === 1);

  const late = worker.peer(unused);
  await until("the other is disconnected", () => late.disconnects.length === 1);
  expect(worker.counters.value("worker.connects_refused", "expired")).toBe(1);
});

it("a peer that sends a request and loses its connection gets the response when it is back", async () => {
  const { worker, host, guest } = await startWithGuest();
  guest.request(host.id, "my own id", "question");
  const request = await until("the host is asked", () =>
    host.received.find(({ kind, content }) => kind === "request" && content instanceof Uint8Array),
  );
  cut(guest);
  await expect.poll(() => worker.registry.load.connections).toBe(1);
  host.respond(request, "answer");
  await until("the guest is answered", () => guest.contents("response").includes("answer"));
  expect(guest.received.find(({ kind }) => kind === "response")?.id).toBe("my own id");
});

it("a request without a response fails after 30 s, and at once when its responder leaves", async () => {
  const clock = createSkipClock();
  const { worker, host, sessionId, guest: a } = await startWithGuest({ clock });
  const b = await worker.joinSession(sessionId, host, { id: "user-b", name: "B" });
  const failures = () => host.received.filter(({ kind }) => kind === "response-error");
  host.request(a.id, 1, "to a silent peer");
  await until("a is asked", () => a.contents("request").length === 1);
  clock.skip(30_000);
  await until("the host gets a failure", () => failures().length === 1);
  expect(failures()[0]).toMatchObject({
    id: 1,
    content: { message: "Failed to retrieve the requested data." },
  });

  host.request(b.id, "two", "to a peer that leaves");
  await until("b is asked", () => b.contents("request").length === 1);
  b.leave();
  await until("the host gets a failure", () => failures().length === 2);
  expect(failures()[1]?.id).toBe("two");

  host.request("unknown", 3, "to an unknown peer");
  await until("the host gets a failure", () => failures().length === 3);
});

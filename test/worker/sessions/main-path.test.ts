import { expect, it } from "vitest";
import { interceptChange } from "../../support/intercept-change.ts";
import { until } from "../../support/until.ts";
import {
  GUEST_USER,
  isJoinRequest,
  joinAnswer,
  requestJoin,
  startWithGuest,
  startWithHost,
} from "./fixture.ts";

it("a host gets its own peer info when it connects", async () => {
  const { worker, host, sessionId } = await startWithHost();
  expect(host.plain("peer/info")).toEqual([
    [
      {
        id: host.id,
        host: true,
        name: "Host",
        email: "host@example.com",
        metadata: {
          encryption: { publicKey: expect.stringMatching(/^MIIB/) },
          compression: { supported: ["gzip"] },
        },
      },
    ],
  ]);
  expect(host.id).toMatch(/^[A-Za-z0-9]{24}$/);
  expect((await worker.store.findSession(sessionId))?.state).toBe("open");
});

it("an accepted guest is announced to the others and gets its own peer info", async () => {
  const { host, guest } = await startWithGuest();
  await until("the host gets the announcement", () => host.plain("room/joined").length === 1);
  expect(host.plain("room/joined")[0]).toEqual(guest.plain("peer/info")[0]);
  // Without an email its host shows "Guest (null)" in IntelliJ.
  expect(guest.plain("peer/info")[0]?.[0]).toMatchObject({ host: false, name: "Guest", email: "" });
  expect(guest.plain("room/joined")).toEqual([]);
});

it("a guest is stored before it is announced", async () => {
  const { worker, host, sessionId } = await startWithHost();
  const token = await worker.invite(sessionId, host);
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  let asked = false;
  interceptChange(worker.store, "put-peer", async (put) => {
    asked = true;
    await opened;
    return put();
  });
  const guest = worker.peer(token);
  await until("the store is asked", () => asked);
  // Messages under way to the guest have arrived once the host's next message has made the round trip.
  host.request(host.id, 1, "to myself");
  await until("it has gone round", () => host.contents("request").length === 1);
  expect([guest.connects, host.plain("room/joined").length]).toEqual([0, 0]);
  open();
  await guest.ready();
  await until("the host gets the announcement", () => host.plain("room/joined").length === 1);
});

it("the host is asked with the guest's user, and its answer is written to the ticket", async () => {
  const { worker, host, sessionId } = await startWithHost();
  const pollToken = await requestJoin(worker.registry, sessionId);
  expect(pollToken.startsWith(sessionId)).toBe(true);
  const request = await until("the host is asked", () => host.received.find(isJoinRequest));
  expect(request).toMatchObject({
    kind: "request",
    origin: "",
    target: host.id,
    content: { method: "peer/join", params: [{ ...GUEST_USER, email: "" }] },
  });
  host.decide(request, false);
  expect(await joinAnswer(worker.store, pollToken)).toEqual({
    accepted: false,
    code: "JoinRejected",
  });
});

it("broadcasts, notifications, requests and responses reach their receivers under the sender's real id", async () => {
  const { worker, host, sessionId, guest: a } = await startWithGuest();
  const b = await worker.joinSession(sessionId, host, { id: "user-b", name: "B" });

  a.broadcast("to all", [host.id, b.id]);
  await until("both get it", () =>
    [host, b].every((peer) => peer.contents("broadcast").includes("to all")),
  );
  const broadcast = b.received.find((message) => message.content instanceof Uint8Array);
  expect(broadcast).toMatchObject({ kind: "broadcast", origin: a.id, version: "0.3.1" });
  expect(broadcast?.metadata).toEqual({
    encryption: { keys: [{ target: b.id, key: `key for ${b.id}`, iv: "iv" }] },
    compression: { algorithm: "gzip" },
  });

  b.notify(host.id, "to the host");
  await until("the host gets it", () => host.contents("notification").includes("to the host"));
  expect(a.contents("notification")).toEqual([]);

  a.request(b.id, 17, "question");
  const request = await until("b is asked", () =>
    b.received.find(({ kind }) => kind === "request"),
  );
  expect(request).toMatchObject({ origin: a.id, target: b.id });
  expect(request.id).not.toBe(17);
  b.respond(request, "answer");
  await until("a is answered", () => a.contents("response").includes("answer"));
  expect(a.received.find(({ kind }) => kind === "response")?.id).toBe(17);
});

it("a second response to one request is dropped", async () => {
  const { worker, host, guest } = await startWithGuest();
  guest.request(host.id, 17, "question");
  const request = await until("the host is asked", () =>
    host.received.find(({ kind, content }) => kind === "request" && content instanceof Uint8Array),
  );
  host.respond(request, "answer");
  host.respond(request, "another answer");
  // What the host sends arrives in order.
  host.notify(guest.id, "and more");
  await until("the guest gets all", () => guest.contents("notification").includes("and more"));
  expect(guest.contents("response")).toEqual(["answer"]);
  expect(worker.counters.value("worker.messages_dropped", "late")).toBe(1);
});

it("a guest's room/leave is announced to the others and ends its connection for good", async () => {
  const { worker, host, sessionId, guest } = await startWithGuest();
  const guestId = guest.id;
  guest.leave();
  await until("the host gets the announcement", () => host.plain("room/left").length === 1);
  expect(host.plain("room/left")[0]?.[0]).toMatchObject({ id: guestId, name: "Guest" });
  await until("the guest is disconnected", () => guest.disconnects.length === 1);
  expect(guest.disconnects).toEqual(["io server disconnect"]);
  await expect
    .poll(async () => (await worker.store.findSession(sessionId))?.peers.map(({ id }) => id))
    .toEqual([host.id]);
});

it("a host's room/leave closes the session for all peers", async () => {
  const { worker, host, sessionId, guest } = await startWithGuest();
  host.leave();
  await until("both are disconnected", () =>
    [host, guest].every((peer) => peer.disconnects.length === 1),
  );
  expect(guest.plain("room/closed")).toEqual([[]]);
  expect(guest.disconnects).toEqual(["io server disconnect"]);
  await expect.poll(async () => (await worker.store.findSession(sessionId))?.state).toBe("closed");
  await expect.poll(() => worker.registry.load.sessions).toBe(0);
  expect(await worker.registry.claim(sessionId)).toEqual({ outcome: "closed" });
});

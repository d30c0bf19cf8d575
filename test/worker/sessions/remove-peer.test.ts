/** An operator removes a guest from a session. */

import { expect, test } from "vitest";
import type { PeerId } from "../../../shared/base/ids.ts";
import { readEvents } from "../../../shared/cluster/history.ts";
import { until } from "../../support/until.ts";
import { startWithGuest } from "./fixture.ts";

async function openWithGuests() {
  const { worker, host, sessionId, guest, token } = await startWithGuest();
  const other = await worker.joinSession(sessionId, host, { id: "user-b", name: "B" });
  const session = worker.registry.live(sessionId);
  if (session === undefined) throw new Error("no session");
  return { worker, host, sessionId, token, guest, other, session };
}

test("a removed guest is disconnected for good, the others are notified, and its token is of no use any more", async () => {
  const { worker, host, token, guest, other, session } = await openWithGuests();
  expect(session.removePeer(guest.id as PeerId)).toBe("removed");
  await until("its program closes the session", () => guest.plain("room/closed").length === 1);
  await until("it is disconnected", () => guest.disconnects.length === 1);
  for (const peer of [host, other]) {
    await until("the others hear of it", () => peer.plain("room/left").length === 1);
  }
  const again = worker.peer(token);
  await until("it is refused", () => again.disconnects.length === 1);
  expect(session.connections).toBe(2);
  host.broadcast("we go on", [other.id]);
  await until("the others go on", () => other.contents("broadcast").includes("we go on"));
});

test("a removed guest may ask to join again, and the host decides", async () => {
  const { worker, host, sessionId, guest, session } = await openWithGuests();
  session.removePeer(guest.id as PeerId);
  const back = await worker.joinSession(sessionId, host);
  expect(back.id).not.toBe(guest.id);
});

test("nobody but a guest who is there can be removed: not the host, not one who has left", async () => {
  const { host, guest, session } = await openWithGuests();
  expect(session.removePeer(host.id as PeerId)).toBe("host");
  expect(session.removePeer("a".repeat(24) as PeerId)).toBe("unknown");
  expect(session.removePeer(guest.id as PeerId)).toBe("removed");
  expect(session.removePeer(guest.id as PeerId)).toBe("unknown");
  expect(session.connections).toBe(2);
});

test("the history of the session has the removal of a guest", async () => {
  const { worker, sessionId, guest, session } = await openWithGuests();
  session.removePeer(guest.id as PeerId);
  await session.settled();
  const events = await readEvents(worker.store, { sessionId, limit: 10 });
  expect(events.map(({ kind, cause }) => `${kind} ${cause}`)).toContain("left removed");
});

/** An operator locks a session: no new guests. */
import { expect, test } from "vitest";
import type { WorkerId } from "../../../shared/base/ids.ts";
import { startStore } from "../../support/embedded-store.ts";
import { until } from "../../support/until.ts";
import { startWithHost, startWorker } from "./fixture.ts";

const USER = { id: "user-b", name: "B" };

test("nobody new is let in, those who wait are rejected, and those who are in stay and may return", async () => {
  const { worker, host, sessionId } = await startWithHost();
  const invited = await worker.invite(sessionId, host);
  const token = await worker.invite(sessionId, host, USER);
  const guest = await worker.peer(token).ready();
  const session = worker.registry.live(sessionId);
  expect((await session?.requestJoin({ id: "user-c", name: "C" }))?.outcome).toBe("asked");
  session?.lock(true);
  expect(await session?.requestJoin({ id: "user-d", name: "D" })).toEqual({ outcome: "locked" });
  // The host has let this one in before.
  const late = worker.peer(invited);
  await until("it is refused", () => late.disconnects.length === 1);
  guest.socket.io.engine.close();
  await until("the guest is back", () => guest.connects === 2);
  host.broadcast("we go on", [guest.id]);
  await until("the guest hears it", () => guest.contents("broadcast").includes("we go on"));

  session?.lock(false);
  expect((await session?.requestJoin({ id: "user-d", name: "D" }))?.outcome).toBe("asked");
});

test("a session stays locked when it is handed over, and when the store has lost it", async () => {
  const store = await startStore();
  const one = await startWorker({ store, id: "worker-1" });
  const two = await startWorker({ store, id: "worker-2" });
  const { sessionId } = await one.openSession();
  const session = one.registry.live(sessionId);
  session?.lock(true);
  await session?.settled();
  expect((await one.store.findSession(sessionId))?.locked).toBe(true);
  expect(await session?.handOver("worker-2" as WorkerId, async () => {}, "drain")).toBe("handed");
  const claim = await two.registry.claim(sessionId);
  if (claim.outcome !== "here") throw new Error(claim.outcome);
  expect(await claim.session.requestJoin(USER)).toEqual({ outcome: "locked" });
  claim.session.lock(false);
  await claim.session.settled();
  expect(await one.store.findSession(sessionId)).not.toHaveProperty("locked");
});

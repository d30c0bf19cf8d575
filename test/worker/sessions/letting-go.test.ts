/**
 * Clients whose way to the worker is about to go: a balancer in front leaves and asks for them by the ids of the requests
 * that opened their WebSockets.
 */
import { expect, test } from "vitest";
import { REQUEST_ID_FIELD } from "../../../shared/edge-headers.ts";
import { until } from "../../support/until.ts";
import { HOST_USER, startWorker, type WorkerFixture } from "./fixture.ts";
import type { RawPeer } from "./raw-peer.ts";

/** A host and a guest with WebSockets, opened by the requests "host" and "guest". */
async function openPair(worker: WorkerFixture) {
  const created = await worker.registry.create(HOST_USER);
  if (created.outcome !== "created") throw new Error(created.outcome);
  const opening = (id: string) => ({ headers: { [REQUEST_ID_FIELD]: id } });
  const host = await worker.peer(created.roomToken, opening("host")).ready();
  const guestToken = await worker.invite(created.sessionId, host);
  const guest = await worker.peer(guestToken, opening("guest")).ready();
  await until("both have WebSockets", () => [host, guest].every(hasWebSocket));
  return { host, guest };
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

/**
 * What becomes of what people say around a hand-over, byte for byte on the wire: unmodified clients decrypt side by side,
 * so they cannot tell the order.
 */
import { decode, encode } from "@msgpack/msgpack";
import { Agent, request, WebSocket } from "undici";
import { expect, onTestFinished, test } from "vitest";
import type { PeerId, SessionId, WorkerId } from "../../../shared/base/ids.ts";
import type { PendingMessages } from "../../../worker/sessions/session.ts";
import type { OutboundMessage } from "../../../worker/sessions/wire/outbound.ts";
import { openLine } from "../../support/cut.ts";
import { until } from "../../support/until.ts";
import { HOST_USER, startStore, startWorker, type WorkerFixture } from "./fixture.ts";
import { type RawPeer, rawPublicKey, sealed, type WireMessage } from "./raw-peer.ts";

interface Pair {
  readonly old: WorkerFixture;
  readonly heir: WorkerFixture;
  /** Where clients connect: to the old worker until `lead` is called. */
  readonly url: string;
  /** New connections go to the heir. */
  lead(): void;
}

async function startPair(): Promise<Pair> {
  const store = await startStore();
  const old = await startWorker({ store, id: "old" });
  const heir = await startWorker({ store, id: "heir" });
  let port = old.port;
  const line = await openLine(() => [port]);
  onTestFinished(() => line.close());
  return {
    old,
    heir,
    url: `http://127.0.0.1:${line.port}`,
    lead() {
      port = heir.port;
    },
  };
}

/** A session at the old worker whose people connect through the line, and come back through it. */
async function openSession({ old, url }: Pair) {
  const created = await old.registry.create(HOST_USER);
  if (created.outcome !== "created") throw new Error(created.outcome);
  const { sessionId, roomToken } = created;
  const host = await old.peer(roomToken, { url }).ready();
  return { sessionId, host, guestToken: await old.invite(sessionId, host) };
}

/** Hands it to the heir; `look` sees what goes with it, before it is released. */
async function handOver(
  pair: Pair,
  sessionId: SessionId,
  look: (pendingMessages: PendingMessages) => void = () => {},
): Promise<string | undefined> {
  const { old, heir } = pair;
  const outcome = await old.registry.live(sessionId)?.handOver(
    "heir" as WorkerId,
    async (pendingMessages) => {
      look(pendingMessages);
      heir.handoverInbox.put(sessionId, pendingMessages);
    },
    "drain",
  );
  pair.lead();
  return outcome;
}

/** What waits in it for a peer, as texts. */
function textsFor(pendingMessages: PendingMessages, id: string): string[] {
  const waiting = pendingMessages.waiting.find((peer) => peer.id === (id as PeerId));
  return (waiting?.parcels ?? []).flatMap(textOf);
}

function textOf({ head, content }: OutboundMessage): string[] {
  const bytes = content === undefined ? head : Buffer.concat([head, content]);
  const message = decode(bytes) as WireMessage;
  return message.content instanceof Uint8Array ? [Buffer.from(message.content).toString()] : [];
}

function numbers(from: number, to: number): string[] {
  return Array.from({ length: to - from }, (_, index) => `${from + index}`);
}

function isUpgraded(peer: RawPeer): boolean {
  return peer.socket.io.engine.transport.name === "websocket";
}

test("what clients sent before they heard of it goes with the session, and is heard in order, once", async () => {
  const pair = await startPair();
  const { sessionId, host, guestToken } = await openSession(pair);
  const guest = await pair.old.peer(guestToken, { url: pair.url }).ready();
  await until("both have WebSockets", () => isUpgraded(host) && isUpgraded(guest));
  for (const text of numbers(0, 20)) guest.broadcast(text, [host.id]);

  let heardBefore: string[] = [];
  let underWay: string[] = [];
  const handed = handOver(pair, sessionId, (pendingMessages) => {
    heardBefore = host.contents("broadcast");
    underWay = textsFor(pendingMessages, host.id);
  });
  // The good-bye is on its way; the guest does not know it yet.
  for (const text of numbers(20, 60)) guest.broadcast(text, [host.id]);
  expect(await handed).toBe("handed");
  expect(underWay.length).toBeGreaterThan(0);
  // Everything was relayed before the session was released: it had arrived, or went with the session.
  expect([...heardBefore, ...underWay]).toEqual(numbers(0, 60));

  for (const text of numbers(60, 80)) guest.broadcast(text, [host.id]);
  await until("the host is back", () => host.connects === 2);
  await until("it has heard the last", () => host.contents("broadcast").includes("79"));
  expect(host.contents("broadcast")).toEqual(numbers(0, 80));
  expect(pair.heir.registry.live(sessionId)).toBeDefined();
  expect(host.plain("room/left")).toEqual([]);
});

test("what a polling client posts while it is said good-bye to goes with the session", async () => {
  const pair = await startPair();
  const { sessionId, host, guestToken } = await openSession(pair);
  await until("the host has a WebSocket", () => isUpgraded(host));
  const guest = await startPolling(pair.old.url, guestToken);
  await guest.post([texting("first", host.id)]);
  await until("the host hears it", () => host.contents("broadcast").includes("first"));

  let underWay: string[] = [];
  const handed = handOver(pair, sessionId, (pendingMessages) => {
    underWay = textsFor(pendingMessages, host.id);
  });
  // No poll waits, so the good-bye has to.
  await guest.post([texting("second", host.id), texting("third", host.id)]);
  expect(await guest.poll()).toContain("1");
  expect(await handed).toBe("handed");
  expect(underWay).toEqual(["second", "third"]);
  await until("the host has heard all", () => host.contents("broadcast").length === 3);
  expect(host.contents("broadcast")).toEqual(["first", "second", "third"]);
});

test("what a client says in the very moment of the good-bye is not lost", async () => {
  const pair = await startPair();
  const { sessionId, host, guestToken } = await openSession(pair);
  const guest = await pair.old.peer(guestToken, { url: pair.url }).ready();
  await until("both have WebSockets", () => isUpgraded(host) && isUpgraded(guest));
  /** Below what a client may send in a second. */
  const MOST = 400;
  let said = 0;
  let isTalking = true;
  // In each turn of the event loop, so that none is left in which a message could get lost.
  function talk(): void {
    guest.broadcast(`${said++}`, [host.id]);
    if (isTalking && said < MOST) setImmediate(talk);
  }
  const handed = handOver(pair, sessionId);
  talk();
  expect(await handed).toBe("handed");
  await until("the guest is away", () => guest.disconnects.length === 1);
  isTalking = false;
  await until("the guest is back", () => guest.connects === 2);
  guest.broadcast("last", [host.id]);
  await until("the host has heard the last", () => host.contents("broadcast").includes("last"));
  expect(host.contents("broadcast")).toEqual([...numbers(0, said), "last"]);
});

test("a package that overlooks the good-bye is heard until the connection ends", async () => {
  const pair = await startPair();
  const { sessionId, host, guestToken } = await openSession(pair);
  const guest = await startWebSocket(pair.old.url, guestToken);
  await until("the host knows it", () => host.plain("room/joined").length === 1);
  const handed = handOver(pair, sessionId);
  await until("it is said good-bye to", () => guest.packets.includes("9"));
  guest.say(texting("still here", host.id));
  expect(await handed).toBe("handed");
  await until("the host has heard it", () => host.contents("broadcast").length === 1);
  expect(guest.webSocket.readyState).toBe(WebSocket.CLOSED);
}, 30_000);

test("a session whose heir dies in the middle stays where it is, with all that was said", async () => {
  const pair = await startPair();
  const { sessionId, host, guestToken } = await openSession(pair);
  const guest = await pair.old.peer(guestToken, { url: pair.url }).ready();
  await until("both have WebSockets", () => isUpgraded(host) && isUpgraded(guest));
  const session = pair.old.registry.live(sessionId);

  const handed = session?.handOver(
    "heir" as WorkerId,
    async () => {
      throw new Error("the heir does not answer");
    },
    "drain",
  );
  for (const text of numbers(0, 20)) guest.broadcast(text, [host.id]);
  expect(await handed).toBe("kept");

  for (const text of numbers(20, 30)) guest.broadcast(text, [host.id]);
  await until("all is heard", () => host.contents("broadcast").length === 30);
  expect(host.contents("broadcast")).toEqual(numbers(0, 30));
  expect(pair.old.registry.live(sessionId)).toBe(session);
  expect(pair.heir.registry.live(sessionId)).toBeUndefined();
  expect(host.plain("room/left")).toEqual([]);
});

test("a session is handed over by one drain at a time", async () => {
  const pair = await startPair();
  const { sessionId } = await openSession(pair);
  const session = pair.old.registry.live(sessionId);
  const first = handOver(pair, sessionId);
  expect(await session?.handOver("heir" as WorkerId, async () => {}, "drain")).toBe("kept");
  expect(await first).toBe("handed");
  expect(await session?.handOver("heir" as WorkerId, async () => {}, "drain")).toBe("gone");
});

// --- engine.io's transports by hand ---

interface ByWebSocket {
  readonly webSocket: WebSocket;
  /** Text frames that came. */
  readonly packets: readonly string[];
  /** Sends an event, as socket.io does: an announcement and its binary part. */
  say(event: Buffer): void;
}

async function startWebSocket(url: string, roomToken: string): Promise<ByWebSocket> {
  const target = `${url.replace("http", "ws")}/socket.io/?EIO=4&transport=websocket`;
  const webSocket = new WebSocket(target, { headers: headersOf(roomToken) });
  onTestFinished(() => webSocket.close());
  const packets: string[] = [];
  webSocket.addEventListener("message", ({ data }) => {
    if (typeof data === "string") packets.push(data);
  });
  await until("it is open", () => packets.some((packet) => packet.startsWith("0")));
  webSocket.send("40");
  await until("it is let in", () => packets.some((packet) => packet.startsWith("40")));
  return {
    webSocket,
    packets,
    say(event) {
      webSocket.send(`4${ANNOUNCEMENT}`);
      webSocket.send(event);
    },
  };
}

const ANNOUNCEMENT = '51-["message",{"_placeholder":true,"num":0}]';

function headersOf(roomToken: string) {
  return {
    "x-oct-jwt": roomToken,
    "x-oct-public-key": rawPublicKey(),
    "x-oct-client": "by-hand@1.0.0",
    "x-oct-compression": "gzip",
  };
}

interface Polling {
  /** Waits for what the worker has to say. */
  poll(): Promise<string[]>;
  /** Sends events, as socket.io does: an announcement and its binary part. */
  post(events: readonly Buffer[]): Promise<void>;
}

async function startPolling(url: string, roomToken: string): Promise<Polling> {
  const agent = new Agent();
  onTestFinished(() => agent.close());
  const headers = headersOf(roomToken);
  let target = `${url}/socket.io/?EIO=4&transport=polling`;

  async function ask(method: "GET" | "POST", packets: readonly string[] = []): Promise<string[]> {
    const answer = await request(target, {
      method,
      dispatcher: agent,
      headers: { ...headers, "content-type": "text/plain;charset=UTF-8" },
      ...(method === "POST" && { body: packets.join(SEPARATOR) }),
    });
    const text = await answer.body.text();
    if (answer.statusCode !== 200) throw new Error(`${answer.statusCode} ${text}`);
    return text.split(SEPARATOR);
  }

  const [open = ""] = await ask("GET");
  target += `&sid=${(JSON.parse(open.slice(1)) as { sid: string }).sid}`;
  await ask("POST", ["40"]);
  // Its connection is let in, and it is told who it is.
  while (!(await ask("GET")).some((packet) => packet.startsWith("b")));
  return {
    poll: () => ask("GET"),
    async post(events) {
      await ask(
        "POST",
        events.flatMap((bytes) => [`4${ANNOUNCEMENT}`, `b${bytes.toString("base64")}`]),
      );
    },
  };
}

const SEPARATOR = "\u001e";

function texting(text: string, to: string): Buffer {
  return Buffer.from(
    encode({ version: "0.3.1", kind: "broadcast", origin: "", ...sealed(text, [to]) }),
  );
}

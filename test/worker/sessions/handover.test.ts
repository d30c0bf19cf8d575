/**
 * Messages around a handover, on the wire: unmodified clients decrypt concurrently, so they cannot show the order.
 */
import { decode, encode } from "@msgpack/msgpack";
import { Agent, request, WebSocket } from "undici";
import { expect, onTestFinished, test } from "vitest";
import type { PeerId, SessionId, WorkerId } from "../../../shared/base/ids.ts";
import type { PendingMessages } from "../../../worker/sessions/pending-messages.ts";
import { joined, type OutboundMessage } from "../../../worker/sessions/wire/outbound.ts";
import { openLine } from "../../support/cut.ts";
import { startStore } from "../../support/embedded-store.ts";
import { until } from "../../support/until.ts";
import { startWorker, type WorkerFixture } from "./fixture.ts";
import { type RawPeer, rawPublicKey, sealed, type WireMessage } from "./raw-peer.ts";

interface Pair {
  readonly old: WorkerFixture;
  readonly successor: WorkerFixture;
  /** Clients connect to the old worker until `lead` is called. */
  readonly url: string;
  /** New connections go to the successor. */
  lead(): void;
}

async function startPair(): Promise<Pair> {
  const store = await startStore();
  const old = await startWorker({ store, id: "old" });
  const successor = await startWorker({ store, id: "successor" });
  let port = old.port;
  const line = await openLine(() => [port]);
  return {
    old,
    successor,
    url: `http://127.0.0.1:${line.port}`,
    lead() {
      port = successor.port;
    },
  };
}

/** A session on the old worker whose clients connect, and reconnect, through the line. */
async function openSession({ old, url }: Pair) {
  const { sessionId, roomToken } = await old.create();
  const host = await old.peer(roomToken, { url }).ready();
  return { sessionId, host, guestToken: await old.invite(sessionId, host) };
}

/** Hands the session over; `look` gets the pending messages before it is released. */
async function startHandover(
  pair: Pair,
  sessionId: SessionId,
  look: (pendingMessages: PendingMessages) => void = () => {},
): Promise<string | undefined> {
  const { old, successor } = pair;
  const outcome = await old.registry.live(sessionId)?.handOver(
    "successor" as WorkerId,
    async (pendingMessages) => {
      look(pendingMessages);
      successor.handoverInbox.put(sessionId, pendingMessages);
    },
    "drain",
  );
  pair.lead();
  return outcome;
}

/** The pending messages for one peer, as text. */
function textsFor(pendingMessages: PendingMessages, id: string): string[] {
  const waiting = pendingMessages.waiting.find((peer) => peer.id === (id as PeerId));
  return (waiting?.messages ?? []).flatMap(textOf);
}

function textOf(outbound: OutboundMessage): string[] {
  const message = decode(joined(outbound)) as WireMessage;
  return message.content instanceof Uint8Array ? [Buffer.from(message.content).toString()] : [];
}

function numbers(from: number, to: number): string[] {
  return Array.from({ length: to - from }, (_, index) => `${from + index}`);
}

function isUpgraded(peer: RawPeer): boolean {
  return peer.socket.io.engine.transport.name === "websocket";
}

test("messages that clients sent before they were migrated are delivered once and in order by the successor", async () => {
  const pair = await startPair();
  const { sessionId, host, guestToken } = await openSession(pair);
  const guest = await pair.old.peer(guestToken, { url: pair.url }).ready();
  await until("both have WebSockets", () => isUpgraded(host) && isUpgraded(guest));
  for (const text of numbers(0, 20)) guest.broadcast(text, [host.id]);

  let heardBefore: string[] = [];
  let underWay: string[] = [];
  const handed = startHandover(pair, sessionId, (pendingMessages) => {
    heardBefore = host.contents("broadcast");
    underWay = textsFor(pendingMessages, host.id);
  });
  // The migrate packet is on its way; the guest has not read it yet.
  for (const text of numbers(20, 60)) guest.broadcast(text, [host.id]);
  expect(await handed).toBe("handed");
  expect(underWay.length).toBeGreaterThan(0);
  // Everything was relayed before the session was released: it had arrived, or went with the session.
  expect([...heardBefore, ...underWay]).toEqual(numbers(0, 60));

  for (const text of numbers(60, 80)) guest.broadcast(text, [host.id]);
  await until("the host is back", () => host.connects === 2);
  await until("it has got the last message", () => host.contents("broadcast").includes("79"));
  expect(host.contents("broadcast")).toEqual(numbers(0, 80));
  expect(pair.successor.registry.live(sessionId)).toBeDefined();
  expect(host.plain("room/left")).toEqual([]);
});

test("messages that a polling client posts while it is migrated are not lost", async () => {
  const pair = await startPair();
  const { sessionId, host, guestToken } = await openSession(pair);
  await until("the host has a WebSocket", () => isUpgraded(host));
  const guest = await startPolling(pair.old.url, guestToken);
  await guest.post([texting("first", host.id)]);
  await until("the host gets it", () => host.contents("broadcast").includes("first"));

  let underWay: string[] = [];
  const handed = startHandover(pair, sessionId, (pendingMessages) => {
    underWay = textsFor(pendingMessages, host.id);
  });
  // No poll is open, so the close packet has to wait.
  await guest.post([texting("second", host.id), texting("third", host.id)]);
  expect(await guest.poll()).toContain("1");
  expect(await handed).toBe("handed");
  expect(underWay).toEqual(["second", "third"]);
  await until("the host has got all messages", () => host.contents("broadcast").length === 3);
  expect(host.contents("broadcast")).toEqual(["first", "second", "third"]);
});

test("a message that a client sends in the moment of the migrate packet is not lost", async () => {
  const pair = await startPair();
  const { sessionId, host, guestToken } = await openSession(pair);
  const guest = await pair.old.peer(guestToken, { url: pair.url }).ready();
  await until("both have WebSockets", () => isUpgraded(host) && isUpgraded(guest));
  /** Below the rate limit of a client. */
  const MOST = 400;
  let sent = 0;
  let isSending = true;
  // In each turn of the event loop, so that every moment is tested.
  function sendNext(): void {
    guest.broadcast(`${sent++}`, [host.id]);
    if (isSending && sent < MOST) setImmediate(sendNext);
  }
  const handed = startHandover(pair, sessionId);
  sendNext();
  expect(await handed).toBe("handed");
  await until("the guest is away", () => guest.disconnects.length === 1);
  isSending = false;
  await until("the guest is back", () => guest.connects === 2);
  guest.broadcast("last", [host.id]);
  await until("the host has got the last message", () =>
    host.contents("broadcast").includes("last"),
  );
  expect(host.contents("broadcast")).toEqual([...numbers(0, sent), "last"]);
});

test("a client that ignores the migrate packet is read until its connection ends", async () => {
  const pair = await startPair();
  const { sessionId, host, guestToken } = await openSession(pair);
  const guest = await startWebSocket(pair.old.url, guestToken);
  await until("the host knows it", () => host.plain("room/joined").length === 1);
  const handed = startHandover(pair, sessionId);
  await until("it gets the migrate packet", () => guest.packets.includes("9"));
  guest.sendEvent(texting("still here", host.id));
  expect(await handed).toBe("handed");
  await until("the host has got it", () => host.contents("broadcast").length === 1);
  expect(guest.webSocket.readyState).toBe(WebSocket.CLOSED);
}, 30_000);

test("a session whose successor dies during the handover stays where it is, with all its messages", async () => {
  const pair = await startPair();
  const { sessionId, host, guestToken } = await openSession(pair);
  const guest = await pair.old.peer(guestToken, { url: pair.url }).ready();
  await until("both have WebSockets", () => isUpgraded(host) && isUpgraded(guest));
  const session = pair.old.registry.live(sessionId);

  const handed = session?.handOver(
    "successor" as WorkerId,
    async () => {
      throw new Error("the successor does not respond");
    },
    "drain",
  );
  for (const text of numbers(0, 20)) guest.broadcast(text, [host.id]);
  expect(await handed).toBe("kept");

  for (const text of numbers(20, 30)) guest.broadcast(text, [host.id]);
  await until("all messages are delivered", () => host.contents("broadcast").length === 30);
  expect(host.contents("broadcast")).toEqual(numbers(0, 30));
  expect(pair.old.registry.live(sessionId)).toBe(session);
  expect(pair.successor.registry.live(sessionId)).toBeUndefined();
  expect(host.plain("room/left")).toEqual([]);
});

test("two handovers of one session do not run at the same time", async () => {
  const pair = await startPair();
  const { sessionId } = await openSession(pair);
  const session = pair.old.registry.live(sessionId);
  const first = startHandover(pair, sessionId);
  expect(await session?.handOver("successor" as WorkerId, async () => {}, "drain")).toBe("kept");
  expect(await first).toBe("handed");
  expect(await session?.handOver("successor" as WorkerId, async () => {}, "drain")).toBe("gone");
});

// --- engine.io's transports by hand ---

interface ByWebSocket {
  readonly webSocket: WebSocket;
  /** Text frames that came. */
  readonly packets: readonly string[];
  /** Sends an event, as socket.io does: an announcement and its binary part. */
  sendEvent(event: Buffer): void;
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
  await until("it is admitted", () => packets.some((packet) => packet.startsWith("40")));
  return {
    webSocket,
    packets,
    sendEvent(event) {
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
  /** Polls once and waits for the response. */
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
  // It is admitted and gets its peer info.
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

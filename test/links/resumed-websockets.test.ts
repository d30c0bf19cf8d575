/** Balancers ask a worker, over a link, to go on with WebSockets of another worker: real sockets, and the worker's whole server. */
import { randomBytes } from "node:crypto";
import { encode } from "@msgpack/msgpack";
import { beforeEach, describe, expect, test, vi } from "vitest";
import { WorkerOutput } from "../../balancer/websocket/worker-output.ts";
import type { PeerId, SessionId, WorkerId } from "../../shared/base/ids.ts";
import { Link } from "../../shared/link/link.ts";
import { newLinkCounts } from "../../shared/link/link-counts.ts";
import {
  BALANCER_HEADER,
  EDGE_HEADER,
  EPOCH_HEADER,
  LINK_PATH,
  LINK_PROTOCOL,
  OWNER_HEADER,
  RESUMABLE_HEADER,
  RESUME_PATH,
  RESUME_STATE_HEADER,
  RESUME_TICKET_HEADER,
  SESSION_HEADER,
} from "../../shared/net/edge-headers.ts";
import { type ResumeTicket, signResumeTicket } from "../../worker/sessions/resume-ticket.ts";
import type { Session } from "../../worker/sessions/session.ts";
import { frame, fromClient, OPCODE } from "../balancer/websocket/frames.ts";
import { Recorder } from "../shared/link/memory-wire.ts";
import { startStore } from "../support/embedded-store.ts";
import { connectRaw } from "../support/sockets.ts";
import { until } from "../support/until.ts";
import { startWorker, type Worker } from "../worker/api/fixture.ts";
import {
  HOST_USER,
  isJoinRequest,
  joinAnswer,
  rawPeer,
  requestJoin,
} from "../worker/sessions/fixture.ts";
import type { RawPeer } from "../worker/sessions/raw-peer.ts";

/** That of the fixture's workers. */
const RESUME_KEY = Buffer.alloc(32);
const STATE = "move 0 0 5";

/** A link to a worker, as a balancer opens it. */
async function linkTo(worker: Worker): Promise<Link> {
  const raw = await connectRaw(worker.port);
  const { socket } = raw;
  socket.setNoDelay();
  raw.write(
    `GET ${LINK_PATH} HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: ${LINK_PROTOCOL}\r\n${EDGE_HEADER}: ${worker.proof}\r\n${BALANCER_HEADER}: balancer-1\r\n\r\n`,
  );
  expect(await raw.head()).toMatch(/^HTTP\/1\.1 101 /);
  const link = new Link(
    {
      remoteAddress: "127.0.0.1",
      write: (chunk) => void socket.write(chunk, "latin1"),
      get pendingBytes() {
        return socket.writableLength;
      },
      end: () => socket.destroySoon(),
      destroy: () => void socket.destroy(),
    },
    { counts: newLinkCounts(), onClosed() {}, reportBug() {} },
  );
  socket.on("data", (bytes: Buffer) => link.receive(bytes));
  socket.on("drain", () => link.onDrain());
  socket.on("close", () => link.onWireClosed(undefined));
  return link;
}

interface Asked {
  readonly ticket?: string;
  readonly state?: string;
  readonly proof?: string | undefined;
}

function requestOf({ ticket, state = STATE, proof }: Asked): string {
  const fields = [
    "Host: h",
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    `Sec-WebSocket-Key: ${randomBytes(16).toString("base64")}`,
    `${RESUMABLE_HEADER}: 1`,
    ...(proof === undefined ? [] : [`${EDGE_HEADER}: ${proof}`]),
    ...(ticket === undefined ? [] : [`${RESUME_TICKET_HEADER}: ${ticket}`]),
    `${RESUME_STATE_HEADER}: ${state}`,
  ];
  return `GET ${RESUME_PATH} HTTP/1.1\r\n${fields.join("\r\n")}\r\n\r\n`;
}

/** A response to a request over a link, and the stream on which it came. */
interface Response {
  readonly status: number;
  readonly head: string;
  readonly client: Recorder;
}

/** Asks over a link; with the worker's proof unless `proof` is given. */
async function ask(worker: Worker, asked: Asked): Promise<Response> {
  const client = new Recorder((await linkTo(worker)).open());
  client.stream.write([requestOf({ proof: worker.proof, ...asked })]);
  await until("the worker responds", () => client.text.includes("\r\n\r\n"));
  const head = client.text.slice(0, client.text.indexOf("\r\n\r\n"));
  return { status: Number(head.slice(9, 12)), head, client };
}

function fieldOf({ head }: Response, name: string): string | undefined {
  return new RegExp(`^${name}: (.*)$`, "im").exec(head)?.[1]?.trim();
}

// --- a session that has moved ---

let former: Worker;
let owner: Worker;
let sessionId: SessionId;
let host: RawPeer;
let guest: RawPeer;
let guestToken: string;

/** A session with a host and a guest on one of two workers; `move` gives it to the other. */
beforeEach(async () => {
  const store = await startStore();
  former = await startWorker({ store, id: "worker-1" });
  owner = await startWorker({ store, id: "worker-2" });
  const created = await former.registry.create(HOST_USER);
  if (created.outcome !== "created") throw new Error(created.outcome);
  sessionId = created.sessionId;
  // They do not follow the session by themselves.
  const options = { reconnection: false };
  host = await rawPeer({ url: former.url, roomToken: created.roomToken, options }).ready();
  const pollToken = await requestJoin(former.registry, sessionId);
  const request = await until("the host is asked", () => host.received.find(isJoinRequest));
  host.decide(request, true);
  const answer = await joinAnswer(former.store, pollToken);
  if (!answer.accepted) throw new Error(answer.code);
  guestToken = answer.roomToken;
  guest = await rawPeer({ url: former.url, roomToken: guestToken, options }).ready();
});

async function move(): Promise<void> {
  const session = former.registry.live(sessionId);
  expect(await session?.handOver(owner.id as WorkerId, async () => {}, "drain")).toBe("handed");
}

/** The ticket that the first worker would have made for the guest's WebSocket. */
function ticketOf(peer: RawPeer, change: Partial<ResumeTicket> = {}, key = RESUME_KEY): string {
  const session = former.registry.live(sessionId);
  const { record } = [...(session?.peers ?? [])].find(({ id }) => id === peer.id) ?? {};
  if (session === undefined || record === undefined) throw new Error("no such peer");
  return signResumeTicket(key, {
    sessionId,
    epoch: session.epoch,
    peerId: record.id,
    tokenId: record.tokenId,
    namespace: "/",
    stream: 1,
    ...change,
  });
}

const refusals = (worker: Worker, reason: string): number =>
  worker.counters.value("worker.resume.refused", reason);

/** What comes over a resumed WebSocket, frames for the balancer taken out. */
function readWebSocket({ client, head }: Response) {
  const events: string[] = [];
  const output = new WorkerOutput({
    confirmed: (messages) => void events.push(`confirmed ${messages}`),
    ticketCame: (ticket) => void events.push(ticket === undefined ? "no ticket" : "ticket"),
    moved: () => void events.push("moved"),
    repeated() {},
  });
  let forClient = "";
  const read = (bytes: Buffer): void => {
    for (const part of output.read(Buffer.from(bytes))) forClient += part.toString("latin1");
  };
  read(Buffer.from(client.text.slice(head.length + 4), "latin1"));
  client.whenData = read;
  return { events, text: () => forClient };
}

/** A broadcast as a client sends it. */
function broadcast(text: string, target: string): Buffer {
  const bytes = encode({
    version: "0.3.1",
    kind: "broadcast",
    origin: "",
    metadata: {
      encryption: { keys: [{ target, key: "key", iv: "iv" }] },
      compression: { algorithm: "none" },
    },
    content: Buffer.from(text),
  });
  const event = Buffer.from('451-["message",{"_placeholder":true,"num":0}]');
  return Buffer.concat([unmasked(OPCODE.text, event), unmasked(OPCODE.binary, Buffer.from(bytes))]);
}

/** With a mask of zeros. */
function unmasked(opcode: number, payload: Buffer): Buffer {
  const bytes = frame(opcode, payload);
  const headBytes = bytes.length - payload.length;
  bytes[1] = (bytes[1] ?? 0) | 0x80;
  return Buffer.concat([bytes.subarray(0, headBytes), Buffer.alloc(4), payload]);
}

describe("a worker that owns the session", () => {
  test("a WebSocket goes on there: its client sends and gets messages, and the balancer gets a new ticket", async () => {
    const ticket = ticketOf(guest);
    const hostTicket = ticketOf(host, { stream: 2 });
    await move();
    const response = await ask(owner, { ticket, state: "move 7 0 12" });
    expect(response.status).toBe(101);
    expect(fieldOf(response, RESUMABLE_HEADER)).toBe("1");
    expect(fieldOf(response, SESSION_HEADER)).toBe(sessionId);
    expect(Number(fieldOf(response, EPOCH_HEADER))).toBeGreaterThan(0);
    const webSocket = readWebSocket(response);
    await until("the balancer has a ticket", () => webSocket.events.includes("ticket"));
    // It knows what is confirmed: it has said so itself.
    expect(webSocket.events).toEqual(["ticket"]);
    const hostResponse = await ask(owner, { ticket: hostTicket, state: "crash 0 1 12" });
    const hostWebSocket = readWebSocket(hostResponse);
    response.client.stream.write([broadcast("from the guest", host.id)]);
    await until("the host gets it", () => hostWebSocket.text().includes("from the guest"));
    hostResponse.client.stream.write([broadcast("from the host", guest.id)]);
    await until("the guest gets it", () => webSocket.text().includes("from the host"));
    // Two frames each, behind those that were confirmed before.
    await until("it is confirmed", () => webSocket.events.includes("confirmed 9"));
    await until("it is confirmed", () => hostWebSocket.events.includes("confirmed 2"));
    expect(owner.counters.value("worker.resume.websockets", "move")).toBe(1);
    expect(owner.counters.value("worker.resume.websockets", "crash")).toBe(1);
  });

  test("messages that may have been relayed before are marked as repeats, and later ones are not", async () => {
    const tickets = [ticketOf(guest), ticketOf(host, { stream: 2 })];
    await move();
    const [hostResponse, response] = [
      await ask(owner, { ticket: tickets[1] ?? "" }),
      await ask(owner, { ticket: tickets[0] ?? "", state: "crash 4 2 12" }),
    ];
    response.client.stream.write([
      broadcast("once more", host.id),
      broadcast("a new one", host.id),
    ]);
    // With spaces, which no ticket has.
    await until("the host gets both", () => hostResponse.client.text.includes("a new one"));
    // Stream 1, of which the sixth message is the first one's argument.
    const head = (first: number, message: number) =>
      Buffer.from([first, 12, 0, 0, 0, 1, 0, 0, 0, message]).toString("latin1");
    expect(hostResponse.client.text).toContain(head(0x84, 6));
    expect(hostResponse.client.text).toContain(head(0x83, 8));
  });

  test("a ticket resumes a WebSocket only once", async () => {
    const ticket = ticketOf(guest);
    await move();
    expect((await ask(owner, { ticket })).status).toBe(101);
    const second = await ask(owner, { ticket });
    expect(second.status).toBe(409);
    expect(second.head).not.toMatch(/upgrade:/i);
    expect(refusals(owner, "used")).toBe(1);
  });

  test("two requests with one ticket at the same moment resume one WebSocket", async () => {
    const ticket = ticketOf(guest);
    await move();
    const both = await Promise.all([ask(owner, { ticket }), ask(owner, { ticket })]);
    expect(both.map(({ status }) => status).sort((a, b) => a - b)).toEqual([101, 409]);
  });

  test.each([
    ["fails", 101],
    ["succeeds", 421],
  ])(
    "a request with a ticket during the next handover waits for its end; if that %s, it is answered with %i",
    async (what, status) => {
      const ticket = ticketOf(guest);
      await move();
      // The worker takes it over when it is asked for it.
      expect((await owner.registry.claim(sessionId)).outcome).toBe("here");
      let finish = (_isDelivered: boolean): void => {};
      const delivered = new Promise<void>((resolve, reject) => {
        finish = (isDelivered) => (isDelivered ? resolve() : reject(new Error("not delivered")));
      });
      const handover = owner.registry
        .live(sessionId)
        ?.handOver(former.id as WorkerId, () => delivered, "drain");
      const client = new Recorder((await linkTo(owner)).open());
      const resumable = vi.spyOn(owner.registry.live(sessionId) as Session, "findResumable");
      client.stream.write([requestOf({ proof: owner.proof, ticket })]);
      await until("the worker has looked twice", () => resumable.mock.calls.length > 1);
      expect(client.text).toBe("");
      finish(what === "succeeds");
      expect(await handover).toBe(what === "succeeds" ? "handed" : "kept");
      await until("the worker responds", () => client.text.includes("\r\n\r\n"));
      expect(client.text.slice(9, 12)).toBe(String(status));
    },
  );

  test("a ticket of a peer that has left is refused", async () => {
    const ticket = ticketOf(guest);
    guest.leave();
    await until(
      "it has left",
      () => former.registry.live(sessionId)?.hasPeer(guest.id as PeerId) === false,
    );
    await move();
    expect((await ask(owner, { ticket })).status).toBe(410);
    expect(refusals(owner, "peer gone")).toBe(1);
  });

  test("a ticket of a former room token is refused", async () => {
    const ticket = ticketOf(guest, { tokenId: "another" });
    await move();
    expect((await ask(owner, { ticket })).status).toBe(410);
  });

  test("a ticket of the present epoch is refused: the session has not moved since", async () => {
    const ticket = ticketOf(guest);
    expect((await ask(former, { ticket })).status).toBe(409);
    expect(refusals(former, "same epoch")).toBe(1);
  });

  test("a ticket of a peer that has reconnected already is refused, and its new connection stays", async () => {
    const ticket = ticketOf(guest);
    await move();
    const back = rawPeer({ url: owner.url, roomToken: guestToken });
    await until("it is back", () => owner.registry.live(sessionId)?.connections === 1);
    expect((await ask(owner, { ticket })).status).toBe(409);
    expect(refusals(owner, "replaced")).toBe(1);
    expect(back.disconnects).toEqual([]);
  });

  test("a WebSocket that was cut off while its session was handed over is not resumed: what was on its way is lost", async () => {
    const ticket = ticketOf(guest);
    await move();
    expect((await owner.registry.claim(sessionId)).outcome).toBe("here");
    const session = owner.registry.live(sessionId);
    session?.unpack({ epoch: 1, waiting: [], cut: [guest.id as PeerId] });
    expect((await ask(owner, { ticket })).status).toBe(409);
    expect(refusals(owner, "cut")).toBe(1);
    // Its client reconnects, and that WebSocket may be resumed.
    rawPeer({ url: owner.url, roomToken: guestToken });
    await until("it is back", () => session?.connections === 1);
    expect([...(session?.peers ?? [])].some(({ isCut }) => isCut)).toBe(false);
  });

  test("a ticket of a session that has ended is refused", async () => {
    const ticket = ticketOf(guest);
    former.registry.live(sessionId)?.end("ended by the operator");
    expect((await ask(former, { ticket })).status).toBe(410);
  });

  test("a ticket of a session that never was is refused", async () => {
    const ticket = ticketOf(guest, { sessionId: "Z".repeat(24) as SessionId });
    expect((await ask(owner, { ticket })).status).toBe(410);
    expect(refusals(owner, "unknown")).toBe(1);
  });
});

test("a worker that does not own the session names the owner", async () => {
  const ticket = ticketOf(guest);
  const elsewhere = await ask(owner, { ticket });
  expect(elsewhere.status).toBe(421);
  expect(fieldOf(elsewhere, OWNER_HEADER)).toBe(former.id);
  expect(Number(fieldOf(elsewhere, EPOCH_HEADER))).toBeGreaterThan(0);
});

describe("strangers", () => {
  test.each<[what: string, status: number, asked: () => Asked]>([
    ["of another edge", 403, () => ({ ticket: ticketOf(guest, {}, Buffer.alloc(32, 9)) })],
    ["cut off", 403, () => ({ ticket: ticketOf(guest).slice(0, -1) })],
    ["with a malformed state", 403, () => ({ ticket: ticketOf(guest), state: "move 1" })],
    ["that is missing", 404, () => ({})],
    ["without a balancer's proof", 404, () => ({ ticket: ticketOf(guest), proof: undefined })],
  ])("a ticket %s resumes nothing", async (_what, status, asked) => {
    const request = asked();
    await move();
    const response = await ask(owner, request);
    expect(response.status).toBe(status);
    expect(response.head).not.toMatch(/x-ct-|upgrade:/i);
    expect(owner.counters.value("worker.resume.websockets", "move")).toBe(0);
    expect(refusals(owner, "ticket")).toBe(status === 403 ? 1 : 0);
  });

  test.each<[what: string, status: number, isProven: boolean]>([
    ["of a balancer is to be repeated over a link", 503, true],
    ["of a client is one to an unknown path", 404, false],
  ])("a request with a ticket outside of a link %s", async (_what, status, isProven) => {
    const ticket = ticketOf(guest);
    await move();
    const socket = await connectRaw(owner.port);
    socket.write(requestOf({ ticket, proof: isProven ? owner.proof : undefined }));
    expect((await socket.head()).slice(9, 12)).toBe(String(status));
  });
});

test("a client's malformed frames end its resumed WebSocket, and the worker goes on", async () => {
  const ticket = ticketOf(guest);
  await move();
  const response = await ask(owner, { ticket });
  expect(response.status).toBe(101);
  response.client.stream.write([fromClient(0x0b, 10)]);
  await until("the stream has ended", () =>
    response.client.events.some((event) => event === "end" || event.startsWith("close")),
  );
  expect(await owner.ask("GET", "/api/meta")).toMatchObject({ status: 200 });
});

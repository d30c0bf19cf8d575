/**
 * Stamped exchanges through a balancer in this process: a worker and clients that send and check every byte, both reading
 * with random pauses. An exchange is planned first, so both ends know what it should carry and how it ends.
 */
import { once } from "node:events";
import {
  Agent,
  type ClientRequest,
  createServer,
  type IncomingMessage,
  request as requestHttp,
  type Server,
  type ServerResponse,
} from "node:http";
import { request as requestHttps, Agent as SecureAgent } from "node:https";
import { type AddressInfo, connect, Socket } from "node:net";
import type { Duplex, Readable } from "node:stream";
import { setImmediate as nextTurn, setTimeout as pause } from "node:timers/promises";
import { connect as connectTls, TLSSocket } from "node:tls";
import { isLinkRequest } from "../../worker/links/link-server.ts";
import { WEBSOCKET_ACCEPT, WEBSOCKET_KEY } from "../conformance/case.ts";
import { createRandom, type Random } from "../fuzz/random.ts";
import { newSending, type Sending, StampChecker, sendStamps } from "../support/stamps.ts";
import { until } from "../support/until.ts";

export interface Plan {
  readonly kind: "request" | "http/1.0" | "tunnel";
  /** The number of its stream to the worker; the one to the client has the next number. */
  readonly id: number;
  readonly bytesUp: number;
  readonly bytesDown: number;
  readonly framing: "length" | "chunked";
  readonly fate: "complete" | "client resets" | "worker resets";
  /** The side that reads nothing for a while, until the other one can send no more. */
  readonly stops: "client" | "worker" | "none";
}

/** One exchange, as it went. */
export interface Exchange extends Plan {
  /** Each end has its own, because which of them acts first is not reproducible. */
  readonly randomAtClient: Random;
  readonly randomAtWorker: Random;
  readonly atClient: Receiving;
  readonly atWorker: Receiving;
  status: number | undefined;
  /** What went wrong at the client, if anything. */
  error: string | undefined;
}

/** A stream and both its ends. */
interface Receiving {
  checker: StampChecker;
  sending: Sending;
  /** Whether it ended as a complete one does. */
  isComplete: boolean;
}

export interface StampedWorker {
  readonly port: number;
  close(): Promise<void>;
}

export class StampedTraffic {
  readonly exchanges: Exchange[] = [];
  /** What the paths of requests begin with; the exchange's number follows. */
  readonly path: string;
  /** First bytes that were wrong, at any end. */
  readonly faults: string[] = [];
  /** Exchanges that are over. A reader that stops goes on when some of the others have proceeded. */
  #over = 0;
  #planned = 0;

  constructor(path = "/") {
    this.path = path;
  }

  /** How many exchanges will be run, so that no reader waits for more. */
  expect(exchanges: number): void {
    this.#planned += exchanges;
  }

  add(plan: Plan, seed: number): Exchange {
    const exchange: Exchange = {
      ...plan,
      randomAtClient: createRandom(seed, plan.id),
      randomAtWorker: createRandom(seed, plan.id + 1),
      atClient: newReceiving(plan.id + 1),
      atWorker: newReceiving(plan.id),
      status: undefined,
      error: undefined,
    };
    this.exchanges.push(exchange);
    return exchange;
  }

  onOver(): void {
    this.#over++;
  }

  /**
   * Reads to the end, with random pauses. Resolves with false when the stream broke off. `reset` is called somewhere within
   * the first `bytes`, and ends it.
   */
  async receive(
    from: AsyncIterable<Buffer>,
    at: Receiving,
    options: {
      readonly random: Random;
      readonly stops: boolean;
      readonly bytes: number;
      readonly reset?: () => void;
    },
  ): Promise<boolean> {
    const { random, bytes, reset } = options;
    const { checker } = at;
    const resetAt = reset === undefined ? Number.POSITIVE_INFINITY : random.below(bytes);
    try {
      for await (const chunk of from) {
        const isFirst = checker.received === 0;
        if (!checker.take(chunk) && checker.fault !== undefined) this.faults.push(checker.fault);
        if (checker.received > resetAt) {
          reset?.();
          return false;
        }
        if (isFirst && options.stops) await this.#stalled(at.sending);
        else if (random.chance(0.1)) await pause(random.below(4));
        else if (random.chance(0.2)) await nextTurn();
      }
    } catch {
      return false;
    }
    return true;
  }

  /** Resolves when the sender can send no more, and others have sent much meanwhile. */
  async #stalled(sending: Sending): Promise<void> {
    await until("the sender is stalled", () => {
      const { isOver, waitingSinceMs = Number.POSITIVE_INFINITY } = sending;
      return isOver || performance.now() - waitingSinceMs > STALLED_MS;
    });
    const target = Math.min(this.#over + OTHERS, this.#planned / 2);
    await until("others have proceeded", () => this.#over >= target);
  }
}

/** A sender that has waited for as long does so because its receiver does not read. */
const STALLED_MS = 100;
const OTHERS = 10;

function newReceiving(id: number): Receiving {
  return { checker: new StampChecker(id), sending: newSending(), isComplete: false };
}

function resetSocket(socket: Socket | Duplex): void {
  if (!(socket instanceof Socket)) socket.destroy(new Error("reset by the test"));
  // Over TLS: with unread bytes, which there are, this is a reset too.
  else if (socket instanceof TLSSocket) socket.destroy();
  else socket.resetAndDestroy();
}

// --- the worker ---

/** `acceptLinks`: serves streams of links too. */
export async function startStampedWorker(
  traffic: StampedTraffic,
  acceptLinks: (server: Server) => void = () => {},
): Promise<StampedWorker> {
  const sockets = new Set<Socket>();
  const planOf = ({ url = "" }: IncomingMessage): Exchange => {
    const found = traffic.exchanges.find(
      ({ id }) => id === Number(url.slice(url.lastIndexOf("/") + 1)),
    );
    if (found === undefined) throw new Error(`no exchange for ${url}`);
    return found;
  };
  const server = createServer({ keepAliveTimeout: 60_000 }, (incoming, response) => {
    const exchange = planOf(incoming);
    void respond(traffic, exchange, incoming, response);
  });
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    socket.on("error", () => {});
  });
  acceptLinks(server);
  server.on("upgrade", (incoming: IncomingMessage, socket: Duplex, head: Buffer) => {
    if (isLinkRequest(incoming)) return;
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${WEBSOCKET_ACCEPT}\r\n\r\n`,
    );
    void useTunnel(traffic, planOf(incoming), socket, {
      side: "worker",
      from: prepend(head, chunksOf(socket)),
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Reads the whole request, then responds. */
async function respond(
  traffic: StampedTraffic,
  exchange: Exchange,
  incoming: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { randomAtWorker: random, atWorker, atClient, bytesUp, bytesDown, fate } = exchange;
  const resets = fate === "worker resets";
  // A request may be sent again when its first attempt failed.
  atWorker.checker = new StampChecker(exchange.id);
  atClient.sending = newSending();
  const isReceived = await traffic.receive(chunksOf(incoming), atWorker, {
    random,
    stops: exchange.stops === "worker",
    bytes: bytesUp,
    ...(resets && bytesUp > 0 && { reset: () => resetSocket(incoming.socket) }),
  });
  atWorker.isComplete = isReceived;
  if (!isReceived) return;
  if (exchange.framing === "length") response.setHeader("Content-Length", bytesDown);
  const isCut = resets && bytesUp === 0;
  const bytes = isCut ? random.below(bytesDown) : bytesDown;
  await sendStamps(response, { id: exchange.id + 1, bytes }, random, atClient.sending);
  if (isCut) resetSocket(incoming.socket);
  else response.end();
}

// --- tunnels, at both ends ---

async function useTunnel(
  traffic: StampedTraffic,
  exchange: Exchange,
  socket: Duplex,
  end: { readonly side: "client" | "worker"; readonly from: AsyncIterable<Buffer> },
): Promise<void> {
  const { side, from } = end;
  const { fate, id, bytesUp, bytesDown } = exchange;
  const random = side === "client" ? exchange.randomAtClient : exchange.randomAtWorker;
  const [incoming, outgoing] =
    side === "client"
      ? [exchange.atClient, exchange.atWorker]
      : [exchange.atWorker, exchange.atClient];
  const [receives, sends] = side === "client" ? [bytesDown, bytesUp] : [bytesUp, bytesDown];
  const sending = sendStamps(
    socket,
    { id: side === "client" ? id : id + 1, bytes: sends },
    random,
    outgoing.sending,
  );
  // A TLS socket of Node that ends while it still has bytes to read drops them, so a client ends its side last.
  const isLast = socket instanceof TLSSocket;
  if (!isLast) void sending.then(() => socket.end());
  const isClean = await traffic.receive(from, incoming, {
    random,
    stops: exchange.stops === side,
    bytes: receives,
    ...(fate === `${side} resets` && { reset: () => resetSocket(socket) }),
  });
  incoming.isComplete = isClean;
  await sending;
  if (isLast) socket.end();
}

// --- clients ---

/** Runs exchanges one after the other over one connection, which is replaced when one ends it. */
export class StampedClient {
  readonly #traffic: StampedTraffic;
  readonly #port: number;
  readonly #isSecure: boolean;
  readonly #agent: Agent;
  /** Requests that were sent on a connection that had served one before. */
  reuses = 0;

  constructor(traffic: StampedTraffic, at: { readonly port: number; readonly isSecure: boolean }) {
    this.#traffic = traffic;
    this.#port = at.port;
    this.#isSecure = at.isSecure;
    const options = { keepAlive: true, maxSockets: 1 };
    this.#agent = at.isSecure ? new SecureAgent(options) : new Agent(options);
  }

  async run(exchange: Exchange): Promise<void> {
    try {
      if (exchange.kind === "request") await this.#request(exchange);
      else if (exchange.kind === "tunnel") await this.#tunnel(exchange);
      else await this.#requestOfHttp10(exchange);
    } catch (error) {
      exchange.error = String(error);
    }
    this.#traffic.onOver();
  }

  close(): void {
    this.#agent.destroy();
  }

  #open(exchange: Exchange, more: Record<string, string | number>): ClientRequest {
    const options = {
      host: "127.0.0.1",
      port: this.#port,
      path: `${this.#traffic.path}${exchange.id}`,
      agent: this.#agent,
      headers: more,
      rejectUnauthorized: false,
    };
    return this.#isSecure ? requestHttps(options) : requestHttp(options);
  }

  async #request(exchange: Exchange): Promise<void> {
    const { bytesUp, randomAtClient: random, atWorker } = exchange;
    const request = this.#open(exchange, {
      ...(bytesUp > 0 && exchange.framing === "length" && { "Content-Length": bytesUp }),
      ...(bytesUp > 0 && exchange.framing === "chunked" && { "Transfer-Encoding": "chunked" }),
    });
    request.method = bytesUp > 0 ? "POST" : "GET";
    const responded = once(request, "response") as Promise<[IncomingMessage]>;
    // Rejected by an error; which may come while the body is sent.
    responded.catch(() => {});
    request.on("error", () => {});
    const resets = exchange.fate === "client resets";
    if (resets && bytesUp > 0) {
      await sendStamps(request, { id: exchange.id, bytes: random.below(bytesUp) }, random);
      await socketOf(request).then(resetSocket);
      return;
    }
    await sendStamps(request, { id: exchange.id, bytes: bytesUp }, random, atWorker.sending);
    request.end();
    const [response] = await responded;
    if (request.reusedSocket) this.reuses++;
    response.on("error", () => {});
    exchange.status = response.statusCode;
    if (response.statusCode !== 200) {
      response.resume();
      await once(response, "close");
      return;
    }
    await this.#receive(exchange, chunksOf(response), () => resetSocket(response.socket));
  }

  async #requestOfHttp10(exchange: Exchange): Promise<void> {
    const { randomAtClient: random, bytesUp, atWorker } = exchange;
    const socket = await this.#connect();
    const length = bytesUp > 0 ? `Content-Length: ${bytesUp}\r\n` : "";
    socket.write(
      `${bytesUp > 0 ? "POST" : "GET"} ${this.#traffic.path}${exchange.id} HTTP/1.0\r\nHost: h\r\n${length}\r\n`,
    );
    await sendStamps(socket, { id: exchange.id, bytes: bytesUp }, random, atWorker.sending);
    const { head, rest } = await readHead(socket);
    exchange.status = Number(head.slice(9, 12));
    if (exchange.status === 200) await this.#receive(exchange, rest, () => resetSocket(socket));
    socket.destroy();
  }

  async #receive(
    exchange: Exchange,
    from: AsyncIterable<Buffer>,
    reset: () => void,
  ): Promise<void> {
    const { atClient, bytesDown, randomAtClient: random } = exchange;
    atClient.isComplete = await this.#traffic.receive(from, atClient, {
      random,
      stops: exchange.stops === "client",
      bytes: bytesDown,
      ...(exchange.fate === "client resets" && { reset }),
    });
  }

  async #tunnel(exchange: Exchange): Promise<void> {
    const socket = await this.#connect();
    socket.write(
      `GET ${this.#traffic.path}${exchange.id} HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${WEBSOCKET_KEY}\r\n\r\n`,
    );
    const { head, rest } = await readHead(socket);
    exchange.status = Number(head.slice(9, 12));
    await useTunnel(this.#traffic, exchange, socket, { side: "client", from: rest });
    // The end of a TLS socket is still on its way.
    if (exchange.fate === "complete") {
      await until("the worker's end is complete", () => exchange.atWorker.isComplete);
    }
    socket.destroy();
  }

  async #connect(): Promise<Socket> {
    const at = { port: this.#port, host: "127.0.0.1", allowHalfOpen: true };
    const socket = this.#isSecure ? connectTls({ ...at, rejectUnauthorized: false }) : connect(at);
    socket.on("error", () => {});
    await once(socket, this.#isSecure ? "secureConnect" : "connect");
    return socket;
  }
}

async function socketOf(request: ClientRequest): Promise<Socket> {
  if (request.socket === null) await once(request, "socket");
  return request.socket as Socket;
}

// --- reading ---

/** What is read from a stream, which stays open for writing at its end. */
function chunksOf(stream: Readable): AsyncIterable<Buffer> {
  return stream.iterator({ destroyOnReturn: false });
}

async function* prepend(first: Buffer, chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  if (first.length > 0) yield first;
  yield* chunks;
}

/** The head of a message, and what follows it. */
async function readHead(
  socket: Socket,
): Promise<{ readonly head: string; readonly rest: AsyncIterable<Buffer> }> {
  // Not read and unshift: a TLS socket of Node then loses what follows.
  const chunks = chunksOf(socket)[Symbol.asyncIterator]();
  let bytes = Buffer.alloc(0);
  for (;;) {
    const { value, done } = await chunks.next();
    if (done === true) throw new Error("the connection ended before a head");
    bytes = Buffer.concat([bytes, value]);
    const end = bytes.indexOf("\r\n\r\n");
    if (end < 0) continue;
    return {
      head: bytes.subarray(0, end).toString("latin1"),
      rest: prepend(bytes.subarray(end + 4), { [Symbol.asyncIterator]: () => chunks }),
    };
  }
}

/**
 * The clients and workers of the warm-up (warm-up.ts): real connections on the loopback address, with every kind of request
 * that is frequent.
 */
import type { Clock, Timer } from "../../shared/base/clock.ts";
import { EPOCH_HEADER, SESSION_HEADER } from "../../shared/net/edge-headers.ts";
import type { Address, Connection, ConnectionHandler, Transport } from "../transport/transport.ts";

export const LOOPBACK = "127.0.0.1";

/** One shape for both sides: with more of them, V8 would compile the call of a handler for an unknown one. */
function createHandler(onData: (bytes: Buffer) => void, onOver: () => void): ConnectionHandler {
  return { onData, onEnd: onOver, onDrain() {}, onClose: onOver };
}

// --- the worker ---

/** A session that the worker says it owns; other keys have no owner. */
const SESSION = "warmup".padEnd(24, "0");
const MARK = `${SESSION_HEADER}: ${SESSION}\r\n${EPOCH_HEADER}: 1\r\n`;
const OK = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n";
/** The last byte of a body; it occurs nowhere else in a response. */
const LAST = "!";
const END_OF_CHUNKS = "\r\n0\r\n\r\n";

const SMALL = `${OK}Content-Length: 64\r\n\r\n${LAST.padStart(64, "x")}`;
const MARKED = `${OK}${MARK}Content-Length: 64\r\n\r\n${LAST.padStart(64, "x")}`;
const CHUNKED = `${OK}Transfer-Encoding: chunked\r\n\r\n40\r\n${"x".repeat(64)}${END_OF_CHUNKS}`;
const LARGE = `${OK}Content-Length: 65536\r\n\r\n${LAST.padStart(65_536, "x")}`;
/** The accept value is the one of `UPGRADE`, the example in RFC 6455 §1.3. */
const SWITCH =
  "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
  `Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n${MARK}\r\n`;

export interface WarmUpWorker {
  readonly port: number;
  /** Stops accepting and closes all connections. */
  close(): void;
}

/** A worker that responds to each request, and echoes what comes over a WebSocket. Rejects if it cannot listen. */
export async function startWarmUpWorker(transport: Transport): Promise<WarmUpWorker> {
  const open = new Set<Connection>();
  const listening = await transport.listen({
    host: LOOPBACK,
    port: 0,
    admit: () => true,
    refusal: () => "",
    onGone() {},
    onConnection(connection) {
      open.add(connection);
      serve(connection, () => open.delete(connection));
    },
  });
  return {
    port: listening.port,
    close() {
      listening.close();
      for (const connection of open) connection.reset();
    },
  };
}

function serve(connection: Connection, onOver: () => void): void {
  let isTunnel = false;
  function respond(bytes: Buffer): void {
    if (isTunnel) {
      connection.write([bytes]);
      return;
    }
    // The head of a request is never split: it comes in one write of the balancer, and is short.
    const request = bytes.toString("latin1");
    isTunnel = request.startsWith("GET /ws ");
    if (isTunnel) connection.write([SWITCH]);
    else if (request.startsWith("GET /large ")) connection.write([LARGE]);
    else if (request.startsWith("GET /chunked ")) connection.write([CHUNKED]);
    else if (request.includes(SESSION)) connection.write([MARKED]);
    else if (request.startsWith("GET ") || request.endsWith(BODY)) connection.write([SMALL]);
  }
  connection.handler = createHandler(respond, () => {
    connection.destroy();
    onOver();
  });
}

// --- the clients ---

const FIELDS = "Host: localhost\r\nUser-Agent: warm-up\r\nAccept: */*\r\n";
const BODY = "warm-up ".repeat(32);
const GET = `GET /small HTTP/1.1\r\n${FIELDS}\r\n`;
const KEYED = `GET /small HTTP/1.1\r\n${FIELDS}ctstickiness: warm-up\r\n\r\n`;
const OWNED = `GET /small HTTP/1.1\r\n${FIELDS}ctstickiness: ${SESSION}\r\n\r\n`;
/** Requests of each connection, in turn. */
const REQUESTS: readonly string[] = [
  GET,
  KEYED,
  `GET /small HTTP/1.1\r\n${FIELDS}Cookie: a=b; ctstickiness=${SESSION}\r\n\r\n`,
  GET,
  `POST /small HTTP/1.1\r\n${FIELDS}Content-Length: ${BODY.length}\r\n\r\n${BODY}`,
  KEYED,
  `GET /chunked HTTP/1.1\r\n${FIELDS}\r\n`,
  GET,
  `GET /k/${SESSION}/small HTTP/1.1\r\n${FIELDS}\r\n`,
  OWNED,
  `GET /large HTTP/1.1\r\n${FIELDS}\r\n`,
  GET,
  OWNED,
  GET,
  KEYED,
  `GET /small HTTP/1.1\r\n${FIELDS}Connection: close\r\n\r\n`,
];
const UPGRADE =
  `GET /ws HTTP/1.1\r\n${FIELDS}Connection: Upgrade\r\nUpgrade: websocket\r\n` +
  "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const MESSAGE = "m".repeat(96);

/** Responses from one call of `probe` to the next. */
const PROBE_EVERY = 100;

/** Connections to each address. */
const CLIENTS = 8;
const TUNNELS = 2;

interface TrafficDeps {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly budget: TrafficBudget;
  /** Has the balancers probe their workers. */
  readonly probe: () => void;
}

interface TrafficBudget {
  /** Responses and messages. */
  readonly requests: number;
  readonly timeMs: number;
}

/**
 * Sends requests and messages to the balancers at `addresses` until `budget` is used up, and closes all connections.
 * Resolves with the number of responses. Rejects when a connection cannot be opened.
 */
export function sendTraffic(addresses: readonly Address[], deps: TrafficDeps): Promise<number> {
  return new Promise((resolve, reject) => {
    const clients = new Clients(deps, (error) => {
      if (error === undefined) resolve(clients.responses);
      else reject(error);
    });
    for (const address of addresses) {
      for (let i = 0; i < CLIENTS; i++) clients.sendRequests(address, i * 2);
      for (let i = 0; i < TUNNELS; i++) clients.sendMessages(address);
    }
  });
}

class Clients {
  readonly #deps: TrafficDeps;
  readonly #endMs: number;
  readonly #onEnd: (error: Error | undefined) => void;
  readonly #open = new Set<Connection>();
  readonly #timeout: Timer;
  #isOver = false;
  responses = 0;

  constructor(deps: TrafficDeps, onEnd: (error: Error | undefined) => void) {
    const { clock, budget } = deps;
    this.#deps = deps;
    this.#endMs = clock.nowMs() + budget.timeMs;
    this.#onEnd = onEnd;
    // For when no response comes.
    this.#timeout = clock.after(budget.timeMs, () => this.#end(undefined));
  }

  /** One after the other; `at`: which of `REQUESTS` is the first. Connects again when the connection ends. */
  sendRequests(address: Address, at: number): void {
    let next = at;
    const send = (connection: Connection): void => {
      connection.write([REQUESTS[next++ % REQUESTS.length] ?? GET]);
    };
    this.#dial(
      address,
      send,
      (connection, bytes) => {
        if (isEndOfResponse(bytes) && this.#count()) send(connection);
      },
      () => this.sendRequests(address, next),
    );
  }

  /** Each as soon as the one before is echoed. */
  sendMessages(address: Address): void {
    this.#dial(
      address,
      (connection) => connection.write([UPGRADE]),
      (connection) => {
        if (this.#count()) connection.write([MESSAGE]);
      },
      () => {},
    );
  }

  #dial(
    address: Address,
    onOpen: (connection: Connection) => void,
    onData: (connection: Connection, bytes: Buffer) => void,
    onOver: () => void,
  ): void {
    if (this.#isOver) return;
    this.#deps.transport.dial(address, {
      onOpen: (connection) => {
        const close = (): void => {
          connection.destroy();
          if (this.#open.delete(connection)) onOver();
        };
        connection.handler = createHandler((bytes) => onData(connection, bytes), close);
        this.#open.add(connection);
        if (this.#isOver) close();
        else onOpen(connection);
      },
      onFail: (error) => this.#end(error),
    });
  }

  /** Whether another request is to follow this response. */
  #count(): boolean {
    if (this.#isOver) return false;
    this.responses++;
    const { clock, budget, probe } = this.#deps;
    const isUsedUp = this.responses >= budget.requests || clock.nowMs() >= this.#endMs;
    if (isUsedUp) this.#end(undefined);
    else if (this.responses % PROBE_EVERY === 0) probe();
    return !this.#isOver;
  }

  #end(error: Error | undefined): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#timeout.cancel();
    // By reset: a close would keep the port for a minute, and it may be one that this machine's programs listen on.
    for (const connection of this.#open) connection.reset();
    this.#onEnd(error);
  }
}

function isEndOfResponse(bytes: Buffer): boolean {
  if (bytes.at(-1) === LAST.charCodeAt(0)) return true;
  return bytes.toString("latin1", bytes.length - END_OF_CHUNKS.length) === END_OF_CHUNKS;
}

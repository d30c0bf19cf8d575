import { beforeEach, expect, test } from "vitest";
import { serveClient } from "../../../balancer/downstream/downstream.ts";
import { createDrainState, type DrainState } from "../../../balancer/downstream/drain-state.ts";
import type { Client } from "../../../balancer/downstream/exchange-contract.ts";
import type { ServedClient } from "../../../balancer/downstream/served-client.ts";
import { DEFAULT_HTTP_LIMITS } from "../../../balancer/http1/limits.ts";
import { createDeadlines } from "../../../balancer/transport/deadlines.ts";
import type {
  Connection,
  ConnectionHandler,
  Piece,
} from "../../../balancer/transport/transport.ts";
import { createCounters } from "../../../shared/metrics/metrics.ts";
import { BALANCER_DEFAULTS } from "../../support/settings.ts";
import { createStepClock, type StepClock } from "../../support/step-clock.ts";

/** A connection whose buffers are as full as the test sets them. */
class StubbornConnection implements Connection {
  readonly remoteAddress = "192.0.2.1";
  readonly secure = false;
  handler: ConnectionHandler = { onData() {}, onEnd() {}, onDrain() {}, onClose() {} };
  pendingBytes = 0;
  /** What the system holds for the client. */
  systemBytes = 0;
  written = "";
  state: "open" | "ended" | "destroyed" = "open";
  setOptions(): void {}
  write(pieces: readonly Piece[]): boolean {
    this.written += pieces.map((piece) => piece.toString("latin1")).join("");
    return this.pendingBytes === 0;
  }
  measureBacklog(done: (bytes: number) => void): void {
    done(this.pendingBytes + this.systemBytes);
  }
  isPaused = false;
  pause(): void {
    this.isPaused = true;
  }
  resume(): void {
    this.isPaused = false;
  }
  end(): void {
    this.state = "ended";
  }
  destroy(): void {
    this.state = "destroyed";
    this.handler.onClose(undefined);
  }
  reset(): void {
    this.destroy();
  }
}

let clock: StepClock;
let connection: StubbornConnection;
let client: Client;
let served: number[];
let drainState: DrainState;
let downstream: ServedClient;
let ends: string[];
let unsentToWorker: number;
/** What the exchange does with a part of a body. */
let takeBody: () => void;
/** Whether `measureBacklog` of the worker's connection calls back. */
let isMeasured: boolean;

beforeEach(() => {
  serve();
  ask("Connection: close\r\n");
});

/** A new connection, without a request. */
function serve(): void {
  clock = createStepClock();
  connection = new StubbornConnection();
  ends = [];
  unsentToWorker = 0;
  takeBody = () => {};
  isMeasured = true;
  served = [];
  drainState = createDrainState();
  downstream = serveClient(
    connection,
    {
      deadlines: createDeadlines({
        clock,
        reportBug(error) {
          throw error;
        },
      }),
      limits: {
        ...DEFAULT_HTTP_LIMITS,
        ...BALANCER_DEFAULTS,
        headerTimeoutMs: 10_000,
        bodyTimeoutMs: 30_000,
        keepaliveTimeoutMs: 65_000,
        upstreamTimeoutMs: 60_000,
      },
      counters: createCounters(),
      requestLog: {
        served: ({ status }) => served.push(status),
        failed() {},
        flush() {},
        reopen() {},
        close() {},
      },
      nextRequestId: () => "id",
      drainState,
      acceptRequest(_head, theClient) {
        client = theClient;
        return {
          start() {},
          onBody: () => takeBody(),
          onDrain() {},
          measureBacklog(done) {
            if (isMeasured) done(unsentToWorker);
          },
          onAbort: () => ends.push("abort"),
          onTimeout: () => ends.push("timeout"),
        };
      },
    },
    () => ends.push("over"),
  );
}

/** Sends a whole response. */
function respond(body: string, keepAlive: boolean): void {
  client.beginResponse(200, "head", keepAlive);
  client.send([body]);
  client.finish();
}

function ask(more = ""): void {
  connection.handler.onData(Buffer.from(`GET / HTTP/1.1\r\nHost: h\r\n${more}\r\n`));
}

test("an idle connection is closed 5 s after a graceful shutdown began", () => {
  serve();
  ask();
  respond("the end", true);
  clock.advance(30_000);
  drainState.hasBegun = true;
  downstream.shutDown();
  clock.advance(4000);
  expect(connection.state).toBe("open");
  clock.advance(1500);
  expect(connection.state).toBe("ended");
});

test("a connection that was kept alive before a graceful shutdown may be reused for 5 s", () => {
  serve();
  ask();
  drainState.hasBegun = true;
  downstream.shutDown();
  clock.advance(10_000);
  respond("the end", true);
  clock.advance(4000);
  expect(connection.state).toBe("open");
  ask();
  expect(client.isLastResponse).toBe(true);
  respond("the end", false);
  expect(connection.state).toBe("ended");
});

test("a pipelined request waits until its client has taken the response before it", () => {
  serve();
  ask();
  connection.pendingBytes = 100;
  respond("much", true);
  ask();
  expect(client.requestId).toBe("");
  clock.advance(29_000);
  connection.pendingBytes = 50;
  clock.advance(29_000);
  expect(connection.state).toBe("open");
  connection.pendingBytes = 0;
  connection.handler.onDrain();
  expect(client.requestId).toBe("id");
});

test("a client that sends requests but takes no more of a response is disconnected", () => {
  serve();
  ask();
  connection.pendingBytes = 100;
  respond("much", true);
  ask();
  clock.advance(29_000);
  expect(connection.state).toBe("open");
  clock.advance(3000);
  expect(connection.state).toBe("destroyed");
  expect(ends).toEqual(["over"]);
});

test("a client that still takes the end of its response is waited for, however slow it is", () => {
  connection.pendingBytes = 100;
  respond("the end", false);
  expect(connection.state).toBe("ended");
  for (let left = 90; left > 0; left -= 10) {
    clock.advance(20_000);
    expect(connection.state).toBe("ended");
    connection.pendingBytes = left;
  }
  connection.pendingBytes = 0;
  clock.advance(40_000);
  expect(connection.state).toBe("destroyed");
});

test("a client that stops taking the end of its response is disconnected", () => {
  connection.pendingBytes = 100;
  respond("the end", false);
  clock.advance(29_000);
  expect(connection.state).toBe("ended");
  clock.advance(3000);
  expect(connection.state).toBe("destroyed");
});

test("a client that takes its response from the system's buffers is waited for, however slow it is", () => {
  serve();
  ask();
  connection.pendingBytes = 70_000;
  connection.systemBytes = 2_000_000;
  client.beginResponse(200, "head", true);
  client.send(["much"]);
  for (let left = 1_950_000; left > 1_000_000; left -= 50_000) {
    clock.advance(20_000);
    connection.systemBytes = left;
  }
  expect(ends).toEqual([]);
  // It stops.
  clock.advance(29_000);
  expect(ends).toEqual([]);
  clock.advance(12_000);
  expect(ends).toEqual(["abort", "over"]);
});

test("a client that takes nothing of a response is disconnected after the time limit, though the system holds all of it", () => {
  serve();
  ask();
  connection.pendingBytes = 70_000;
  connection.systemBytes = 2_000_000;
  client.beginResponse(200, "head", true);
  client.send(["much"]);
  clock.advance(29_000);
  expect(ends).toEqual([]);
  clock.advance(3000);
  expect(ends).toEqual(["abort", "over"]);
});

test("a worker that takes a body slowly is waited for, one that stops times out", () => {
  serve();
  connection.handler.onData(
    Buffer.from("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9000000\r\n\r\nsome"),
  );
  client.pauseBody();
  unsentToWorker = 2_000_000;
  for (let left = 1_950_000; left > 1_000_000; left -= 50_000) {
    clock.advance(40_000);
    unsentToWorker = left;
  }
  expect(ends).toEqual([]);
  clock.advance(80_000);
  expect(ends).toEqual(["timeout"]);
});

test("a body behind a pipelined request pauses its client when its worker takes nothing", () => {
  serve();
  ask();
  const body = Buffer.alloc(100_000, "x");
  const head = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9000000\r\n\r\n";
  connection.handler.onData(Buffer.concat([Buffer.from(head), body]));
  expect(connection.isPaused).toBe(true);
  takeBody = () => client.pauseBody();
  respond("the end", true);
  expect(connection.isPaused).toBe(true);
  client.resumeBody();
  expect(connection.isPaused).toBe(false);
});

test("a worker that ends while its backlog is measured leaves a time limit for the next one", () => {
  serve();
  connection.handler.onData(
    Buffer.from("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody"),
  );
  unsentToWorker = 2_000_000;
  isMeasured = false;
  clock.advance(20_000);
  isMeasured = true;
  clock.advance(90_000);
  expect(ends).toEqual(["timeout"]);
});

test("a worker has its time to respond from when it has taken the whole request", () => {
  serve();
  connection.handler.onData(
    Buffer.from("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody"),
  );
  unsentToWorker = 2_000_000;
  clock.advance(50_000);
  unsentToWorker = 0;
  clock.advance(50_000);
  expect(ends).toEqual([]);
  clock.advance(30_000);
  expect(ends).toEqual(["timeout"]);
});

test("a connection is closed at once when its client announced that it sends nothing more, and the system has the response", () => {
  respond("the end", false);
  expect(connection.state).toBe("destroyed");
  expect(served).toEqual([200]);
});

test("a connection is not closed at once after a large response, which a late byte of its client would cut off", () => {
  respond("x".repeat(20_000), false);
  expect(connection.state).toBe("ended");
});

test("a connection whose client does not take the last response yet stays open until it does", () => {
  connection.pendingBytes = 10;
  respond("the end", false);
  expect(connection.state).toBe("ended");
});

test("a connection is closed two seconds after its last response when the client does not close it", () => {
  serve();
  ask();
  respond("the end", false);
  clock.advance(1750);
  expect(connection.state).toBe("ended");
  clock.advance(1000);
  expect(connection.state).toBe("destroyed");
});

test("a client that ended its side waits for a second until its response begins", () => {
  connection.handler.onEnd();
  clock.advance(1000);
  expect(ends).toEqual([]);
  clock.advance(750);
  expect(ends).toEqual(["abort", "over"]);
});

test("a client that ended its side gets all of a response that has begun, however long that takes", () => {
  connection.handler.onEnd();
  client.beginResponse(200, "head", true);
  client.send(["a beginning"]);
  clock.advance(50_000);
  client.send(["the rest"]);
  clock.advance(50_000);
  expect(ends).toEqual([]);
  client.finish();
  expect(connection.state).toBe("ended");
});

test("a silent worker ends with a timeout of the request", () => {
  clock.advance(61_000);
  expect(ends).toEqual(["timeout"]);
});

test("a closed connection is reported as over once", () => {
  connection.handler.onClose(undefined);
  expect(ends).toEqual(["abort", "over"]);
  clock.advance(100_000);
  expect(ends).toEqual(["abort", "over"]);
});

/** WebSockets whose workers go: which are resumed, with what, and what their upstreams count meanwhile. */
import { describe, expect, onTestFinished, test } from "vitest";
import {
  createTunnels,
  type ResumeOutcome,
  type ResumeRequest,
} from "../../../balancer/proxy/tunnels.ts";
import type {
  Connection,
  ConnectionHandler,
  Piece,
} from "../../../balancer/transport/transport.ts";
import type { Upstream } from "../../../balancer/upstreams/upstream.ts";
import type { SessionId } from "../../../shared/base/ids.ts";
import { LinkLostError } from "../../../shared/link/stream.ts";
import { createCounters } from "../../../shared/metrics/metrics.ts";
import {
  confirmFrame,
  DELIVERY_BYTES,
  MAX_KEPT_BYTES,
  moveFrame,
  ticketFrame,
  writeDelivery,
} from "../../../shared/resume/frames.ts";
import { silentLog } from "../../support/logs.ts";
import { until } from "../../support/until.ts";
import { createSkipClock } from "../../worker/sessions/skip-clock.ts";
import { frame, fromClient, OPCODE } from "../websocket/frames.ts";

/** One side of a tunnel, whose bytes and end come from the test. */
class Side implements Connection {
  readonly remoteAddress = "192.0.2.1";
  readonly secure = false;
  readonly pendingBytes = 0;
  handler: ConnectionHandler = { onData() {}, onEnd() {}, onDrain() {}, onClose() {} };
  /** What was written to it. */
  written: Buffer = Buffer.alloc(0);
  isPaused = false;
  /** Whether it takes more. */
  hasRoom = true;
  isEnded = false;
  isReset = false;

  setOptions(): void {}

  write(chunks: readonly Piece[]): boolean {
    const bytes = chunks.map((one) => (typeof one === "string" ? Buffer.from(one) : one));
    this.written = Buffer.concat([this.written, ...bytes]);
    return this.hasRoom;
  }

  measureBacklog(): void {}

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
  }

  end(): void {
    this.isEnded = true;
  }

  destroy(): void {
    this.handler.onClose(undefined);
  }

  reset(): void {
    this.isReset = true;
  }
}

/** A worker as tunnels see it. */
class Worker {
  readonly id: string;
  inFlight = 0;
  isDown = false;
  readonly #watchers = new Set<() => void>();

  constructor(id: string) {
    this.id = id;
  }

  onDown(action: () => void): () => void {
    if (this.isDown) action();
    this.#watchers.add(action);
    return () => this.#watchers.delete(action);
  }

  goDown(): void {
    this.isDown = true;
    for (const action of [...this.#watchers]) action();
  }

  get watchers(): number {
    return this.#watchers.size;
  }

  get upstream(): Upstream {
    return this as unknown as Upstream;
  }
}

const SESSION = { id: "S".repeat(24) as SessionId, epoch: 3 };
const FORWARDING = {} as never;
const text = (content: string): Buffer => frame(OPCODE.text, Buffer.from(content));
const ticketOf = (ticket: string): Buffer =>
  ticketFrame({ session: SESSION.id as SessionId, epoch: SESSION.epoch, ticket });
const TICKET = ticketOf("first.ticket");

function createTunnelsOfTest() {
  const clock = createSkipClock();
  const counters = createCounters();
  const asked: { request: ResumeRequest; outcome: ResumeOutcome; isCancelled: boolean }[] = [];
  const tunnels = createTunnels({
    clock,
    random: () => 0.5,
    migrateRequests: () => Promise.reject(new Error("not in this test")),
    sendResume(request, outcome) {
      const one = { request, outcome, isCancelled: false };
      asked.push(one);
      return () => {
        one.isCancelled = true;
      };
    },
    counters,
    log: silentLog(),
  });
  return {
    tunnels,
    counters,
    clock,
    asked,
    /** The `index`-th request to resume one. */
    request: (index: number) => until(`request ${index}`, () => asked[index]),
    /** A tunnel whose worker has sent `rest` behind the 101. */
    open(this: void, worker: Worker, rest: Buffer = TICKET) {
      const [client, side] = [new Side(), new Side()];
      const served: number[] = [];
      tunnels.open({
        detach: () => ({
          connection: client,
          early: Buffer.alloc(0),
          ended: false,
          onServed: (bytes) => served.push(bytes),
        }),
        head: "",
        rest,
        forwarding: FORWARDING,
        worker: side,
        upstream: worker.upstream,
        requestId: "request-1",
        session: SESSION,
        isResumable: true,
      });
      onTestFinished(() => client.destroy());
      return { client, side, served };
    },
  };
}

const lost = (side: Side): void => side.handler.onClose(new LinkLostError("the link is gone"));
const next = (worker: Worker) => ({
  side: new Side(),
  of(rest: Buffer = Buffer.alloc(0)) {
    const session = { ...SESSION, epoch: 4 };
    return [{ worker: this.side, upstream: worker.upstream, session }, rest] as const;
  },
});

describe("a worker that is lost", () => {
  test("another worker gets what the client has sent and the lost worker has not confirmed", async () => {
    const { open, request, counters, tunnels } = createTunnelsOfTest();
    const [first, second] = [new Worker("w1"), new Worker("w2")];
    const { client, side } = open(first);
    const [one, two, half] = [
      fromClient(OPCODE.text, 10),
      fromClient(OPCODE.binary, 20),
      fromClient(OPCODE.text, 30),
    ];
    client.handler.onData(Buffer.concat([one, two, half.subarray(0, 9)]));
    side.handler.onData(confirmFrame(1));
    lost(side);
    expect(tunnels.resuming).toBe(1);
    expect(first.inFlight).toBe(0);
    const { outcome, request: sent } = await request(0);
    expect(sent).toMatchObject({
      session: SESSION.id,
      ticket: "first.ticket",
      requestId: "request-1",
      cause: "crash",
      confirmed: 1,
      repeated: 1,
    });
    client.handler.onData(half.subarray(9));
    const replacement = next(second);
    outcome.resumed(...replacement.of(Buffer.concat([ticketOf("second"), text("hello")])));
    expect(replacement.side.written).toEqual(Buffer.concat([two, half]));
    expect(client.written).toEqual(text("hello"));
    expect(client.isEnded).toBe(false);
    expect([first.inFlight, second.inFlight, tunnels.resuming]).toEqual([0, 1, 0]);
    expect(counters.value("balancer.resume.done", "crash")).toBe(1);
    expect(counters.value("balancer.resume.messages")).toBe(1);
    client.destroy();
    expect(replacement.side.isEnded).toBe(true);
  });

  test.each<[why: string, reason: string, prepare: (ends: { client: Side; side: Side }) => void]>([
    [
      "too many unconfirmed bytes",
      "unconfirmed bytes",
      ({ client }) => client.handler.onData(fromClient(OPCODE.binary, MAX_KEPT_BYTES)),
    ],
    [
      "half a message at its client",
      "half a message",
      ({ side }) =>
        side.handler.onData(frame(OPCODE.binary, Buffer.alloc(100_000)).subarray(0, 1000)),
    ],
    [
      "a close frame of its worker",
      "no ticket",
      ({ side }) => side.handler.onData(frame(OPCODE.close, Buffer.alloc(0))),
    ],
  ])("a WebSocket with %s is closed, and counted", async (_why, reason, prepare) => {
    const { open, counters, tunnels, asked } = createTunnelsOfTest();
    const worker = new Worker("w1");
    const ends = open(worker);
    prepare(ends);
    lost(ends.side);
    await until("the client's side ends", () => ends.client.isEnded);
    expect(counters.value("balancer.resume.closed", reason)).toBe(1);
    expect(asked).toEqual([]);
    ends.client.destroy();
    expect([worker.inFlight, worker.watchers, tunnels.size, tunnels.resuming]).toEqual([
      0, 0, 0, 0,
    ]);
  });

  test("a client that goes while its WebSocket waits cancels that, and nothing is left of it", async () => {
    const { open, request, tunnels } = createTunnelsOfTest();
    const worker = new Worker("w1");
    const { client, side, served } = open(worker);
    lost(side);
    const asked = await request(0);
    client.destroy();
    expect(asked.isCancelled).toBe(true);
    expect([worker.inFlight, tunnels.size, tunnels.resuming]).toEqual([0, 0, 0]);
    expect(served).toHaveLength(1);
  });

  test("a WebSocket that no worker takes is closed in time", async () => {
    const { open, request, tunnels, counters, clock } = createTunnelsOfTest();
    const worker = new Worker("w1");
    const { client, side } = open(worker);
    lost(side);
    const asked = await request(0);
    clock.skip(20_000);
    expect(asked.isCancelled).toBe(true);
    expect(client.isEnded).toBe(true);
    expect(counters.value("balancer.resume.closed", "timeout")).toBe(1);
    client.destroy();
    expect([worker.inFlight, tunnels.size, tunnels.resuming]).toEqual([0, 0, 0]);
  });

  test("a worker that cannot tell yet whether it takes a WebSocket is asked again until that is closed, for its last reason", async () => {
    const { open, request, tunnels, counters, clock, asked } = createTunnelsOfTest();
    const { client, side } = open(new Worker("w1"));
    lost(side);
    (await request(0)).outcome.refused("no worker", false);
    expect([tunnels.resuming, client.isEnded]).toEqual([1, false]);
    clock.skip(250);
    (await request(1)).outcome.refused("undecided", false);
    expect(asked[1]?.request).toEqual(asked[0]?.request);
    clock.skip(20_000);
    expect(client.isEnded).toBe(true);
    expect(counters.value("balancer.resume.closed", "undecided")).toBe(1);
    clock.skip(250);
    expect(asked).toHaveLength(2);
  });

  test("a worker that is asked again goes on with the WebSocket", async () => {
    const { open, request, tunnels, counters, clock } = createTunnelsOfTest();
    const { client, side } = open(new Worker("w1"));
    lost(side);
    (await request(0)).outcome.refused("owner unknown", false);
    clock.skip(250);
    (await request(1)).outcome.resumed(...next(new Worker("w2")).of(text("hello")));
    expect(client.written).toEqual(text("hello"));
    expect(counters.value("balancer.resume.done", "crash")).toBe(1);
    clock.skip(20_000);
    expect([tunnels.resuming, client.isEnded]).toEqual([0, false]);
  });

  test("a worker's refusal for good closes the WebSocket at once", async () => {
    const { open, request, counters } = createTunnelsOfTest();
    const { client, side } = open(new Worker("w1"));
    lost(side);
    (await request(0)).outcome.refused("used ticket", true);
    expect(client.isEnded).toBe(true);
    expect(counters.value("balancer.resume.closed", "used ticket")).toBe(1);
  });

  test("a client that sends much while no worker reads it is paused, and resumed when one does", async () => {
    const { open, request } = createTunnelsOfTest();
    const { client, side } = open(new Worker("w1"));
    lost(side);
    const { outcome } = await request(0);
    const message = fromClient(OPCODE.binary, 1000);
    let sent = 0;
    for (; !client.isPaused; sent++) client.handler.onData(message);
    expect(sent * message.length).toBeLessThan(MAX_KEPT_BYTES);
    const replacement = next(new Worker("w2"));
    outcome.resumed(...replacement.of());
    expect(client.isPaused).toBe(false);
    expect(replacement.side.written).toHaveLength(sent * message.length);
  });

  test("a message that the client has already is dropped when it comes once more, and counted", async () => {
    const { open, request, counters } = createTunnelsOfTest();
    const { client, side } = open(new Worker("w1"));
    const mark = (isReplayed: boolean): Buffer => {
      const head = Buffer.alloc(DELIVERY_BYTES);
      writeDelivery(head, 0, { stream: 5, message: 1, isReplayed }, text("once").length);
      return Buffer.concat([head, text("once")]);
    };
    side.handler.onData(mark(false));
    lost(side);
    (await request(0)).outcome.resumed(...next(new Worker("w2")).of(mark(true)));
    expect(client.written).toEqual(text("once"));
    expect(counters.value("balancer.resume.repeats")).toBe(1);
  });

  test("many WebSockets are resumed a few at a time, and all of them are", async () => {
    const { open, tunnels, asked, clock } = createTunnelsOfTest();
    const worker = new Worker("w1");
    const replacement = new Worker("w2");
    for (let count = 0; count < 100; count++) open(worker);
    worker.goDown();
    clock.skip(20);
    expect(tunnels.resuming).toBe(100);
    await until("the first ones are asked for", () => asked.length > 0);
    expect(asked.length).toBeLessThan(100);
    await until("all are asked for", () => asked.length === 100);
    for (const { outcome } of asked) outcome.resumed(...next(replacement).of());
    expect([worker.inFlight, replacement.inFlight, tunnels.resuming]).toEqual([0, 100, 0]);
  });
});

describe("a worker that gives its session away", () => {
  test("nothing that a worker sends after it gave its session away reaches the client, whose WebSocket another worker resumes", async () => {
    const { open, request } = createTunnelsOfTest();
    const { client, side } = open(new Worker("w1"));
    side.handler.onData(Buffer.concat([text("before"), moveFrame(0), text("behind")]));
    const { outcome, request: sent } = await request(0);
    expect(sent.cause).toBe("move");
    expect(side.isReset).toBe(true);
    outcome.resumed(...next(new Worker("w2")).of(text("next")));
    expect(client.written).toEqual(Buffer.concat([text("before"), text("next")]));
  });

  test("a WebSocket whose worker moves it behind the 101 is resumed", async () => {
    const { open, request, tunnels } = createTunnelsOfTest();
    const { client } = open(new Worker("w1"), Buffer.concat([TICKET, moveFrame(0)]));
    expect((await request(0)).request.cause).toBe("move");
    expect(tunnels.resuming).toBe(1);
    expect(client.isEnded).toBe(false);
  });

  test("a WebSocket that the next worker moves at once is resumed once more, and each worker's load is right", async () => {
    const { open, request, tunnels } = createTunnelsOfTest();
    const [first, second, third] = [new Worker("w1"), new Worker("w2"), new Worker("w3")];
    const { client, side } = open(first);
    side.handler.onData(moveFrame(0));
    (await request(0)).outcome.resumed(
      ...next(second).of(Buffer.concat([ticketOf("second"), moveFrame(0)])),
    );
    const { outcome, request: sent } = await request(1);
    expect(sent.ticket).toBe("second");
    expect(second.inFlight).toBe(0);
    outcome.resumed(...next(third).of());
    expect([first.inFlight, second.inFlight, third.inFlight]).toEqual([0, 0, 1]);
    expect([first.watchers, second.watchers, third.watchers]).toEqual([0, 0, 1]);
    client.handler.onClose(undefined);
    expect(tunnels.resuming).toBe(0);
  });

  test("a WebSocket whose next worker is down already is resumed once more, and that worker's load is right", async () => {
    const { open, request } = createTunnelsOfTest();
    const [first, second, third] = [new Worker("w1"), new Worker("w2"), new Worker("w3")];
    const { side } = open(first);
    lost(side);
    const asked = await request(0);
    second.isDown = true;
    asked.outcome.resumed(...next(second).of(ticketOf("second")));
    (await request(1)).outcome.resumed(...next(third).of());
    expect([first.inFlight, second.inFlight, third.inFlight]).toEqual([0, 0, 1]);
    expect([first.watchers, second.watchers, third.watchers]).toEqual([0, 0, 1]);
  });
});

test("a session that is seen elsewhere in a higher epoch takes its WebSockets along", async () => {
  const { open, request, tunnels, clock } = createTunnelsOfTest();
  const [first, second] = [new Worker("w1"), new Worker("w2")];
  const { client, side } = open(first);
  tunnels.endMoved(SESSION.id, 3, second.upstream);
  clock.skip(20);
  expect(tunnels.resuming).toBe(0);
  tunnels.endMoved(SESSION.id, 4, second.upstream);
  expect(tunnels.resuming).toBe(0);
  side.handler.onData(text("was on its way"));
  clock.skip(20);
  expect(tunnels.resuming).toBe(1);
  expect(side.isReset).toBe(true);
  expect(client.written).toEqual(text("was on its way"));
  expect((await request(0)).request.cause).toBe("crash");
});

describe("a slow client whose worker goes", () => {
  function openSlow() {
    const edge = createTunnelsOfTest();
    const worker = new Worker("w1");
    const { client, side } = edge.open(worker);
    client.hasRoom = false;
    side.handler.onData(text("1"));
    expect(side.isPaused).toBe(true);
    worker.goDown();
    edge.clock.skip(100);
    expect(edge.tunnels.resuming).toBe(0);
    return { ...edge, client, side };
  }

  test("a slow client whose worker goes gets what its worker has sent, and then its WebSocket is resumed", async () => {
    const { client, side, clock, tunnels, request } = openSlow();
    client.hasRoom = true;
    client.handler.onDrain();
    expect(side.isPaused).toBe(false);
    side.handler.onData(text("2"));
    clock.skip(20);
    expect(tunnels.resuming).toBe(1);
    expect(client.written).toEqual(Buffer.concat([text("1"), text("2")]));
    expect((await request(0)).request.cause).toBe("crash");
  });

  test("a slow client whose worker goes is closed if it takes nothing, because what waits for it may be confirmed", () => {
    const { client, clock, tunnels, counters } = openSlow();
    for (let times = 0; times < 100; times++) clock.skip(20);
    expect(counters.value("balancer.resume.closed", "slow client")).toBe(1);
    expect([client.isEnded, tunnels.resuming]).toEqual([true, 0]);
    clock.skip(2000);
    expect(tunnels.size).toBe(0);
  });
});

test("a balancer that ends all tunnels ends those that wait for a worker too", async () => {
  const { open, request, tunnels, clock } = createTunnelsOfTest();
  const { client, side } = open(new Worker("w1"));
  lost(side);
  await request(0);
  tunnels.endAll();
  expect(client.isEnded).toBe(true);
  clock.skip(2000);
  expect([tunnels.size, tunnels.resuming]).toEqual([0, 0]);
});

import { expect, test } from "vitest";
import { WorkerOutput } from "../../../balancer/websocket/worker-output.ts";
import type { SessionId } from "../../../shared/base/ids.ts";
import {
  confirmFrame,
  DELIVERY_BYTES,
  type DeliveryMark,
  moveFrame,
  RESUME_FRAME,
  ticketFrame,
  writeDelivery,
} from "../../../shared/resume/frames.ts";
import { createRandom } from "../../model/random.ts";
import { pieces, workerFrame } from "./frames.ts";

const KIB = 1024;
const SESSION = "abcdefghijklmnopqrstuvwx" as SessionId;

function setUp() {
  const events: string[] = [];
  const output = new WorkerOutput({
    confirmed: (messages) => void events.push(`confirmed ${messages}`),
    ticketCame: ({ session, epoch, ticket }) =>
      void events.push(`ticket ${session} ${epoch} ${ticket}`),
    moved: (messages) => void events.push(`moved ${messages}`),
    repeated: () => void events.push("repeated"),
  });
  return {
    output,
    events,
    /** What the client gets of these bytes, which come in one read. */
    read: (...parts: Buffer[]): Buffer => Buffer.concat([...output.read(Buffer.concat(parts))]),
  };
}

/** A message as a worker sends it: the mark, a text frame and a binary one. */
function delivery(stream: number, message: number, content: Buffer, isReplayed = false): Buffer {
  return Buffer.concat([
    mark({ stream, message, isReplayed }, unit(content).length),
    unit(content),
  ]);
}

function unit(content: Buffer): Buffer {
  return Buffer.concat([workerFrame(1, Buffer.from("451-[]")), workerFrame(2, content)]);
}

function mark(of: DeliveryMark, bytes: number): Buffer {
  const frame = Buffer.alloc(DELIVERY_BYTES);
  writeDelivery(frame, 0, of, bytes);
  return frame;
}

const PING = workerFrame(1, Buffer.from("2"));
const small = (text: string): Buffer => Buffer.from(text);

test("a client gets messages and other frames, and nothing that is for the balancer", () => {
  const { read, events } = setUp();
  const ticket = ticketFrame({ session: SESSION, epoch: 7, ticket: "t.t" });
  expect(
    read(ticket, PING, delivery(1, 1, small("a")), confirmFrame(5), delivery(2, 1, small("b"))),
  ).toEqual(Buffer.concat([PING, unit(small("a")), unit(small("b"))]));
  expect(events).toEqual([`ticket ${SESSION} 7 t.t`, "confirmed 5"]);
});

test("a message that came in part is not passed on before its last byte", () => {
  const { read } = setUp();
  const bytes = delivery(1, 1, Buffer.alloc(500, "x"));
  for (let i = 0; i < bytes.length - 1; i++) expect(read(bytes.subarray(i, i + 1))).toHaveLength(0);
  expect(read(bytes.subarray(-1))).toEqual(unit(Buffer.alloc(500, "x")));
});

test("what has come of a message in part is dropped when another worker goes on", () => {
  const { read, output } = setUp();
  read(delivery(1, 1, small("lost")).subarray(0, 20));
  expect(output.isInMessage).toBe(false);
  output.restart();
  expect(read(delivery(1, 1, small("again")))).toEqual(unit(small("again")));
});

test("a message of more than 64 KiB is passed on as it comes, and the output says that it is in a message", () => {
  const { read, output } = setUp();
  const content = Buffer.alloc(100 * KIB, "y");
  const bytes = delivery(1, 1, content);
  const first = read(bytes.subarray(0, 1000));
  expect(first.length).toBe(1000 - DELIVERY_BYTES);
  expect(output.isInMessage).toBe(true);
  expect(Buffer.concat([first, read(bytes.subarray(1000))])).toEqual(unit(content));
  expect(output.isInMessage).toBe(false);
});

test("a message that the client has is dropped when it is delivered again, and the next one is not", () => {
  const { read, output, events } = setUp();
  read(delivery(1, 10, small("ten")), delivery(2, 3, small("three")));
  output.restart();
  expect(read(delivery(1, 9, small("nine"), true))).toHaveLength(0);
  expect(read(delivery(1, 10, small("ten"), true))).toHaveLength(0);
  expect(read(delivery(1, 11, small("eleven"), true))).toEqual(unit(small("eleven")));
  expect(read(delivery(3, 1, small("of another"), true))).toEqual(unit(small("of another")));
  expect(events).toEqual(["repeated", "repeated"]);
});

test("only a message that may have been delivered before is compared", () => {
  const { read } = setUp();
  read(delivery(1, 10, small("ten")));
  expect(read(delivery(1, 4, small("four")))).toEqual(unit(small("four")));
});

test("the numbers of messages wrap at 32 bits", () => {
  const { read } = setUp();
  read(delivery(1, 0xffff_ffff, small("last")));
  expect(read(delivery(1, 0, small("first"), true))).toEqual(unit(small("first")));
  expect(read(delivery(1, 0xffff_ffff, small("last"), true))).toHaveLength(0);
});

test("the worker's own messages are never repeats", () => {
  const { read } = setUp();
  const own = Buffer.concat([
    mark({ stream: 0, message: 0, isReplayed: false }, unit(small("joined")).length),
    unit(small("joined")),
  ]);
  expect(read(own, own)).toEqual(Buffer.concat([unit(small("joined")), unit(small("joined"))]));
});

test("nothing behind the request to move counts until another worker goes on", () => {
  const { read, events, output } = setUp();
  const close = workerFrame(8, Buffer.alloc(0));
  expect(read(PING, moveFrame(3), close, delivery(1, 1, small("late")))).toEqual(PING);
  expect(read(PING)).toHaveLength(0);
  expect([events, output.isClosed]).toEqual([["moved 3"], false]);
  output.restart();
  expect(read(PING)).toEqual(PING);
});

test("a worker's own close frame is passed on and remembered", () => {
  const { read, output } = setUp();
  const close = workerFrame(8, Buffer.from([3, 232]));
  expect(read(close)).toEqual(close);
  expect(output.isClosed).toBe(true);
});

test.each([
  ["no fields", Buffer.from("")],
  ["no ticket", Buffer.from(`${SESSION} 7`)],
  ["another session id", Buffer.from("short 7 t.t")],
  ["another epoch", Buffer.from(`${SESSION} x t.t`)],
  ["too many bytes", Buffer.from(`${SESSION} 7 ${"t".repeat(3000)}`)],
])("a ticket with %s is ignored, and what follows is read", (_, payload) => {
  const { read, events } = setUp();
  const header = Buffer.from([RESUME_FRAME.ticket, 126, payload.length >> 8, payload.length & 255]);
  expect(read(header, payload, PING)).toEqual(PING);
  expect(events).toEqual([]);
});

test("streams beyond 4,096 per client are forgotten, the oldest first", () => {
  const { read } = setUp();
  for (let stream = 1; stream <= 4097; stream++) read(delivery(stream, 1, small("x")));
  expect(read(delivery(4097, 1, small("x"), true))).toHaveLength(0);
  expect(read(delivery(1, 1, small("x"), true))).toEqual(unit(small("x")));
});

test("a client gets the same as of a simple reader, however the bytes are cut", () => {
  for (let seed = 1; seed <= 300; seed++) {
    const random = createRandom(seed);
    const { output, events } = setUp();
    const last = new Map<number, number>();
    const input: Buffer[] = [];
    const expected: Buffer[] = [];
    let confirmations = 0;
    for (let i = 0; i < 40; i++) {
      const kind = random.int(0, 5);
      if (kind === 0) {
        const frame = workerFrame(random.oneIn(2) ? 1 : 2, Buffer.alloc(random.int(0, 299), i));
        input.push(frame);
        expected.push(frame);
      } else if (kind === 1) {
        input.push(confirmFrame(i));
        confirmations++;
      } else {
        const stream = random.int(1, 3);
        const message = random.int(0, 29);
        const isRepeat = random.oneIn(2);
        const size = random.oneIn(20) ? 70 * KIB : random.int(0, 599);
        const content = Buffer.alloc(size, i);
        input.push(delivery(stream, message, content, isRepeat));
        const known = last.get(stream);
        if (isRepeat && known !== undefined && message <= known) continue;
        last.set(stream, message);
        expected.push(unit(content));
      }
    }
    const got: Buffer[] = [];
    for (const piece of pieces(Buffer.concat(input), random)) {
      // A read may be overwritten by the next one.
      const read = Buffer.from(piece);
      for (const part of output.read(read)) got.push(Buffer.from(part));
      read.fill("?");
    }
    const confirmed = events.filter((event) => event !== "repeated");
    expect([seed, confirmed.length]).toEqual([seed, confirmations]);
    expect(Buffer.concat(got).equals(Buffer.concat(expected))).toBe(true);
  }
});

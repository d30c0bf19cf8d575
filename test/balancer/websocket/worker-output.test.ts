/** What a client gets of what its worker sends, frames for the balancer taken out. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { WorkerOutput } from "../../../balancer/websocket/worker-output.ts";
import {
  confirmFrame,
  DELIVERY_BYTES,
  type DeliveryMark,
  isReached,
  MAX_KEPT_BYTES,
  MAX_TICKET_BYTES,
  MOVE_FRAME,
  RESUME_FRAME,
  ticketFrame,
  writeDelivery,
} from "../../../shared/resume/frames.ts";
import { cutAt, frame, OPCODE } from "./frames.ts";

/** An output, and what came of it. */
function createOutput() {
  const events: string[] = [];
  const dropped = { repeats: 0 };
  const output = new WorkerOutput({
    confirmed: (messages) => void events.push(`confirmed ${messages}`),
    ticketCame: (ticket) => void events.push(`ticket ${ticket}`),
    moved: () => void events.push("moved"),
    repeated: () => {
      dropped.repeats++;
    },
  });
  /** What the client gets when these come in one read. */
  const read = (...bytes: readonly Buffer[]): Buffer =>
    // Copied at once: the next read is into the same buffer.
    Buffer.concat(output.read(Buffer.concat(bytes)));
  return { output, events, dropped, read };
}

const text = (content: string): Buffer => frame(OPCODE.text, Buffer.from(content));
const NOTHING = Buffer.alloc(0);

/** A message for the client with its mark. */
function unit(mark: Partial<DeliveryMark>, bytes: Buffer): Buffer {
  const head = Buffer.alloc(DELIVERY_BYTES);
  writeDelivery(head, 0, { stream: 1, message: 1, isReplayed: false, ...mark }, bytes.length);
  return Buffer.concat([head, bytes]);
}

/** The same, sent again. */
const repeat = (mark: Partial<DeliveryMark>, bytes: Buffer): Buffer =>
  unit({ ...mark, isReplayed: true }, bytes);

describe("frames for the balancer", () => {
  test("frames for the balancer are taken out, wherever they stand", () => {
    const { read, events } = createOutput();
    const sent = read(
      ticketFrame("first.ticket"),
      text("one"),
      confirmFrame(7),
      unit({}, Buffer.concat([text("head"), frame(OPCODE.binary, Buffer.from("body"))])),
      confirmFrame(0xffff_ffff),
      text("two"),
      ticketFrame(""),
    );
    expect(sent).toEqual(
      Buffer.concat([
        text("one"),
        text("head"),
        frame(OPCODE.binary, Buffer.from("body")),
        text("two"),
      ]),
    );
    expect(events).toEqual([
      "ticket first.ticket",
      "confirmed 7",
      "confirmed 4294967295",
      "ticket undefined",
    ]);
  });

  test.each([
    ["a ticket of the greatest length", MAX_TICKET_BYTES, 1],
    ["a ticket beyond it", MAX_TICKET_BYTES + 1, 0],
    ["a ticket as long as its field allows", 65_535, 0],
  ])("%s does not disturb what follows", (_what, length, tickets) => {
    for (const size of [1, 100, 100_000]) {
      const { output, events } = createOutput();
      const all = Buffer.concat([ticketFrame("t".repeat(length)), text("next")]);
      const got: Buffer[] = [];
      for (let at = 0; at < all.length; at += size) {
        const parts = output.read(Buffer.from(all.subarray(at, at + size)));
        got.push(Buffer.concat(parts));
      }
      expect(Buffer.concat(got)).toEqual(text("next"));
      expect(events).toHaveLength(tickets);
    }
  });

  test("a confirmation of another length is ignored", () => {
    const { read, events } = createOutput();
    for (const bytes of [0, 3, 5]) {
      expect(read(frame(RESUME_FRAME.confirm & 15, Buffer.alloc(bytes)))).toEqual(NOTHING);
    }
    expect(events).toEqual([]);
    expect(read(text("next"))).toEqual(text("next"));
  });

  test("a frame of the worker that closes the WebSocket reaches the client, and is remembered", () => {
    const { output, read } = createOutput();
    expect(read(text("last"))).toEqual(text("last"));
    expect(output.isClosed).toBe(false);
    const close = frame(OPCODE.close, Buffer.from([0x03, 0xe8]));
    expect(read(close)).toEqual(close);
    expect(output.isClosed).toBe(true);
  });
});

describe("move", () => {
  test("nothing that comes behind the move frame reaches the client, in the same read or a later one", () => {
    const { read, events } = createOutput();
    expect(read(text("before"), MOVE_FRAME, text("behind"), confirmFrame(3))).toEqual(
      text("before"),
    );
    expect(read(text("later"), MOVE_FRAME, ticketFrame("late"))).toEqual(NOTHING);
    expect(events).toEqual(["moved"]);
  });

  test("the client gets what the next worker sends", () => {
    const { output, read, events } = createOutput();
    read(MOVE_FRAME, text("half").subarray(0, 3));
    output.restart();
    expect(read(confirmFrame(1), text("next"))).toEqual(text("next"));
    read(MOVE_FRAME);
    expect(events).toEqual(["moved", "confirmed 1", "moved"]);
  });

  test("a move frame in two reads is one", () => {
    const { read, events } = createOutput();
    expect(read(MOVE_FRAME.subarray(0, 1))).toEqual(NOTHING);
    expect(events).toEqual([]);
    expect(read(MOVE_FRAME.subarray(1), text("behind"))).toEqual(NOTHING);
    expect(events).toEqual(["moved"]);
  });
});

describe("whole messages", () => {
  test("a message is held back until it is whole, and dropped when another worker goes on before", () => {
    const { output, dropped, read } = createOutput();
    const bytes = Buffer.concat([text("head"), frame(OPCODE.binary, Buffer.alloc(1000))]);
    const half = unit({ message: 5 }, bytes).subarray(0, 500);
    expect(read(text("whole"), half)).toEqual(text("whole"));
    expect(output.isInMessage).toBe(false);
    output.restart();
    expect(read(repeat({ message: 5 }, bytes))).toEqual(bytes);
    expect(dropped.repeats).toBe(0);
  });

  test("a frame without a mark is held back until it is whole", () => {
    const { output, read } = createOutput();
    const ping = text("2");
    expect(read(ping.subarray(0, 2))).toEqual(NOTHING);
    output.restart();
    expect(read(ping)).toEqual(ping);
  });

  test("a message longer than what is kept is passed on as it comes, and no other worker can go on within it", () => {
    const { output, read } = createOutput();
    const bytes = frame(OPCODE.binary, Buffer.alloc(MAX_KEPT_BYTES, "l"));
    const all = unit({}, bytes);
    expect(read(all.subarray(0, 1000))).toEqual(bytes.subarray(0, 1000 - DELIVERY_BYTES));
    expect(output.isInMessage).toBe(true);
    expect(read(all.subarray(1000))).toEqual(bytes.subarray(1000 - DELIVERY_BYTES));
    expect(output.isInMessage).toBe(false);
  });

  test("another worker can go on before the first byte of a long message has been passed on", () => {
    const { output, read } = createOutput();
    const bytes = frame(OPCODE.binary, Buffer.alloc(MAX_KEPT_BYTES, "l"));
    expect(read(unit({}, bytes).subarray(0, DELIVERY_BYTES))).toEqual(NOTHING);
    expect(output.isInMessage).toBe(false);
    output.restart();
    expect(read(repeat({}, bytes))).toEqual(bytes);
  });

  test("a message of exactly as much as is kept is held back", () => {
    const { output, read } = createOutput();
    const bytes = frame(OPCODE.binary, Buffer.alloc(MAX_KEPT_BYTES - 4));
    expect(bytes).toHaveLength(MAX_KEPT_BYTES);
    expect(read(unit({}, bytes).subarray(0, -1))).toEqual(NOTHING);
    expect(output.isInMessage).toBe(false);
    expect(read(bytes.subarray(-1))).toEqual(bytes);
  });
});

describe("repeats", () => {
  test("a message that is sent again reaches the client only if it has not got it", () => {
    const { output, dropped, read } = createOutput();
    read(unit({ stream: 1, message: 4 }, text("four")), unit({ stream: 2, message: 9 }, text("n")));
    output.restart();
    expect(read(repeat({ stream: 1, message: 3 }, text("three")))).toEqual(NOTHING);
    expect(read(repeat({ stream: 1, message: 4 }, text("four")))).toEqual(NOTHING);
    expect(read(repeat({ stream: 1, message: 5 }, text("five")))).toEqual(text("five"));
    expect(read(repeat({ stream: 3, message: 1 }, text("other")))).toEqual(text("other"));
    expect(read(repeat({ stream: 1, message: 5 }, text("five")))).toEqual(NOTHING);
    expect(dropped.repeats).toBe(3);
  });

  test("numbers of messages wrap at 32 bits", () => {
    const { read } = createOutput();
    read(unit({ message: 0xffff_ffff }, text("last")));
    expect(read(repeat({ message: 0xffff_fffe }, text("before")))).toEqual(NOTHING);
    expect(read(repeat({ message: 0 }, text("next")))).toEqual(text("next"));
    expect(read(repeat({ message: 0xffff_ffff }, text("last")))).toEqual(NOTHING);
  });

  test("a message that was not whole when its worker died is not one that the client has", () => {
    const { output, read } = createOutput();
    read(unit({ message: 1 }, text("one")), unit({ message: 2 }, text("two")).subarray(0, -1));
    output.restart();
    expect(read(repeat({ message: 1 }, text("one")), repeat({ message: 2 }, text("two")))).toEqual(
      text("two"),
    );
  });

  test("what a worker sends of its own is never taken for a repeat", () => {
    const { read } = createOutput();
    for (let count = 0; count < 2; count++) {
      expect(read(repeat({ stream: 0, message: 0 }, text("joined")))).toEqual(text("joined"));
    }
  });

  test("an empty message is whole at once, and is remembered", () => {
    const { dropped, read } = createOutput();
    expect(read(unit({ message: 8 }, NOTHING), text("next"))).toEqual(text("next"));
    expect(read(repeat({ message: 8 }, NOTHING), text("then"))).toEqual(text("then"));
    expect(dropped.repeats).toBe(1);
  });

  test("the last message is remembered of many streams, and only the oldest ones are forgotten", () => {
    const { read } = createOutput();
    for (let stream = 1; stream <= 4097; stream++) read(unit({ stream }, text("m")));
    expect(read(repeat({ stream: 1 }, text("m")))).toEqual(text("m"));
    expect(read(repeat({ stream: 4097 }, text("m")))).toEqual(NOTHING);
    expect(read(repeat({ stream: 3 }, text("m")))).toEqual(NOTHING);
  });
});

// --- any output ---

interface Item {
  readonly bytes: Buffer;
  /** What is for the client of it. */
  readonly forClient: Buffer;
  readonly mark?: DeliveryMark;
  readonly event?: string;
}

/** Plain data, of which items are made when a case is played: a failed case is printed. */
type Plan =
  | { readonly of: "frame"; readonly opcode: number; readonly bytes: number }
  | ({ readonly of: "message"; readonly frames: readonly number[] } & DeliveryMark)
  | { readonly of: "confirm" | "ticket" | "empty confirm"; readonly value: number };

const anyBytes = fc.oneof(
  fc.nat(20),
  fc.constantFrom(0, 125, 126, 5000, MAX_KEPT_BYTES - 4, MAX_KEPT_BYTES, 100_000),
);
const anyPlan: fc.Arbitrary<Plan> = fc.oneof(
  fc.record({
    of: fc.constant("frame" as const),
    opcode: fc.constantFrom(OPCODE.text, OPCODE.binary, OPCODE.ping, OPCODE.pong),
    bytes: anyBytes,
  }),
  fc.record({
    of: fc.constant("message" as const),
    stream: fc.nat(2),
    // Around the place where 32 bits wrap.
    message: fc.integer({ min: -3, max: 3 }).map((number) => number >>> 0),
    isReplayed: fc.boolean(),
    frames: fc.array(anyBytes, { maxLength: 2 }),
  }),
  fc.record({
    of: fc.constantFrom("confirm" as const, "ticket" as const, "empty confirm" as const),
    value: fc.nat(300),
  }),
  fc.constant({ of: "ticket" as const, value: MAX_TICKET_BYTES + 1 }),
);

function filled(bytes: number): Buffer {
  return Buffer.alloc(bytes, `${bytes} bytes `);
}

function itemOf(plan: Plan): Item {
  switch (plan.of) {
    case "frame": {
      const bytes = frame(plan.opcode, filled(plan.bytes));
      return { bytes, forClient: bytes };
    }
    case "message": {
      const forClient = Buffer.concat(plan.frames.map((one) => frame(OPCODE.binary, filled(one))));
      return { bytes: unit(plan, forClient), forClient, mark: plan };
    }
    case "confirm": {
      const { value } = plan;
      return { bytes: confirmFrame(value), forClient: NOTHING, event: `confirmed ${value}` };
    }
    case "ticket": {
      const ticket = "t".repeat(plan.value);
      const isTooLong = ticket.length > MAX_TICKET_BYTES;
      const event = `ticket ${ticket === "" ? undefined : ticket}`;
      return { bytes: ticketFrame(ticket), forClient: NOTHING, ...(!isTooLong && { event }) };
    }
    case "empty confirm":
      return { bytes: frame(RESUME_FRAME.confirm & 15, NOTHING), forClient: NOTHING };
  }
}

/** The simplest way to say what a client gets: all items are there, one after the other. */
class Reference {
  readonly #delivered = new Map<number, number>();
  client = NOTHING;
  readonly events: string[] = [];

  /** The first `bytes` bytes of an item have come, and it is not whole. */
  begin({ bytes: all, forClient, mark }: Item, bytes: number): Buffer {
    const passesParts = forClient.length > MAX_KEPT_BYTES && !this.#has(mark);
    const before = all.length - forClient.length;
    // A frame whose header is not whole may be one for the balancer.
    const isBegun = mark !== undefined || bytes >= 10;
    return passesParts && isBegun ? forClient.subarray(0, Math.max(0, bytes - before)) : NOTHING;
  }

  finish({ forClient, mark, event }: Item): void {
    if (event !== undefined) this.events.push(event);
    if (this.#has(mark)) return;
    this.client = Buffer.concat([this.client, forClient]);
    if (mark !== undefined && mark.stream !== 0) this.#delivered.set(mark.stream, mark.message);
  }

  #has(mark: DeliveryMark | undefined): boolean {
    const last = mark?.isReplayed === true ? this.#delivered.get(mark.stream) : undefined;
    return last !== undefined && mark !== undefined && isReached(last, mark.message);
  }
}

test("of any output, cut anywhere, a client gets whole messages in order, none twice, and nothing for the balancer", () => {
  fc.assert(
    fc.property(
      fc.array(fc.array(anyPlan, { maxLength: 6 }), { minLength: 1, maxLength: 3 }),
      fc.array(fc.oneof(fc.nat(300), fc.nat(200_000)), { maxLength: 10 }),
      fc.nat(200_000),
      (workers, cuts, lastBytes) => {
        const { output, events } = createOutput();
        const reference = new Reference();
        let got = NOTHING;
        for (const plans of workers) {
          const items = plans.map(itemOf);
          const all = Buffer.concat(items.map(({ bytes }) => bytes));
          // Each worker may die anywhere.
          const sent = all.subarray(0, Math.min(all.length, lastBytes));
          let done = 0;
          let start = 0;
          let at = 0;
          for (const part of cutAt(sent, cuts)) {
            const read = Buffer.from(part);
            got = Buffer.concat([got, ...output.read(read)]);
            read.fill("?");
            at += part.length;
            for (; done < items.length; done++) {
              const item = items[done];
              if (item === undefined || start + item.bytes.length > at) break;
              reference.finish(item);
              start += item.bytes.length;
            }
            const current = items[done];
            const begun = current === undefined ? NOTHING : reference.begin(current, at - start);
            expect(got.equals(Buffer.concat([reference.client, begun]))).toBe(true);
            expect(events).toEqual(reference.events);
            expect(output.isInMessage).toBe(begun.length > 0);
          }
          if (output.isInMessage) return;
          output.restart();
        }
      },
    ),
    { numRuns: 300 },
  );
});

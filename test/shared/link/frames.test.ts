import { setImmediate as nextTurn } from "node:timers/promises";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  FRAME,
  FrameReader,
  type FrameReceiver,
  LinkFramingError,
  MAX_PAYLOAD_BYTES,
  MAX_STREAM_ID,
} from "../../../shared/link/frames.ts";
import { Link } from "../../../shared/link/link.ts";
import { newLinkCounts } from "../../../shared/link/link-counts.ts";
import { createRandom, type Random } from "../../fuzz/random.ts";
import {
  addData,
  control,
  credit,
  data,
  expectedReading,
  type FrameEvent,
  fin,
  frame,
  frameWith,
  open,
  type Reading,
  reset,
} from "./frame-bytes.ts";

/** Fixed, so that every run reads the same frames. */
const SEED = Number(process.env["FUZZ_SEED"] ?? 20_261_129);
/** `FUZZ_FRAMES=1200000 npx vitest run test/shared/link/frames.test.ts` reads more. */
const INPUTS = Number(process.env["FUZZ_FRAMES"] ?? 20_000);
const LIMIT_MS = 60_000 + INPUTS;

// --- the law ---

const streamIds = fc.oneof(
  fc.integer({ min: 1, max: 9 }),
  fc.constantFrom(MAX_STREAM_ID, MAX_STREAM_ID - 1, 0x10_0000),
);
const anyFrame = fc.oneof(
  fc
    .tuple(streamIds, fc.uint8Array({ minLength: 1, maxLength: 40 }))
    .map(([stream, bytes]) => data(stream, Buffer.from(bytes))),
  streamIds.map(open),
  streamIds.map(fin),
  fc.tuple(streamIds, fc.nat(255)).map(([stream, reason]) => reset(stream, reason)),
  fc
    .tuple(streamIds, fc.integer({ min: 0, max: 0xffff_ffff }))
    .map(([stream, bytes]) => credit(stream, bytes)),
  fc.nat(255).map(control),
);

test("frames are read the same however their bytes are cut", () => {
  fc.assert(
    fc.property(
      fc.array(anyFrame, { maxLength: 20 }),
      fc.infiniteStream(fc.integer({ min: 1, max: 60 })),
      (frames, sizes) => {
        const bytes = Buffer.concat(frames);
        const expected = expectedReading(bytes);
        expect(expected.isWrong).toBe(false);
        expect(expected.frames).toBe(frames.length);
        expect(read([bytes])).toEqual(expected);
        expect(read([...bytes].map((byte) => Buffer.of(byte)))).toEqual(expected);
        expect(read(cut(bytes, () => sizes.next().value ?? 1))).toEqual(expected);
      },
    ),
  );
});

test("a data frame of the greatest length is read, in as many parts as its bytes come", () => {
  const payload = Buffer.alloc(MAX_PAYLOAD_BYTES, "x");
  const bytes = Buffer.concat([data(7, payload), fin(7)]);
  const events = [`data 7 ${payload.toString("hex")}`, "fin 7"];
  expect(read([bytes]).events).toEqual(events);
  expect(read(cut(bytes, () => 1000)).events).toEqual(events);
});

// --- what is refused ---

describe.each<[what: string, bytes: Buffer]>([
  ["a data frame without data", frame(1, FRAME.data)],
  ["a data frame of one byte too many", frameWith({ length: MAX_PAYLOAD_BYTES + 1, word: 8 })],
  ["a data frame of 4 GiB", frameWith({ length: 0xffff_ffff, word: 8 })],
  ["an OPEN with a payload", frame(1, FRAME.open, Buffer.of(1))],
  ["a FIN with a payload", frame(1, FRAME.fin, Buffer.of(1))],
  ["a RESET without a reason", frame(1, FRAME.reset)],
  ["a RESET of two bytes", frame(1, FRAME.reset, Buffer.of(1, 1))],
  ["a CREDIT of three bytes", frame(1, FRAME.credit, Buffer.of(1, 1, 1))],
  ["a CREDIT of five bytes", frame(1, FRAME.credit, Buffer.of(1, 1, 1, 1, 1))],
  ["a CONTROL without a kind", frame(0, FRAME.control)],
  ["a CONTROL on a stream", frame(1, FRAME.control, Buffer.of(0))],
  ["data on stream 0", data(0, "x")],
  ["an OPEN of stream 0", open(0)],
  ["a FIN of stream 0", fin(0)],
  ["a RESET of stream 0", reset(0, 1)],
  ["a CREDIT for stream 0", credit(0, 1)],
  ["a frame of type 6", frame(1, 6)],
  ["a frame of type 7", frame(1, 7)],
])("%s", (_what, bytes) => {
  test("an invalid frame is a framing error, at the last byte of its header and behind what came before", () => {
    const before = data(3, "before");
    const events = [`data 3 ${Buffer.from("before").toString("hex")}`];
    const header = bytes.subarray(0, 8);
    expect(read([before, header])).toMatchObject({ events, isWrong: true });
    expect(read(cut(Buffer.concat([before, header]), () => 1))).toMatchObject({
      events,
      isWrong: true,
    });
    expect(read([before, header.subarray(0, 7)])).toMatchObject({ events, isWrong: false });
  });
});

// --- fuzz ---

test(
  "random and mutated frames are read or refused as by a simple reader, and a link survives them",
  async () => {
    let refused = 0;
    for (let index = 0; index < INPUTS; index++) {
      const random = createRandom(SEED, index);
      const bytes = anyInput(random);
      const expected = expectedReading(bytes);
      if (expected.isWrong) refused++;
      const parts = cut(bytes, () => 1 + random.below(random.pick([1, 9, 200, 20_000])));
      const found = read(parts);
      const fault = isSame(found, expected) ? faultOfLink(parts, expected.isWrong) : "read";
      // A call of expect for each input would take longer than reading it.
      if (fault !== undefined) {
        expect({ index, fault, bytes: bytes.toString("hex"), found }).toEqual({ expected });
      }
      // What a link writes leaves at the end of the turn.
      if (index % 100 === 0) await nextTurn();
    }
    // Enough of both to mean something.
    expect(refused / INPUTS).toBeGreaterThan(0.2);
    expect(refused / INPUTS).toBeLessThan(0.8);
  },
  LIMIT_MS,
);

/** Frames in a plausible order, some of which are changed, doubled, left out or cut. */
function anyInput(random: Random): Buffer {
  const frames = Array.from({ length: 1 + random.below(10) }, () => randomFrame(random));
  if (random.chance(0.7)) frames.unshift(open(1), open(2));
  if (random.chance(0.3)) frames.splice(random.below(frames.length), 1);
  const bytes = Buffer.concat(frames);
  if (random.chance(0.45)) mutate(bytes, random);
  return random.chance(0.2) ? bytes.subarray(0, random.below(bytes.length)) : bytes;
}

function randomFrame(random: Random): Buffer {
  const stream = 1 + random.below(4);
  switch (random.below(8)) {
    case 0:
      return open(stream);
    case 1:
      return fin(stream);
    case 2:
      return reset(stream, random.below(3));
    case 3:
      return credit(stream, random.pick([0, 1, 32_768, 65_536, 0xffff_ffff]));
    case 4:
      return control(random.below(2));
    case 5:
      return random.chance(0.05)
        ? data(stream, Buffer.alloc(1 + random.below(MAX_PAYLOAD_BYTES), stream))
        : data(stream, Buffer.alloc(1 + random.below(30), stream));
    default:
      return data(stream, Buffer.alloc(1 + random.below(60), stream));
  }
}

function mutate(bytes: Buffer, random: Random): void {
  for (let count = 1 + random.below(3); count > 0; count--) {
    const at = random.below(Math.min(bytes.length, 120));
    if (random.chance(0.5)) bytes[at] = random.below(256);
    else bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8));
  }
}

/** Gives the bytes to a link whose streams send back what they get, and half of which end. Undefined: it behaved. */
function faultOfLink(parts: readonly Buffer[], isWrong: boolean): string | undefined {
  const bugs: unknown[] = [];
  let opened = 0;
  let closed = 0;
  const link = new Link(
    { remoteAddress: "192.0.2.1", pendingBytes: 0, write() {}, end() {}, destroy() {} },
    {
      counts: newLinkCounts(),
      onStream(stream) {
        opened++;
        let hasEnded = false;
        stream.handler = {
          onData(bytes) {
            if (hasEnded) bugs.push("bytes behind the end");
            stream.write([bytes]);
          },
          onEnd() {
            if (hasEnded) bugs.push("two ends");
            hasEnded = true;
            if (stream.id % 2 === 0) stream.end();
          },
          onDrain() {},
          onClose() {},
        };
      },
      onClosed: () => closed++,
      reportBug: (error) => bugs.push(error),
    },
  );
  try {
    for (const part of parts) link.receive(part);
    if (isWrong && !link.isClosed) return "it is open after a framing error";
    if (link.size > opened) return "it has more streams than were opened";
    link.close();
    if (link.size > 0) return "it has streams after its end";
    if (closed !== 1) return `it was closed ${closed} times`;
  } catch (error) {
    return String(error);
  }
  return bugs.length === 0 ? undefined : bugs.join();
}

// --- reading ---

function read(parts: readonly Buffer[]): Reading {
  const events: FrameEvent[] = [];
  const receiver: FrameReceiver = {
    onData: (stream, bytes) => addData(events, stream, bytes),
    onOpen: (stream) => events.push(`open ${stream}`),
    onFin: (stream) => events.push(`fin ${stream}`),
    onReset: (stream, reason) => events.push(`reset ${stream} ${reason}`),
    onCredit: (stream, bytes) => events.push(`credit ${stream} ${bytes}`),
    onControl: (kind) => events.push(`control 0 ${kind}`),
  };
  const reader = new FrameReader(receiver);
  let isWrong = false;
  try {
    for (const part of parts) reader.push(part);
  } catch (error) {
    if (!(error instanceof LinkFramingError)) throw error;
    isWrong = true;
  }
  return { events, frames: reader.frames, isWrong };
}

function cut(bytes: Buffer, nextSize: () => number): Buffer[] {
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const size = nextSize();
    // A copy: a read buffer is used again.
    parts.push(Buffer.from(bytes.subarray(at, at + size)));
    at += size;
  }
  return parts;
}

function isSame(a: Reading, b: Reading): boolean {
  return (
    a.isWrong === b.isWrong &&
    a.frames === b.frames &&
    a.events.length === b.events.length &&
    a.events.every((event, index) => event === b.events[index])
  );
}

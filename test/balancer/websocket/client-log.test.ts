/** What is kept of a client's WebSocket until a worker has confirmed it. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ClientLog } from "../../../balancer/websocket/client-log.ts";
import { MAX_KEPT_BYTES } from "../../../shared/resume/frames.ts";
import { cutAt, fromClient, OPCODE } from "./frames.ts";

/** A message of one frame. */
const message = (bytes = 10): Buffer => fromClient(OPCODE.text, bytes);

/** A log of a client that has sent these. */
function logOf(frames: readonly Buffer[], confirmed = 0): ClientLog {
  const log = new ClientLog(confirmed);
  for (const bytes of frames) log.push(bytes);
  return log;
}

const kept = (log: ClientLog): Buffer => Buffer.concat(log.unconfirmed());

describe("confirmed messages", () => {
  test("a confirmed message is dropped, and everything behind it is kept", () => {
    const [first, second, third] = [message(), message(300), message(70)];
    const log = logOf([Buffer.concat([first, second]), third]);
    expect(log.messages).toBe(3);
    log.confirm(1);
    expect(kept(log)).toEqual(Buffer.concat([second, third]));
    expect(log).toMatchObject({ confirmed: 1, messages: 2, isComplete: true });
    log.confirm(3);
    expect(kept(log)).toEqual(Buffer.alloc(0));
    expect(log).toMatchObject({ confirmed: 3, messages: 0, bytes: 0, isComplete: true });
  });

  test("more than was sent, or less than is confirmed already, confirms nothing", () => {
    const frames = [message(), message()];
    const log = logOf(frames);
    log.confirm(1);
    for (const wrong of [3, 0, 1, 0xffff_ffff, 0x8000_0000]) log.confirm(wrong);
    expect(log).toMatchObject({ confirmed: 1, messages: 1 });
    expect(kept(log)).toEqual(frames[1]);
  });

  test("the count of messages wraps at 32 bits", () => {
    const frames = [message(1), message(2), message(3), message(4)];
    const log = logOf(frames, 0xffff_fffe);
    log.confirm(0xffff_ffff);
    expect(log).toMatchObject({ confirmed: 0xffff_ffff, messages: 3 });
    log.confirm(1);
    expect(log).toMatchObject({ confirmed: 1, messages: 1 });
    expect(kept(log)).toEqual(frames[3]);
    log.confirm(2);
    expect(log).toMatchObject({ confirmed: 2, messages: 0, bytes: 0 });
  });

  test("a ping between two messages is kept with the one behind it", () => {
    const [first, ping, second] = [message(), fromClient(OPCODE.ping, 4), message()];
    const log = logOf([first, ping, second]);
    expect(log.messages).toBe(2);
    log.confirm(1);
    expect(kept(log)).toEqual(Buffer.concat([ping, second]));
  });

  test("a message in fragments, with a ping between them, is one message", () => {
    const fragments = [
      fromClient(OPCODE.binary, 100, { isLast: false }),
      fromClient(OPCODE.ping, 0),
      fromClient(OPCODE.continuation, 0, { isLast: false }),
      fromClient(OPCODE.continuation, 30),
    ];
    const log = logOf(fragments.slice(0, 3));
    expect(log.messages).toBe(0);
    log.push(fragments[3] ?? Buffer.alloc(0));
    expect(log.messages).toBe(1);
    log.confirm(1);
    expect(log.bytes).toBe(0);
  });

  test.each([
    ["no bytes", 0, 0],
    ["no bytes and a long field", 0, 8],
    ["125 bytes", 125, 0],
    ["126 bytes", 126, 2],
    ["65,535 bytes", 65_535, 2],
    ["65,536 bytes", 65_536, 8],
  ] as const)("a message of %s ends where its length says", (_what, bytes, lengthBytes) => {
    const long = fromClient(OPCODE.binary, bytes, { lengthBytes });
    const next = message();
    for (const size of [1, 7, long.length + next.length]) {
      const log = new ClientLog();
      const all = Buffer.concat([long, next]);
      // Longer ones are kept only when nobody else has them.
      for (let at = 0; at < all.length; at += size) log.push(all.subarray(at, at + size), true);
      expect(log.messages).toBe(2);
      log.confirm(1);
      expect(kept(log)).toEqual(next);
    }
  });
});

describe("limits", () => {
  test("a client that has sent more than is kept becomes complete again when its worker confirms that", () => {
    const long = message(MAX_KEPT_BYTES);
    const next = message();
    const log = logOf([message(), long]);
    expect(log).toMatchObject({ messages: 2, bytes: 0, isComplete: false });
    log.push(next);
    log.confirm(1);
    expect(log.isComplete).toBe(false);
    log.confirm(2);
    expect(log).toMatchObject({ confirmed: 2, messages: 1, isComplete: true });
    expect(kept(log)).toEqual(next);
  });

  test("a message of which the beginning was not kept is incomplete until it is confirmed", () => {
    const long = message(3 * MAX_KEPT_BYTES);
    const log = new ClientLog();
    for (let at = 0; at < long.length; at += 16_384) log.push(long.subarray(at, at + 16_384));
    expect(log).toMatchObject({ messages: 1, isComplete: false });
    expect(log.bytes).toBeLessThanOrEqual(MAX_KEPT_BYTES);
    log.confirm(1);
    expect(log).toMatchObject({ bytes: 0, isComplete: true });
  });

  test("exactly as much as is kept is complete", () => {
    const headBytes = 14;
    const log = logOf([message(MAX_KEPT_BYTES - headBytes)]);
    expect(log).toMatchObject({ bytes: MAX_KEPT_BYTES - headBytes + 8, isComplete: true });
  });

  test("what comes while no worker has it is kept beyond the limit", () => {
    const frames = [message(MAX_KEPT_BYTES), message(MAX_KEPT_BYTES)];
    const log = new ClientLog();
    for (const bytes of frames) log.push(bytes, true);
    expect(log).toMatchObject({ messages: 2, isComplete: true });
    expect(kept(log)).toEqual(Buffer.concat(frames));
  });

  test.each([
    ["the highest length", Buffer.alloc(8, 0xff)],
    ["a length beyond what numbers hold", Buffer.from([0, 0x40, 0, 0, 0, 0, 0, 1])],
  ])("a frame that claims %s never ends, and little of it is kept", (_what, length) => {
    const log = new ClientLog();
    log.push(Buffer.concat([Buffer.from([0x82, 0xff]), length, Buffer.alloc(4)]));
    for (let count = 0; count < 100; count++) log.push(Buffer.alloc(16_384));
    expect(log).toMatchObject({ messages: 0, isComplete: false });
    expect(log.bytes).toBeLessThanOrEqual(MAX_KEPT_BYTES);
    log.confirm(1);
    expect(log).toMatchObject({ confirmed: 0, isComplete: false });
  });

  test("a worker that confirms none of 65,537 messages cannot be replaced any more", () => {
    const log = new ClientLog();
    const frames = Buffer.concat(Array.from({ length: 256 }, () => message(0)));
    for (let count = 0; count < 256; count++) log.push(frames);
    expect(log.messages).toBe(65_536);
    log.push(message(0));
    expect(log).toMatchObject({ messages: 0, bytes: 0, isComplete: false });
    log.confirm(65_537);
    log.push(message());
    expect(log).toMatchObject({ confirmed: 0, messages: 0, bytes: 0, isComplete: false });
  });

  test("a changed read buffer does not change what is kept", () => {
    const buffer = message();
    const sent = Buffer.from(buffer);
    const log = logOf([buffer]);
    buffer.fill("?");
    expect(kept(log)).toEqual(sent);
  });
});

// --- any frames ---

interface Sent {
  readonly bytes: Buffer;
  readonly isMessageEnd: boolean;
}

const anyFrame: fc.Arbitrary<Sent> = fc
  .record({
    opcode: fc.constantFrom(...Object.values(OPCODE)),
    bytes: fc.oneof(fc.nat(10), fc.constantFrom(125, 126, 127, 1000, 20_000)),
    isLast: fc.boolean(),
    lengthBytes: fc.constantFrom(0, 2, 8),
  })
  .map(({ opcode, bytes, isLast, lengthBytes }) => {
    const ends = opcode >= OPCODE.close || isLast;
    const asLong = lengthBytes === 0 && bytes > 125 ? 2 : (lengthBytes as 0 | 2 | 8);
    return {
      bytes: fromClient(opcode, bytes, { isLast: ends, lengthBytes: asLong }),
      isMessageEnd: ends && opcode < OPCODE.close,
    };
  });

/** Where messages end. */
function endsOf(frames: readonly Sent[]): number[] {
  const ends: number[] = [];
  let at = 0;
  for (const { bytes, isMessageEnd } of frames) {
    at += bytes.length;
    if (isMessageEnd) ends.push(at);
  }
  return ends;
}

test("of any frames, cut anywhere and confirmed at any time, exactly what is behind the last confirmed message is kept", () => {
  fc.assert(
    fc.property(
      fc.array(anyFrame, { maxLength: 12 }),
      fc.array(fc.nat(40_000), { maxLength: 12 }),
      fc.array(fc.nat(3), { maxLength: 24 }),
      fc.constantFrom(0, 0x7fff_ffff, 0xffff_fffc),
      (frames, cuts, confirms, before) => {
        const all = Buffer.concat(frames.map(({ bytes }) => bytes));
        const ends = endsOf(frames);
        const log = new ClientLog(before);
        let sent = 0;
        let confirmed = 0;
        for (const [index, part] of cutAt(all, cuts).entries()) {
          log.push(part, true);
          sent += part.length;
          const whole = ends.filter((end) => end <= sent).length;
          expect(log.messages).toBe(whole - confirmed);
          confirmed = Math.min(whole, confirmed + (confirms[index] ?? 0));
          log.confirm((before + confirmed) >>> 0);
          expect(log.confirmed).toBe((before + confirmed) >>> 0);
          expect(log.messages).toBe(whole - confirmed);
          expect(log.isComplete).toBe(true);
          const start = confirmed === 0 ? 0 : (ends[confirmed - 1] ?? 0);
          expect(kept(log).equals(all.subarray(start, sent))).toBe(true);
          expect(log.bytes).toBe(sent - start);
        }
      },
    ),
    { numRuns: 300 },
  );
});

test("a log that says it is complete has everything behind the last confirmed message, and little more than it may keep", () => {
  fc.assert(
    fc.property(
      fc.array(anyFrame, { maxLength: 20 }),
      fc.array(fc.nat(100_000), { maxLength: 20 }),
      fc.array(fc.nat(3), { maxLength: 24 }),
      (frames, cuts, confirms) => {
        const all = Buffer.concat(frames.map(({ bytes }) => bytes));
        const ends = endsOf(frames);
        const log = new ClientLog();
        let sent = 0;
        for (const [index, part] of cutAt(all, cuts).entries()) {
          log.push(part);
          sent += part.length;
          expect(log.bytes).toBeLessThanOrEqual(MAX_KEPT_BYTES);
          const whole = ends.filter((end) => end <= sent).length;
          log.confirm(Math.min(whole, log.confirmed + (confirms[index] ?? 0)));
          if (!log.isComplete) continue;
          const start = log.confirmed === 0 ? 0 : (ends[log.confirmed - 1] ?? 0);
          expect(kept(log).equals(all.subarray(start, sent))).toBe(true);
        }
      },
    ),
    { numRuns: 300 },
  );
});

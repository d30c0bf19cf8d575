import { expect, test } from "vitest";
import { ClientLog } from "../../../balancer/websocket/client-log.ts";
import { createRandom, type Random } from "../../model/random.ts";
import { clientFrame, pieces } from "./frames.ts";

const TEXT = 1;
const BINARY = 2;
const CONTINUATION = 0;
const PING = 9;
const KIB = 1024;

function bytesOf(log: ClientLog): Buffer {
  return Buffer.concat([...log.unconfirmed()]);
}

function message(text: string): Buffer {
  return clientFrame(TEXT, Buffer.from(text));
}

test("a log keeps what a client has sent until a worker has confirmed it", () => {
  const log = new ClientLog();
  log.push(Buffer.concat([message("one"), message("two"), message("three")]));
  expect([log.messages, log.confirmed]).toEqual([3, 0]);
  log.confirm(2);
  expect([log.messages, log.confirmed]).toEqual([1, 2]);
  expect(bytesOf(log)).toEqual(message("three"));
  log.confirm(3);
  expect(bytesOf(log)).toHaveLength(0);
  expect(log.isComplete).toBe(true);
});

test("the log of a client copies the bytes, because the buffer of a read is used again", () => {
  const log = new ClientLog();
  const read = message("kept");
  log.push(read);
  read.fill("?");
  expect(bytesOf(log)).toEqual(message("kept"));
});

test("confirmations that are old, or of more messages than were sent, change nothing", () => {
  const log = new ClientLog();
  log.push(Buffer.concat([message("one"), message("two")]));
  log.confirm(1);
  for (const count of [0, 1, 3, 0xffff_ffff]) log.confirm(count);
  expect([log.messages, log.confirmed]).toEqual([1, 1]);
});

test("the log's count of messages wraps at 32 bits", () => {
  const log = new ClientLog(0xffff_fffe);
  for (const text of ["a", "b", "c", "d"]) log.push(message(text));
  log.confirm(0);
  expect([log.messages, log.confirmed]).toEqual([2, 0]);
  log.confirm(1);
  expect(bytesOf(log)).toEqual(message("d"));
});

test("parts of a message and frames of control are no messages of their own", () => {
  const log = new ClientLog();
  log.push(clientFrame(BINARY, Buffer.from("first "), false));
  log.push(clientFrame(PING, Buffer.from("!")));
  log.push(clientFrame(CONTINUATION, Buffer.from("second "), false));
  expect(log.messages).toBe(0);
  log.push(clientFrame(CONTINUATION, Buffer.from("last")));
  expect(log.messages).toBe(1);
  log.push(clientFrame(PING, Buffer.alloc(0)));
  expect(log.messages).toBe(1);
});

test("a client that has sent more than is kept can be resumed again once that is confirmed", () => {
  const log = new ClientLog();
  log.push(message("small"));
  const large = clientFrame(BINARY, Buffer.alloc(70 * KIB));
  for (let at = 0; at < large.length; at += 16 * KIB) log.push(large.subarray(at, at + 16 * KIB));
  expect(log.isComplete).toBe(false);
  expect(log.bytes).toBeLessThanOrEqual(64 * KIB);
  log.confirm(1);
  expect(log.isComplete).toBe(false);
  log.confirm(2);
  expect(log.isComplete).toBe(true);
  log.push(message("next"));
  expect(bytesOf(log)).toEqual(message("next"));
});

test("the log of a client keeps what nobody else has beyond the limit", () => {
  const log = new ClientLog();
  const large = clientFrame(BINARY, Buffer.alloc(70 * KIB));
  log.push(large, true);
  expect(log.isComplete).toBe(true);
  expect(bytesOf(log)).toEqual(large);
});

test("a worker that confirms nothing costs no more memory after 65,536 messages", () => {
  const log = new ClientLog();
  const many = Buffer.concat(Array.from({ length: 256 }, () => clientFrame(TEXT, Buffer.alloc(0))));
  for (let i = 0; i < 300; i++) log.push(many);
  expect([log.isComplete, log.messages, log.bytes]).toEqual([false, 0, 0]);
  log.confirm(10);
  expect(log.isComplete).toBe(false);
});

test("a length that no message has makes nothing but an endless message", () => {
  const log = new ClientLog();
  const huge = Buffer.concat([Buffer.from([0x82, 0xff]), Buffer.alloc(8, 0xff), Buffer.alloc(4)]);
  log.push(huge);
  for (let i = 0; i < 10; i++) log.push(Buffer.alloc(16 * KIB, i));
  expect([log.messages, log.isComplete]).toEqual([0, false]);
});

test("the log of a client finds the ends of messages however their bytes are cut", () => {
  for (let seed = 1; seed <= 300; seed++) {
    const random = createRandom(seed);
    const log = new ClientLog();
    /** Unconfirmed messages, each with the frames of control before it. */
    const sent: Buffer[] = [];
    let rest = Buffer.alloc(0);
    let confirmed = 0;
    for (let step = 0; step < 40; step++) {
      if (random.oneIn(3) && sent.length > 0) {
        const count = random.int(1, sent.length);
        confirmed += count;
        log.confirm(confirmed);
        sent.splice(0, count);
      } else {
        const frames = randomFrames(random);
        const bytes = Buffer.concat(frames.bytes);
        for (const piece of pieces(bytes, random)) log.push(piece);
        if (frames.isMessage) sent.push(Buffer.concat([rest, bytes]));
        rest = frames.isMessage ? Buffer.alloc(0) : Buffer.concat([rest, bytes]);
      }
      expect([seed, log.messages, log.confirmed]).toEqual([seed, sent.length, confirmed]);
      expect(bytesOf(log).equals(Buffer.concat([...sent, rest]))).toBe(true);
    }
  }
});

function randomFrames(random: Random): { bytes: Buffer[]; isMessage: boolean } {
  const size = random.oneIn(8) ? 126 + random.int(0, 399) : random.int(0, 129);
  const payload = Buffer.alloc(size, random.int(0, 255));
  if (random.oneIn(5)) return { bytes: [clientFrame(PING, payload)], isMessage: false };
  const parts = random.int(0, 2);
  const bytes = [clientFrame(BINARY, payload, parts === 0)];
  for (let i = 1; i <= parts; i++) {
    if (random.oneIn(3)) bytes.push(clientFrame(PING, Buffer.from("?")));
    bytes.push(clientFrame(CONTINUATION, payload, i === parts));
  }
  return { bytes, isMessage: true };
}

/**
 * Who may read into a buffer while others still write from it. The same over real sockets: test/robustness.
 */
import { expect, onTestFinished, test } from "vitest";
import { bufferUse, retain, SocketReads } from "../../../balancer/transport/read-buffers.ts";

const SHARED_BYTES = 65_536;

function openReads(): SocketReads {
  const reads = new SocketReads();
  onTestFinished(() => reads.close());
  return reads;
}

/** A socket whose last read filled the shared buffer. */
function readsOfLargeBody(): SocketReads {
  const reads = openReads();
  reads.begin(SHARED_BYTES);
  reads.end(SHARED_BYTES, false);
  return reads;
}

test("small reads of all sockets go into one buffer, and what a write keeps of it is a copy", () => {
  const [one, other] = [openReads(), openReads()];
  expect(one.buffer).toBe(other.buffer);
  const bytes = one.begin(3);
  bytes.write("abc");
  const { chunk, release } = retain(bytes);
  one.end(3, false);
  other.begin(3).write("xyz");
  other.end(3, false);
  expect(chunk.toString()).toBe("abc");
  expect(release).toBeUndefined();
});

test("a buffer that a write holds is not read into until the write is over", () => {
  const reads = readsOfLargeBody();
  const before = bufferUse().held;
  const bytes = reads.begin(50_000);
  const { chunk, release } = retain(bytes.subarray(10));
  reads.end(50_000, false);
  expect(chunk.buffer).toBe(bytes.buffer);
  expect(reads.buffer.buffer).not.toBe(bytes.buffer);
  expect(bufferUse().held).toBe(before + 1);

  const other = readsOfLargeBody();
  expect(other.buffer.buffer).not.toBe(bytes.buffer);
  release?.();
  expect(readsOfLargeBody().buffer.buffer).toBe(bytes.buffer);
});

test("a buffer that two writes hold comes back with the later one", () => {
  const reads = readsOfLargeBody();
  const bytes = reads.begin(100_000);
  const first = retain(bytes.subarray(0, 50_000));
  const second = retain(bytes.subarray(50_000));
  reads.end(100_000, false);
  first.release?.();
  expect(readsOfLargeBody().buffer.buffer).not.toBe(bytes.buffer);
  second.release?.();
  expect(readsOfLargeBody().buffer.buffer).toBe(bytes.buffer);
});

test("a socket reads on into its buffer when its writes were over at once", () => {
  const reads = readsOfLargeBody();
  const bytes = reads.begin(100_000);
  retain(bytes).release?.();
  reads.end(100_000, false);
  expect(reads.buffer.buffer).toBe(bytes.buffer);
});

test("a small part of a large read is copied: it would hold the whole buffer", () => {
  const reads = readsOfLargeBody();
  const bytes = reads.begin(100_000);
  bytes.write("abc");
  const { chunk, release } = retain(bytes.subarray(0, 3));
  reads.end(100_000, false);
  reads.begin(3).write("xyz");
  reads.end(3, false);
  expect(chunk.toString()).toBe("abc");
  expect(release).toBeUndefined();
});

test("a socket whose reads become small, or that closes, gives its buffer back", () => {
  const before = bufferUse().held;
  const [one, other] = [readsOfLargeBody(), readsOfLargeBody()];
  expect(bufferUse().held).toBe(before + 2);
  one.begin(100);
  one.end(100, false);
  other.close();
  expect(bufferUse().held).toBe(before);
  expect(one.buffer.length).toBe(SHARED_BYTES);
});

test("a paused socket holds no buffer for its next read", () => {
  const reads = readsOfLargeBody();
  const before = bufferUse().held;
  const { release } = retain(reads.begin(100_000));
  reads.end(100_000, true);
  expect(bufferUse().held).toBe(before);
  expect(reads.buffer.length).toBe(SHARED_BYTES);
  release?.();
  expect(bufferUse().held).toBe(before - 1);
});

test("bytes that are written after their read was delivered do not hold a buffer", () => {
  const reads = readsOfLargeBody();
  const bytes = reads.begin(50_000);
  reads.end(50_000, false);
  expect(retain(Buffer.from(bytes)).release).toBeUndefined();
});

test("when hundreds of writes hold buffers further reads are copied, and unused buffers are few", () => {
  const held = Array.from({ length: 400 }, () => {
    const reads = readsOfLargeBody();
    const { release } = retain(reads.begin(50_000));
    reads.end(50_000, false);
    return { reads, release };
  });
  expect(bufferUse().held).toBeLessThanOrEqual(256);
  expect(readsOfLargeBody().buffer.length).toBe(SHARED_BYTES);
  for (const { reads, release } of held) {
    reads.close();
    release?.();
  }
  expect(bufferUse().free).toBeLessThanOrEqual(32);
});

/** The bytes of waiting lines, in batches. */
import { expect, test } from "vitest";
import { LineQueue } from "../../../shared/logs/line-queue.ts";

function queueOf(...lines: readonly string[]): LineQueue {
  const queue = new LineQueue();
  for (const line of lines) queue.push(line);
  return queue;
}

function taken(queue: LineQueue, maxBytes = Number.POSITIVE_INFINITY): string {
  return queue.takeBatch(maxBytes).bytes.toString();
}

test("a batch has as many whole lines as fit, and at least one", () => {
  const queue = queueOf("one\n", "two\nand more\n", "three\n");
  expect(queue).toMatchObject({ lines: 3, bytes: 23, firstBytes: 4 });
  expect(taken(queue, 17)).toBe("one\ntwo\nand more\n");
  expect(queue).toMatchObject({ lines: 1, bytes: 6, firstBytes: 6 });
  expect(taken(queue, 1)).toBe("three\n");
  expect(queue).toMatchObject({ lines: 0, bytes: 0, firstBytes: 0 });
  expect(taken(queue)).toBe("");
});

test("a batch after a torn line begins with a line feed, which counts", () => {
  const queue = queueOf("one\n", "two\n");
  queue.isTorn = true;
  expect(taken(queue, 8)).toBe("\none\n");
  expect(taken(queue)).toBe("two\n");
});

test("sizes are those of UTF-8, and lone surrogates do no harm", () => {
  const queue = queueOf("é€😀\n", "\ud800\n");
  expect(queue.firstBytes).toBe(10);
  expect(taken(queue, 10)).toBe("é€😀\n");
  expect(taken(queue)).toBe("\ufffd\n");
});

test("lines that are pushed while a batch is written do not change its bytes", () => {
  const queue = queueOf("a".repeat(50_000));
  for (let round = 0; round < 5; round++) {
    const letter = "bcdef"[round] ?? "";
    const { bytes } = queue.takeBatch(Number.POSITIVE_INFINITY);
    const before = bytes.toString();
    for (let i = 0; i < 1000; i++) queue.push(letter.repeat(round * 100 + 1));
    expect(bytes.toString()).toBe(before);
  }
});

test("all lines come out in order, whatever the sizes of lines and batches", () => {
  const queue = new LineQueue();
  let [given, got] = ["", ""];
  for (let i = 0; i < 3000; i++) {
    const line = `${i} ${"x".repeat((i * 7919) % 257)}\n`;
    given += line;
    queue.push(line);
    if (i % 5 === 0) got += taken(queue, (i * 31) % 700);
  }
  while (queue.lines > 0) got += taken(queue, 500);
  expect(got).toBe(given);
});

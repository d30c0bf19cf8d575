/** Reading a log while it is written and rotated, and reading hostile or broken files. */
import { appendFileSync, renameSync, truncateSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, expect, test } from "vitest";
import { LineFile } from "../../../shared/logs/line-file.ts";
import { type LogPosition, readLogEnd, readLogFrom } from "../../../shared/logs/log-tail.ts";
import { createStepClock } from "../../support/step-clock.ts";
import { tempFolder } from "../../support/temp-folder.ts";

const KIB = 1024;
const MIB = 1024 * KIB;
let folder: string;
let path: string;

beforeEach(() => {
  folder = tempFolder();
  path = join(folder, "server.log");
});
async function startAt(): Promise<LogPosition> {
  const end = await readLogEnd(path, MIB);
  if (end === undefined) throw new Error("there is no log");
  return end.next;
}

test("the end of a log includes the previous file and leaves out an incomplete line", async () => {
  writeFileSync(`${path}.1`, "one\ntwo\n");
  writeFileSync(path, "three\nhal");
  const end = await readLogEnd(path, MIB);
  expect(end?.lines).toEqual(["one", "two", "three"]);
  expect(end?.skipped).toBe(0);
  appendFileSync(path, "f\nfour\n");
  const more = await readLogFrom(path, end?.next as LogPosition, MIB);
  expect(more?.lines).toEqual(["half", "four"]);
  expect(await readLogFrom(path, more?.next as LogPosition, MIB)).toBeUndefined();
});

test("a missing log and an empty one are told apart", async () => {
  expect(await readLogEnd(path, MIB)).toBeUndefined();
  writeFileSync(path, "");
  expect((await readLogEnd(path, MIB))?.lines).toEqual([]);
});

test("a reader of a log that is rotated repeatedly misses no line and sees none twice", async () => {
  const file = new LineFile({ clock: createStepClock() });
  file.open(path, { maxBytes: 64 * KIB, maxFiles: 5 });
  let position = await startAt();
  const seen: string[] = [];
  const written: string[] = [];
  for (let round = 0; round < 30; round++) {
    // One round fills up to two files.
    for (let i = 0; i < 7 * round; i++) {
      const line = `${written.length} ${"x".repeat(600)}`;
      written.push(line);
      file.write(`${line}\n`);
    }
    await file.flush();
    const piece = await readLogFrom(path, position, MIB);
    if (piece === undefined) continue;
    position = piece.next;
    seen.push(...piece.lines);
    expect(piece.skipped).toBe(0);
  }
  file.close();
  expect(seen).toEqual(written);
});

test("beyond the limit the newest lines are read, and the others are counted", async () => {
  writeFileSync(path, "first\n");
  const position = await startAt();
  appendFileSync(path, Array.from({ length: 1000 }, (_, i) => `line ${i}\n`).join(""));
  renameSync(path, `${path}.1`);
  writeFileSync(path, Array.from({ length: 1000 }, (_, i) => `new ${i}\n`).join(""));
  const piece = await readLogFrom(path, position, KIB);
  expect(piece?.lines.at(-1)).toBe("new 999");
  expect((piece?.lines.length ?? 0) + (piece?.skipped ?? 0)).toBe(2000);
  expect(piece?.lines.join("\n").length).toBeLessThanOrEqual(KIB);
});

test("a file that was truncated, or that replaced a missing one, is read from its start", async () => {
  writeFileSync(path, "a long first line\n");
  let position = await startAt();
  truncateSync(path);
  appendFileSync(path, "again\n");
  let piece = await readLogFrom(path, position, MIB);
  expect(piece?.lines).toEqual(["again"]);
  position = piece?.next as LogPosition;
  renameSync(path, join(folder, "elsewhere"));
  expect(await readLogFrom(path, position, MIB)).toBeUndefined();
  writeFileSync(path, "another\n");
  piece = await readLogFrom(path, position, MIB);
  expect(piece?.lines).toEqual(["another"]);
  unlinkSync(path);
  expect(await readLogFrom(path, piece?.next as LogPosition, MIB)).toBeUndefined();
});

test("a file that was truncated and has grown beyond the old position is read from its start", async () => {
  writeFileSync(path, "2030-01-01 the first line\n2030-01-01 the second line\n");
  let position = await startAt();
  for (let round = 0; round < 4; round++) {
    // Log lines are similar: they start with the same date and end with the same field.
    const lines = Array.from(
      { length: 3 + round },
      (_, i) => `2030-01-01 round ${round} line ${i}`,
    );
    truncateSync(path);
    appendFileSync(path, lines.map((line) => `${line}\n`).join(""));
    const piece = await readLogFrom(path, position, MIB);
    expect(piece?.lines).toEqual(lines);
    position = piece?.next as LogPosition;
    appendFileSync(path, `2030-01-01 round ${round} and more\n`);
    const more = await readLogFrom(path, position, MIB);
    expect(more?.lines).toEqual([`2030-01-01 round ${round} and more`]);
    position = more?.next as LogPosition;
  }
});

test("a reader of a log that is copied and truncated while it is written misses none of its new lines", async () => {
  const file = new LineFile({ clock: createStepClock() });
  file.open(path, { maxBytes: 64 * KIB, maxFiles: 5 });
  let position = await startAt();
  for (let round = 0; round < 30; round++) {
    const lines = Array.from({ length: 1 + ((round * 7) % 40) }, (_, i) => `${round} ${i}`);
    truncateSync(path);
    for (const line of lines) file.write(`${line}\n`);
    await file.flush();
    const piece = await readLogFrom(path, position, MIB);
    expect(piece?.lines).toEqual(lines);
    position = piece?.next as LogPosition;
  }
  file.close();
});

test("a line longer than the limit is skipped, and the lines after it are read", async () => {
  writeFileSync(path, "first\n");
  let position = await startAt();
  const seen: string[] = [];
  let skipped = 0;
  const pieces = "a b c d e f g h".split(" ").map((letter) => letter.repeat(300 * KIB));
  for (const text of [...pieces, " its end\nnext\n"]) {
    appendFileSync(path, text);
    const piece = await readLogFrom(path, position, MIB);
    if (piece === undefined) continue;
    position = piece.next;
    skipped += piece.skipped;
    seen.push(...piece.lines);
  }
  expect(seen).toEqual(["next"]);
  expect(skipped).toBe(1);
});

test("bytes that are not UTF-8 become replacement characters", async () => {
  writeFileSync(path, Buffer.from([0xff, 0xfe, 0x00, 0x80, 0x0a, 0xc3, 0x0a]));
  expect((await readLogEnd(path, MIB))?.lines).toEqual(["��\0�", "�"]);
});

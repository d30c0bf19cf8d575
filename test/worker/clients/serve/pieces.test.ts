/** Pieces of files that downloads share. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { createPieces } from "../../../../worker/clients/serve/pieces.ts";

async function openFile(text: string): Promise<{ handle: FileHandle; key: string }> {
  const folder = mkdtempSync(join(tmpdir(), "ct-pieces-"));
  const path = join(folder, "file");
  writeFileSync(path, text);
  const handle = await open(path, "r");
  onTestFinished(async () => {
    await handle.close();
    rmSync(folder, { recursive: true });
  });
  return { handle, key: path };
}

test("a file in pieces, the last one shorter, none behind it", async () => {
  const file = await openFile("abcdefghij");
  const pieces = createPieces({ size: 4, maxPieces: 2 });
  const texts = [];
  for (const index of [0, 1, 2, 3, 0, 2]) {
    const piece = await pieces.hold(file, index);
    texts.push(piece.bytes.toString());
    piece.release();
  }
  expect(texts).toEqual(["abcd", "efgh", "ij", "", "abcd", "ij"]);
});

test("what somebody still sends is not written over, however much is read meanwhile", async () => {
  const file = await openFile(Array.from({ length: 100 }, (_, i) => String(1000 + i)).join(""));
  const pieces = createPieces({ size: 4, maxPieces: 2 });
  const slow = await Promise.all([0, 1, 2, 3, 4, 0].map((index) => pieces.hold(file, index)));
  for (let index = 5; index < 100; index++) {
    const piece = await pieces.hold(file, index);
    expect(piece.bytes.toString()).toBe(String(1000 + index));
    piece.release();
  }
  expect(slow.map(({ bytes }) => bytes.toString())).toEqual([
    "1000",
    "1001",
    "1002",
    "1003",
    "1004",
    "1000",
  ]);
  for (const piece of slow) piece.release();
  for (const index of [99, 0, 50]) {
    const piece = await pieces.hold(file, index);
    expect(piece.bytes.toString()).toBe(String(1000 + index));
    piece.release();
  }
});

test("a piece that could not be read is asked for again", async () => {
  const closed = await openFile("abcd");
  const { handle, key } = await openFile("abcd");
  await closed.handle.close();
  const pieces = createPieces({ size: 4 });
  await expect(pieces.hold({ handle: closed.handle, key }, 0)).rejects.toThrow();
  expect((await pieces.hold({ handle, key }, 0)).bytes.toString()).toBe("abcd");
});

/** The chunks that downloads of the same file share. */
import { rmSync, writeFileSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { createChunkCache } from "../../../../worker/clients/serve/chunk-cache.ts";
import { tempFolder } from "../../../support/temp-folder.ts";

async function openFile(text: string): Promise<{ handle: FileHandle; key: string }> {
  const folder = tempFolder();
  const path = join(folder, "file");
  writeFileSync(path, text);
  const handle = await open(path, "r");
  onTestFinished(async () => {
    await handle.close();
    rmSync(folder, { recursive: true });
  });
  return { handle, key: path };
}

test("a file is read in chunks, of which the last is shorter and those after it are empty", async () => {
  const file = await openFile("abcdefghij");
  const cache = createChunkCache({ size: 4, maxChunks: 2 });
  const texts = [];
  for (const index of [0, 1, 2, 3, 0, 2]) {
    const chunk = await cache.acquire(file, index);
    texts.push(chunk.bytes.toString());
    chunk.release();
  }
  expect(texts).toEqual(["abcd", "efgh", "ij", "", "abcd", "ij"]);
});

test("a chunk that is still being sent is not overwritten, however much is read meanwhile", async () => {
  const file = await openFile(Array.from({ length: 100 }, (_, i) => String(1000 + i)).join(""));
  const cache = createChunkCache({ size: 4, maxChunks: 2 });
  const slow = await Promise.all([0, 1, 2, 3, 4, 0].map((index) => cache.acquire(file, index)));
  for (let index = 5; index < 100; index++) {
    const chunk = await cache.acquire(file, index);
    expect(chunk.bytes.toString()).toBe(String(1000 + index));
    chunk.release();
  }
  expect(slow.map(({ bytes }) => bytes.toString())).toEqual([
    "1000",
    "1001",
    "1002",
    "1003",
    "1004",
    "1000",
  ]);
  for (const chunk of slow) chunk.release();
  for (const index of [99, 0, 50]) {
    const chunk = await cache.acquire(file, index);
    expect(chunk.bytes.toString()).toBe(String(1000 + index));
    chunk.release();
  }
});

test("a chunk that could not be read is read again at the next request", async () => {
  const closed = await openFile("abcd");
  const { handle, key } = await openFile("abcd");
  await closed.handle.close();
  const cache = createChunkCache({ size: 4 });
  await expect(cache.acquire({ handle: closed.handle, key }, 0)).rejects.toThrow();
  expect((await cache.acquire({ handle, key }, 0)).bytes.toString()).toBe("abcd");
});

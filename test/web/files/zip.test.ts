import { unzipSync } from "fflate";
import { expect, test } from "vitest";
import { zipFiles, zipTexts } from "../../../worker/web/client/files/zip.ts";
import { createMemoryFiles } from "../support/memory-files.ts";

test("an archive of a workspace holds every file with its path", async () => {
  const files = createMemoryFiles({
    "work/a.txt": "one",
    "work/sub/ü.txt": "two",
    "work/empty": "",
    "other/b.txt": "three",
  });
  const { blob, skipped } = await zipFiles(files, ["work", "other"]);
  expect(skipped).toEqual([]);
  expect(await textsOf(blob)).toEqual({
    "work/a.txt": "one",
    "work/sub/ü.txt": "two",
    "work/empty": "",
    "other/b.txt": "three",
  });
});

test("a file that vanishes while an archive is made is named, and the rest is there", async () => {
  const files = createMemoryFiles({ "work/a.txt": "one", "work/b.txt": "two" });
  const { blob, skipped } = await zipFiles(
    {
      ...files,
      read(path) {
        if (path.endsWith("a.txt")) files.content.delete(path);
        return files.read(path);
      },
    },
    ["work"],
  );
  expect(skipped).toEqual(["work/a.txt"]);
  expect(await textsOf(blob)).toEqual({ "work/b.txt": "two" });
});

test("names of texts that come from peers stay below the folder that the archive is unpacked to", async () => {
  const paths = [
    "../../up",
    "/etc/passwd",
    "C:\\x\\y",
    "a/./b",
    "same",
    "same",
    "x.ts",
    "x.ts",
    "",
  ];
  const blob = await zipTexts(paths.map((path, index) => ({ path, text: String(index) })));
  expect(await textsOf(blob)).toEqual({
    up: "0",
    "etc/passwd": "1",
    C__x_y: "2",
    "a/b": "3",
    same: "4",
    "same (2)": "5",
    "x.ts": "6",
    "x (2).ts": "7",
    file: "8",
  });
});

test("a text of several chunks is whole in an archive", async () => {
  const text = Array.from({ length: 60_000 }, (_, index) => `line ${index}`).join("\n");
  expect(await textsOf(await zipTexts([{ path: "long", text }]))).toEqual({ long: text });
});

async function textsOf(blob: Blob): Promise<Record<string, string>> {
  const files = unzipSync(new Uint8Array(await blob.arrayBuffer()));
  return Object.fromEntries(
    Object.entries(files).map(([path, bytes]) => [path, new TextDecoder().decode(bytes)]),
  );
}

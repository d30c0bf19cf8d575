import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { replaceFile, replaceFileSync } from "../../../shared/base/replace-file.ts";
import { tempFolder } from "../../support/temp-folder.ts";

function folderWith(content: string): { readonly folder: string; readonly path: string } {
  const folder = tempFolder();
  const path = join(folder, "file");
  writeFileSync(path, content);
  return { folder, path };
}

test("a file is replaced as a whole, and only its owner may read it", async () => {
  const { folder, path } = folderWith("before");
  await replaceFile(path, ["one, ", Buffer.from("two")]);
  expect(readFileSync(path, "utf8")).toBe("one, two");
  expect(statSync(path).mode & 0o777).toBe(0o600);
  replaceFileSync(path, "three");
  expect(readFileSync(path, "utf8")).toBe("three");
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(readdirSync(folder)).toEqual(["file"]);
});

test("a file that is replaced has the given time of change", async () => {
  const { path } = folderWith("before");
  await replaceFile(path, ["after"], { mode: 0o640, modifiedMs: Date.UTC(2030, 0, 1) });
  expect(statSync(path).mtimeMs).toBe(Date.UTC(2030, 0, 1));
  expect(statSync(path).mode & 0o040).toBe(0o040);
});

test("a file that cannot be written whole stays as it was", async () => {
  const { folder, path } = folderWith("before");
  function* chunks() {
    yield "half";
    throw new Error("the rest is not there");
  }
  await expect(replaceFile(path, chunks())).rejects.toThrow("the rest is not there");
  expect(readFileSync(path, "utf8")).toBe("before");
  expect(readdirSync(folder)).toEqual(["file"]);
});

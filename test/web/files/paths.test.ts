import { expect, test } from "vitest";
import {
  folderOf,
  isExcluded,
  isSafeName,
  partsOf,
  sortEntries,
} from "../../../worker/web/client/files/paths.ts";

test.each([
  "",
  "/work/a",
  "work//a",
  "work/",
  "work/../a",
  "work/./a",
  "work/a\0",
  "work/a\nb",
  "work\\..\\a",
  "work/\u202egpj.exe",
  `work/${"a".repeat(256)}`,
  `work${"/a".repeat(3_000)}`,
])("the path %j is refused", (path) => {
  expect(() => partsOf(path)).toThrow(expect.objectContaining({ reason: "name" }));
});

test("names in every script, with spaces and dots, are accepted", () => {
  for (const name of ["a b.txt", "…", "日本語.md", "מסמך", "...x", "-rf", "👩‍💻.js", "__proto__"]) {
    expect(isSafeName(name), name).toBe(true);
  }
  expect(partsOf("work/src/a b.ts")).toEqual(["work", "src", "a b.ts"]);
});

test.each([
  "work/.env",
  "work/sub/.env",
  "work/.env.production",
  "work/.git",
  "work/.git/config",
  "work/sub/.git/hooks/pre-commit",
  "work/.ENV",
  "work/.Git/config",
  "work/.env.",
  "work/.git /config",
  "work/.env::$DATA",
  "work/.g\u200cit/config",
])("%j is kept from guests", (path) => {
  expect(isExcluded(path)).toBe(true);
});

test.each([
  "work",
  ".git",
  "work/.gitignore",
  "work/.github/a.yml",
  "work/env",
  "work/.envrc",
  "work/a.env",
])("%j is not kept from guests", (path) => {
  expect(isExcluded(path)).toBe(false);
});

test("folders come first, and numbers in names count as numbers", () => {
  const entry = (name: string, kind: "file" | "folder" = "file") => ({ name, kind });
  const sorted = sortEntries([entry("b10"), entry("b9"), entry("a"), entry("z", "folder")]);
  expect(sorted.map(({ name }) => name)).toEqual(["z", "a", "b9", "b10"]);
});

test("the folder of a workspace's folder is empty", () => {
  expect([folderOf("work/a/b"), folderOf("work")]).toEqual(["work/a", ""]);
});

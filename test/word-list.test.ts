import { expect, test } from "vitest";
import { findWords } from "../docs/word-list.ts";

test("a coined name is found in prose and inside identifiers, with its line and the standard term", () => {
  expect(
    findWords("worker/session-moves/drain.ts", "const a = 1;\nconst chooseHeir = pick;\n"),
  ).toEqual([{ line: 2, words: "eHeir", instead: "successor" }]);
  expect(findWords("README.md", "The heir takes over.").map(({ line }) => line)).toEqual([1]);
});

test("a phrase is found whatever its case", () => {
  expect(findWords("worker/api/api.ts", "// Whoever asks first")).toEqual([
    { line: 1, words: "Whoever", instead: "any client that, the first to" },
  ]);
});

test("ordinary English that only resembles a listed word is not found", () => {
  const line = "Their license is theirs; nobody said goods, burying beetles or embedded records.";
  expect(findWords("docs/clients.md", line)).toEqual([]);
});

test("a place that reads the names of the version before may use them, and says so", () => {
  const schema = "  heir: z.string(),";
  expect(findWords("shared/store/records.ts", `  // In the version before.\n${schema}`)).toEqual(
    [],
  );
  expect(findWords("shared/control/former-command.ts", schema)).toEqual([]);
  expect(findWords("shared/store/records.ts", schema)).toHaveLength(1);
});

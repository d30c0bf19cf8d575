/** Part of `npm run check`: fails on words of docs/word-list.ts and names the standard term for each. */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { findWords } from "./word-list.ts";

const TEXT = /\.(?:ts|mjs|js|md|html|css|lua|ya?ml|json|sh|conf|cfg)$|^(?:Dockerfile|\.ci\/run)$/;
/** The list itself and its test, and what is generated from other projects. */
const OWN_FILES = /^(?:docs\/word-list\.ts|test\/word-list\.test\.ts|package-lock\.json)$/;

const root = fileURLToPath(new URL("..", import.meta.url));
const list = ["ls-files", "--cached", "--others", "--exclude-standard"];
const files = execFileSync("git", list, { cwd: root, encoding: "utf8" })
  .split("\n")
  .filter((file) => TEXT.test(file) && !OWN_FILES.test(file) && existsSync(`${root}${file}`));
const findings = files.flatMap((file) =>
  findWords(file, readFileSync(`${root}${file}`, "utf8")).map(
    ({ line, words, instead }) => `${file}:${line}: "${words}"; write: ${instead}`,
  ),
);
if (findings.length > 0) {
  process.stderr.write(`${findings.join("\n")}\n${findings.length} to replace\n`);
  process.exitCode = 1;
}

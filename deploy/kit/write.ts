/** `npm run kit`: writes kustomize's objects and the Helm chart from their source, and the chart's values into the documentation. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { kitFiles } from "./files.ts";

const ROOT = new URL("../../", import.meta.url);

for (const [path, content] of Object.entries(
  kitFiles((file) => readFileSync(new URL(file, ROOT), "utf8")),
)) {
  const url = new URL(path, ROOT);
  mkdirSync(dirname(url.pathname), { recursive: true });
  writeFileSync(url, content);
}

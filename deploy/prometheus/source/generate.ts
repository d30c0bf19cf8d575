/** `npm run docs`: writes the rules, their tests, the dashboard and the page about the alerts. */
import { writeFileSync } from "node:fs";
import { generatedFiles } from "./generated-files.ts";

const ROOT = new URL("../../../", import.meta.url);

for (const [path, text] of Object.entries(generatedFiles())) {
  writeFileSync(new URL(path, ROOT), text);
}

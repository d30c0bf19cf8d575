/**
 * Builds the sources that this file is part of, and writes all packages of them: `tsx deploy/package/pack.ts OUT BASE`.
 * SOURCE_DATE_EPOCH must be set. `release.ts` runs it in copies of the sources.
 */
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { packDeb } from "./deb.ts";
import { ROOT } from "./files.ts";
import { listImageFiles } from "./image-files.ts";
import { packNpm } from "./npm-package.ts";
import { readProduct } from "./product.ts";
import { packTarball } from "./tarball.ts";

const [out = "", base = ""] = process.argv.slice(2);
const epoch = Number(process.env["SOURCE_DATE_EPOCH"]);
if (out === "" || base === "" || !Number.isSafeInteger(epoch)) {
  throw new Error("usage: SOURCE_DATE_EPOCH=seconds tsx deploy/package/pack.ts OUT BASE");
}
const build = (await import(new URL("../../edge/build.mjs", import.meta.url).href)) as {
  buildWhenStale(): void;
};

mkdirSync(out, { recursive: true });
const work = mkdtempSync(join(ROOT, "packing-"));
try {
  build.buildWhenStale();
  const product = readProduct();
  const to = { work, out, base, epoch };
  packNpm(product, to);
  packTarball(product, to);
  packDeb(product, to);
  copyFileSync(join(ROOT, "dist/sbom.cdx.json"), join(out, `${base}.cdx.json`));
  writeFileSync(join(out, `${base}-image-files.txt`), listImageFiles());
} catch (error) {
  // Such as a full disk: the stack of the program says nothing about that.
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
} finally {
  rmSync(work, { recursive: true, force: true });
}

/** The version of this product, from package.json, which is at the top of the sources and beside dist/. */
import { readFileSync } from "node:fs";
import { productFile } from "../base/product-files.ts";

export const VERSION: string = readVersion(["package.json", "../package.json"]);

function readVersion(paths: readonly string[]): string {
  for (const path of paths) {
    try {
      const text = readFileSync(productFile(path), "utf8");
      const { version } = JSON.parse(text) as { version?: unknown };
      if (typeof version === "string") return version;
    } catch {
      // Try the next path.
    }
  }
  return "0.0.0";
}

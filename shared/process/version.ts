/** The version of this product, from package.json, which is two folders up in the sources and three in dist/. */
import { readFileSync } from "node:fs";

export const VERSION: string = readVersion(["../../package.json", "../../../package.json"]);

function readVersion(paths: readonly string[]): string {
  for (const path of paths) {
    try {
      const text = readFileSync(new URL(path, import.meta.url), "utf8");
      const { version } = JSON.parse(text) as { version?: unknown };
      if (typeof version === "string") return version;
    } catch {
      // Try the next path.
    }
  }
  return "0.0.0";
}

/** The npm package, by `npm pack`, which gives all files the same time and owner. */
import { execFileSync } from "node:child_process";
import { renameSync } from "node:fs";
import { join } from "node:path";
import { writeFiles } from "./files.ts";
import { type Product, productFiles } from "./product.ts";

export function packNpm(product: Product, to: Packing): void {
  const folder = join(to.work, "npm");
  writeFiles(folder, productFiles(product), to.epoch);
  const args = ["pack", "--ignore-scripts", "--json", "--pack-destination", to.out];
  const printed = execFileSync("npm", args, { cwd: folder, encoding: "utf8" });
  const [packed] = JSON.parse(printed) as { readonly filename: string }[];
  renameSync(join(to.out, packed?.filename ?? ""), join(to.out, `${to.base}.tgz`));
}

/** Where a package is written and under which name. */
export interface Packing {
  /** For intermediate files. */
  readonly work: string;
  readonly out: string;
  /** The name of all files, as in `codetogether-edge-0.2.0`. */
  readonly base: string;
  /** The time of all files, in seconds. */
  readonly epoch: number;
}

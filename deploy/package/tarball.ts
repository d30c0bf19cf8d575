/** The tarball to unpack and run: the product, with launchers that say when there is no Node, and the units of systemd. */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { readSource, writeFiles } from "./files.ts";
import type { Packing } from "./npm-package.ts";
import { commandsOf, type Product, productFiles, renderUnits } from "./product.ts";

export function packTarball(product: Product, to: Packing): void {
  const top = `${product.name}-${product.version}`;
  const findNode = readSource("deploy/package/bin/find-node");
  const files = [
    ...productFiles(product),
    ...Object.keys(commandsOf(product)).map((command) => ({
      path: `bin/${command}`,
      content: findNode.replace("@OLDEST_NODE@", product.oldestNode),
      mode: 0o755,
    })),
    ...renderUnits({ folder: `/opt/${product.name}` }).map((unit) => ({
      ...unit,
      path: `systemd/${unit.path}`,
    })),
    { path: "systemd/edge.env", content: readSource("deploy/package/edge.env") },
  ];
  const folder = join(to.work, "tarball");
  writeFiles(join(folder, top), files, to.epoch);
  const file = join(to.out, `${to.base}-linux.tar`);
  const owner = ["--owner=0", "--group=0", "--numeric-owner"];
  const order = ["--sort=name", "--format=gnu", `--mtime=@${to.epoch}`];
  execFileSync("tar", ["-C", folder, ...owner, ...order, "-cf", file, top]);
  // Without the name and the time of the tar file.
  execFileSync("gzip", ["-n", "-9", file]);
}

/** What is installed, in the same layout by every package: the launchers, the bundled programs and the texts. */
import { join } from "node:path";
import { type PackageFile, readFolder, readSource } from "./files.ts";

export interface Product {
  readonly name: string;
  readonly version: string;
  readonly description: string;
  readonly license: string;
  /** As in `20.19`. */
  readonly oldestNode: string;
  /** Paths of the programs by their names. */
  readonly programs: Readonly<Record<string, string>>;
}

/** Only the build and the tests read these. */
const NOT_INSTALLED = new Set([".sources", "modules.json"]);

export function readProduct(): Product {
  const manifest = JSON.parse(readSource("package.json")) as {
    readonly engines: { readonly node: string };
    readonly bin: Readonly<Record<string, string>>;
  } & Product;
  const { name, version, description, license, bin } = manifest;
  const oldestNode = manifest.engines.node.replace(/^>=/, "");
  return { name, version, description, license, oldestNode, programs: bin };
}

/** Needs a build in dist/. */
export function productFiles(product: Product): PackageFile[] {
  return [
    { path: "package.json", content: `${JSON.stringify(manifestOf(product), null, 2)}\n` },
    ...["README.md", "LICENSE", "CHANGELOG.md"].map((path) => ({
      path,
      content: readSource(path),
    })),
    { path: "bin/check-node.cjs", content: readSource("deploy/package/bin/check-node.cjs") },
    ...Object.entries(commandsOf(product)).map(([name, program]) => ({
      path: `bin/${name}.cjs`,
      content: launcher(program),
      mode: 0o755,
    })),
    ...readFolder("dist")
      .filter(({ path }) => !NOT_INSTALLED.has(path))
      .map(({ path, content }) => ({
        path: join("dist", path),
        content,
        mode: Object.values(product.programs).includes(join("dist", path)) ? 0o755 : 0o644,
      })),
  ];
}

/** The programs, and the first of them under the package's name, which `npx` looks for. */
export function commandsOf({ name, programs }: Product): Readonly<Record<string, string>> {
  const [edge = ""] = Object.values(programs);
  return { [name]: edge, ...programs };
}

/** The package.json of what is installed: nothing to build, nothing to install, no scripts. */
function manifestOf(product: Product): Record<string, unknown> {
  const { name, version, description, license, oldestNode } = product;
  const commands = Object.keys(commandsOf(product));
  return {
    name,
    version,
    description,
    license,
    type: "module",
    engines: { node: `>=${oldestNode}` },
    bin: Object.fromEntries(commands.map((command) => [command, `bin/${command}.cjs`])),
    files: ["bin/", "dist/", "CHANGELOG.md"],
  };
}

function launcher(program: string): string {
  return `#!/usr/bin/env node
"use strict";

require("./check-node.cjs");
import("../${program}");
`;
}

/** Where services find the product, the settings and Node. */
export function renderUnits(at: { readonly folder: string }): PackageFile[] {
  return readFolder("deploy/package/systemd").map(({ path, content }) => ({
    path,
    content: content.toString().replaceAll("/usr/lib/codetogether-edge", at.folder),
  }));
}

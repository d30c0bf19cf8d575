/** The Debian package, by `dpkg-deb`, which needs no root: the files belong to root in the archive only. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { type PackageFile, readSource, writeFiles } from "./files.ts";
import type { Packing } from "./npm-package.ts";
import { commandsOf, type Product, productFiles, renderUnits } from "./product.ts";

const LIBRARY = "usr/lib/codetogether-edge";
const DOCS = "usr/share/doc/codetogether-edge";
const CONFFILES = ["etc/codetogether-edge/edge.env"];
const TEXTS = new Set(["README.md", "LICENSE", "CHANGELOG.md"]);

export function packDeb(product: Product, to: Packing): void {
  const folder = join(to.work, "deb");
  const files = installedFiles(product);
  linkCommands(product, folder);
  writeFiles(folder, [...files, ...controlFiles(product, files)], to.epoch);
  execFileSync(
    "dpkg-deb",
    ["--root-owner-group", "-Zxz", "--build", folder, join(to.out, `${to.base}.deb`)],
    {
      // With several threads the size of xz's blocks depends on the machine.
      env: { ...process.env, SOURCE_DATE_EPOCH: String(to.epoch), DPKG_DEB_THREADS_MAX: "1" },
      stdio: ["ignore", "ignore", "inherit"],
    },
  );
}

function installedFiles(product: Product): PackageFile[] {
  const all = productFiles(product);
  return [
    ...all
      .filter(({ path }) => !TEXTS.has(path))
      .map((file) => ({ ...file, path: `${LIBRARY}/${file.path}` })),
    ...all
      .filter(({ path }) => TEXTS.has(path) && path !== "LICENSE")
      .map((file) => ({ ...file, path: `${DOCS}/${file.path}` })),
    { path: `${DOCS}/copyright`, content: copyright() },
    { path: "usr/bin/ct-edge", content: readSource("deploy/package/deb/ct-edge"), mode: 0o755 },
    ...renderUnits({ folder: `/${LIBRARY}` }).map(({ path, content }) => ({
      path: path.endsWith(".service")
        ? `usr/lib/systemd/system/${path}`
        : `${LIBRARY}/systemd/${path}`,
      content,
    })),
    // Secrets may be written into it.
    {
      path: "etc/codetogether-edge/edge.env",
      content: readSource("deploy/package/edge.env"),
      mode: 0o640,
    },
  ];
}

/** All but ct-edge, which has a script of its own. */
function linkCommands(product: Product, folder: string): void {
  mkdirSync(join(folder, "usr/bin"), { recursive: true });
  for (const name of Object.keys(commandsOf(product))) {
    if (name === "ct-edge") continue;
    const target = name === product.name ? "ct-edge" : `../lib/codetogether-edge/bin/${name}.cjs`;
    symlinkSync(target, join(folder, "usr/bin", name));
  }
}

function controlFiles(product: Product, files: readonly PackageFile[]): PackageFile[] {
  const bytes = files.reduce((sum, { content }) => sum + Buffer.byteLength(content), 0);
  const control = readSource("deploy/package/deb/control")
    .replace("@VERSION@", debianVersion(product.version))
    .replace("@INSTALLED_SIZE@", String(Math.ceil(bytes / 1024)))
    .replace("@OLDEST_NODE@", product.oldestNode);
  const sums = files
    .filter(({ path }) => !CONFFILES.includes(path))
    .map(({ path, content }) => `${createHash("md5").update(content).digest("hex")}  ${path}\n`);
  return [
    { path: "DEBIAN/control", content: control },
    { path: "DEBIAN/conffiles", content: CONFFILES.map((path) => `/${path}\n`).join("") },
    { path: "DEBIAN/md5sums", content: sums.join("") },
    ...["postinst", "prerm", "postrm"].map((name) => ({
      path: `DEBIAN/${name}`,
      content: readSource(`deploy/package/deb/${name}`),
      mode: 0o755,
    })),
  ];
}

/** `1.0.0-rc.1` comes before `1.0.0` for npm; `~` says the same to Debian. */
export function debianVersion(version: string): string {
  return version.replace("-", "~");
}

function copyright(): string {
  return `${readSource("LICENSE")}
The licenses of the packages that are part of it: /${LIBRARY}/dist/licenses.txt
`;
}

/** What a release is checked for before it is published: each check throws an error that says what is wrong. */
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { byName } from "./files.ts";

/** Digests of the files of `folder`, in the form of `sha256sum`. */
export function sumsOf(folder: string): string {
  return readdirSync(folder)
    .toSorted(byName)
    .map((name) => {
      const content = readFileSync(join(folder, name));
      return `${createHash("sha256").update(content).digest("hex")}  ${name}\n`;
    })
    .join("");
}

/** Both folders must have the same files with the same bytes. */
export function checkEqual(one: string, other: string): void {
  const [first, second] = [sumsOf(one), sumsOf(other)].map((sums) => sums.split("\n"));
  const differing = first?.filter((line) => second?.includes(line) !== true) ?? [];
  if (differing.length === 0 && first?.length === second?.length) return;
  const names = differing.map((line) => line.split("  ")[1]).join(", ");
  throw new Error(`two builds of the same sources differ: ${names}; compare ${one} and ${other}`);
}

/** Unpacks the tarball and starts its programs. */
export function checkTarball(file: string, work: string, version: string): void {
  mkdirSync(work, { recursive: true });
  execFileSync("tar", ["-C", work, "-xzf", file]);
  const [top = ""] = readdirSync(work);
  const bin = join(work, top, "bin");
  const run = (command: string, ...args: string[]): string => {
    const result = spawnSync(join(bin, command), args, {
      cwd: work,
      env: { PATH: process.env["PATH"] },
      encoding: "utf8",
    });
    if (result.status === 0) return result.stdout;
    throw new Error(`${command} ${args.join(" ")} of the tarball failed:\n${result.stderr}`);
  };
  run("ct-edge", "--help");
  run("ct-balancer", "check", "--workers", "127.0.0.1:3001", "--port", "0", "--status-port", "0");
  const printed = run("ct-worker", "--version").trim();
  if (printed !== version) throw new Error(`ct-worker --version of the tarball: ${printed}`);
}

/** Has systemd verify the units where the package installs them. False where systemd-analyze is missing. */
export function checkUnits(deb: string, work: string): boolean {
  if (spawnSync("systemd-analyze", ["--version"], { stdio: "ignore" }).status !== 0) return false;
  execFileSync("dpkg-deb", ["--extract", deb, work]);
  // systemd's own units, which ours name, and an executable in the place of Node.
  const units = "usr/lib/systemd/system";
  const own = readdirSync(join(work, units));
  for (const name of readdirSync(`/${units}`)) {
    if (/\.(?:target|slice|socket)$/.test(name) || name === "systemd-journald.service") {
      cpSync(join("/", units, name), join(work, units, name), { verbatimSymlinks: true });
    }
  }
  for (const path of ["usr/bin/node", "bin/kill"]) {
    mkdirSync(join(work, path, ".."), { recursive: true });
    if (!existsSync(join(work, path))) cpSync("/bin/true", join(work, path));
  }
  const names = own.map((name) => name.replace("@.", "@3001."));
  const result = spawnSync("systemd-analyze", ["verify", "--man=no", `--root=${work}`, ...names], {
    encoding: "utf8",
  });
  if (result.status === 0 && result.stderr === "") return true;
  throw new Error(`systemd-analyze verify:\n${result.stdout}${result.stderr}`);
}

/**
 * The SBOM must name exactly the packages that dist/ has modules of, by what esbuild reported, in the versions that are
 * installed, and no address of a registry.
 */
export function checkSbom(sources: string, sbomFile: string): number {
  const text = readFileSync(sbomFile, "utf8");
  const { components } = JSON.parse(text) as { components: readonly { readonly purl: string }[] };
  const listed = new Set(components.map(({ purl }) => decodeURIComponent(purl)));
  const bundled = bundledPackages(sources);
  const missing = [...bundled].filter((purl) => !listed.has(purl));
  const added = [...listed].filter((purl) => !bundled.has(purl));
  if (missing.length > 0 || added.length > 0) {
    throw new Error(`the SBOM lacks ${missing.join(", ")}; not bundled: ${added.join(", ")}`);
  }
  if (/"(?:https?|git\+\w+):\/\/(?!cyclonedx\.org\/schema\/)/.test(text)) {
    throw new Error("the SBOM has an address of a download");
  }
  return components.length;
}

function bundledPackages(sources: string): Set<string> {
  const outputs = JSON.parse(readFileSync(join(sources, "dist/modules.json"), "utf8")) as Record<
    string,
    { readonly inputs: Record<string, { readonly bytesInOutput: number }> }
  >;
  const folders = Object.values(outputs).flatMap(({ inputs }) =>
    Object.entries(inputs).flatMap(([path, { bytesInOutput }]) =>
      bytesInOutput > 0 ? (/^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0] ?? []) : [],
    ),
  );
  return new Set(
    [...new Set(folders)].map((folder) => {
      const manifest = readFileSync(join(sources, folder, "package.json"), "utf8");
      const { name, version } = JSON.parse(manifest) as Record<"name" | "version", string>;
      return `pkg:npm/${name}@${version}`;
    }),
  );
}

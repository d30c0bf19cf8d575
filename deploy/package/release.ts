/**
 * `npm run release`: builds all packages twice, in two folders, compares and checks them, and replaces release/ at the end.
 * Nothing is in release/ that has not passed all checks.
 *
 *     npm run release -- [--dirty] [--out FOLDER]
 */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  cpSync,
  existsSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join, relative, resolve } from "node:path";
import { parseArgs } from "node:util";
import { checkEqual, checkSbom, checkTarball, checkUnits, sumsOf } from "./checks.ts";
import { ROOT, readSource } from "./files.ts";
import { readProduct } from "./product.ts";
import { copySources, readSourceTree, type SourceTree } from "./source-tree.ts";

/** What depends on the machine must not be in a package. The folders' names have different lengths, and one a space. */
const BUILDS = [
  { folder: "one", umask: "022", env: { TZ: "UTC", LC_ALL: "C.UTF-8" } },
  { folder: "the other/build", umask: "077", env: { TZ: "Pacific/Kiritimati", LC_ALL: "C" } },
] as const;

const TOOLS = [
  { command: "dpkg-deb", fix: "Debian, Ubuntu: apt-get install dpkg; macOS: brew install dpkg" },
  { command: "tar", fix: "install GNU tar" },
  { command: "gzip", fix: "install gzip" },
  { command: "npm", fix: "install npm, which comes with Node" },
] as const;

/** The first step that fails ends the release; what it has left is removed. */
async function release(options: { readonly isDirtyAllowed: boolean; readonly out: string }) {
  const { out } = options;
  checkTools();
  const tree = readSourceTree();
  checkState(tree, options.isDirtyAllowed);
  const { name, version } = readProduct();
  checkChangelog(version);
  const isDirty = tree.changed.length > 0;
  const base = `${name}-${version}${isDirty ? "-dirty" : ""}`;
  // Beside the installed packages, which the builds share by hard links.
  const work = join(ROOT, `release.${process.pid}`);
  const beside = `${out}.${process.pid}`;
  for (const folder of [work, beside]) {
    removeLeftovers(folder);
    process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  }
  print(`${base} from ${tree.commit ?? "sources without git"}, ${dateOf(tree.epoch)}`);

  const results = BUILDS.map(({ folder }) => join(work, folder));
  await Promise.all(
    BUILDS.map(async (build) => {
      copySources(tree, join(work, build.folder));
      await pack(build, { work, base, epoch: tree.epoch });
    }),
  );
  const [first = "", second = ""] = results.map((folder) => join(folder, "out"));
  checkEqual(first, second);
  print(`two builds in different folders are equal: ${readdirSync(first).length} files`);

  const tarball = join(first, `${base}-linux.tar.gz`);
  checkTarball(tarball, join(work, "tarball"), version);
  print("the tarball's programs start");
  const isVerified = checkUnits(join(first, `${base}.deb`), join(work, "deb"));
  print(
    isVerified
      ? "systemd-analyze verify finds nothing in the units"
      : "NOT CHECKED: the units, because systemd-analyze is missing; Debian: apt-get install systemd",
  );
  const packages = checkSbom(results[0] ?? "", join(first, `${base}.cdx.json`));
  print(`the SBOM lists the ${packages} packages that are bundled`);

  const sums = sumsOf(first);
  writeFileSync(join(first, "SHA256SUMS"), sums);
  // Readable for all, whatever the umask.
  for (const name of readdirSync(first)) chmodSync(join(first, name), 0o644);
  cpSync(first, join(beside, "finished"), { recursive: true, preserveTimestamps: true });
  publish(beside, out);
  print(`\n${sums}\n${relative(process.cwd(), out)}/ is complete`);
  if (isDirty) print("It was built from CHANGED sources, which no commit has: do not publish it.");
}

function checkTools(): void {
  for (const { command, fix } of TOOLS) {
    if (spawnSync(command, ["--version"], { stdio: "ignore" }).status === 0) continue;
    throw new Error(`${command} is missing; ${fix}`);
  }
}

function checkState({ changed }: SourceTree, isDirtyAllowed: boolean): void {
  if (changed.length === 0 || isDirtyAllowed) return;
  const shown = changed.slice(0, 10).join(", ");
  const more = changed.length > 10 ? ` and ${changed.length - 10} more` : "";
  throw new Error(
    `these files differ from the commit: ${shown}${more}; commit them, or use --dirty for a trial`,
  );
}

function checkChangelog(version: string): void {
  const isThere = readSource("CHANGELOG.md")
    .split("\n")
    .some((line) => line.startsWith(`## ${version} `));
  if (isThere) return;
  throw new Error(
    `CHANGELOG.md has no section of version ${version}; give "Unreleased" the version and its date`,
  );
}

async function pack(
  { folder, umask, env }: (typeof BUILDS)[number],
  { work, base, epoch }: { readonly work: string; readonly base: string; readonly epoch: number },
): Promise<void> {
  const cwd = join(work, folder);
  const command = `umask ${umask} && exec "$0" node_modules/tsx/dist/cli.mjs deploy/package/pack.ts "$@"`;
  const child = spawn("sh", ["-c", command, process.execPath, join(cwd, "out"), base], {
    cwd,
    env: { ...process.env, ...env, SOURCE_DATE_EPOCH: String(epoch) },
    stdio: ["ignore", 2, 2],
  });
  const [status] = (await once(child, "exit")) as [number | null];
  if (status !== 0) throw new Error("a build failed (see above); release/ is unchanged");
}

/** Removes the folders of releases that were killed: those named like `folder`, with the pid of a process that has ended. */
function removeLeftovers(folder: string): void {
  const [parent, prefix] = [dirname(folder), basename(folder).replace(/\d+$/, "")];
  if (!existsSync(parent)) return;
  for (const name of readdirSync(parent)) {
    const pid = name.startsWith(prefix) ? Number(name.slice(prefix.length)) : Number.NaN;
    if (!Number.isInteger(pid) || isAlive(pid)) continue;
    rmSync(join(parent, name), { recursive: true, force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** Moves the finished folder to `out`; what was there before is removed only then. */
function publish(beside: string, out: string): void {
  const former = join(beside, "former");
  const hasFormer = existsSync(out);
  if (hasFormer) renameSync(out, former);
  try {
    renameSync(join(beside, "finished"), out);
  } catch (error) {
    if (hasFormer) renameSync(former, out);
    throw error;
  }
}

function dateOf(epoch: number): string {
  return new Date(epoch * 1000).toISOString();
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

// Through the event "exit", which removes what is unfinished.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.once(signal, () => process.exit(1));
}
try {
  const { values } = parseArgs({
    options: { dirty: { type: "boolean", default: false }, out: { type: "string" } },
  });
  const out = values.out === undefined ? join(ROOT, "release") : resolve(values.out);
  await release({ isDirtyAllowed: values.dirty, out });
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}

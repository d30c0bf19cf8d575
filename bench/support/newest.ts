/**
 * The newest nginx and HAProxy that Debian has, for comparison with newer peers than this machine's release has. Run as a
 * program, it downloads them with all their libraries into a cache folder, without a change to the system. Debian's package
 * tools are needed.
 */
import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** Where each program is in its package, and the variable that names another binary. */
const PROGRAMS = {
  nginx: { path: "usr/sbin/nginx", env: "BENCH_NGINX_NEW" },
  haproxy: { path: "usr/sbin/haproxy", env: "BENCH_HAPROXY_NEW" },
} as const;

type ProgramName = keyof typeof PROGRAMS;

const CACHE = join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "ct-edge-bench");
const BIN = join(CACHE, "bin");
const SUITE = "sid";
const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";

/** Path of the newest `name`; it does not exist before the download. */
export function newestProgram(name: ProgramName): string {
  return process.env[PROGRAMS[name].env] ?? join(BIN, name);
}

function download(): void {
  rmSync(CACHE, { recursive: true, force: true });
  const apt = join(CACHE, "apt");
  for (const folder of ["lists/partial", "cache/archives/partial"]) {
    mkdirSync(join(apt, folder), { recursive: true });
  }
  const sources = join(apt, "sources.list");
  writeFileSync(sources, `deb [signed-by=${KEYRING}] http://deb.debian.org/debian ${SUITE} main\n`);
  // An empty list of installed packages: the libraries are downloaded as well.
  const status = join(apt, "status");
  writeFileSync(status, "");
  const options = [
    `Dir::Etc::sourcelist=${sources}`,
    "Dir::Etc::sourceparts=-",
    `Dir::State=${apt}`,
    `Dir::State::lists=${join(apt, "lists")}`,
    `Dir::State::status=${status}`,
    `Dir::Cache=${join(apt, "cache")}`,
    "APT::Sandbox::User=",
  ].flatMap((option) => ["-o", option]);
  execute("apt-get", [...options, "-q", "update"]);
  const names = Object.keys(PROGRAMS) as ProgramName[];
  const install = ["install", "-q", "--yes", "--download-only", "--no-install-recommends"];
  execute("apt-get", [...options, ...install, ...names]);
  const root = join(CACHE, "root");
  const archives = join(apt, "cache/archives");
  for (const file of readdirSync(archives).filter((name) => name.endsWith(".deb"))) {
    execute("dpkg-deb", ["--extract", join(archives, file), root]);
  }
  mkdirSync(BIN);
  for (const name of names) writeStarter(name, root);
  rmSync(apt, { recursive: true });
}

/** A script that runs the program with the downloaded libraries, which are newer than the system's. */
function writeStarter(name: ProgramName, root: string): void {
  const libraries = join(root, "usr/lib", find(join(root, "usr/lib"), /-linux-gnu$/));
  const linker = join(libraries, find(libraries, /^ld-linux.*\.so\.\d$/));
  const program = join(root, PROGRAMS[name].path);
  const starter = join(BIN, name);
  writeFileSync(starter, `#!/bin/sh\nexec ${linker} --library-path ${libraries} ${program} "$@"\n`);
  chmodSync(starter, 0o755);
  execute(starter, ["-v"]);
}

function find(folder: string, pattern: RegExp): string {
  const name = readdirSync(folder).find((entry) => pattern.test(entry));
  if (name === undefined) throw new Error(`${folder} has no ${pattern}`);
  return name;
}

function execute(program: string, args: readonly string[]): void {
  const { status, error } = spawnSync(program, args, { stdio: "inherit" });
  if (status !== 0) throw new Error(`${program} ${args.join(" ")} failed`, { cause: error });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) download();

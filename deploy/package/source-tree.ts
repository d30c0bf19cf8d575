/** The sources that a release is built from: their state, their date, and copies of them. */
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { ROOT } from "./files.ts";

/** What the build and the packages read. */
const NEEDED =
  /^(?:(?:balancer|worker|shared|edge|deploy)\/|(?:package(?:-lock)?|tsconfig)\.json$|Dockerfile$|README\.md$|LICENSE$|CHANGELOG\.md$)/;

export interface SourceTree {
  /** Undefined for sources without git. */
  readonly commit: string | undefined;
  /** Paths that differ from the commit, and new ones. */
  readonly changed: readonly string[];
  /** Paths of the files that a release is built from. */
  readonly files: readonly string[];
  /** Seconds: SOURCE_DATE_EPOCH, the commit's time, the newest date of the changelog, or package.json's time. */
  readonly epoch: number;
}

/** Throws when SOURCE_DATE_EPOCH is not a time. */
export function readSourceTree(): SourceTree {
  const commit = git("rev-parse", "--verify", "HEAD")?.trim();
  const isOwn = commit !== undefined && git("rev-parse", "--show-prefix")?.trim() === "";
  const given = process.env["SOURCE_DATE_EPOCH"];
  if (given && !/^\d{1,10}$/.test(given)) {
    throw new Error(`SOURCE_DATE_EPOCH=${given} is not a time in seconds since 1970`);
  }
  if (!isOwn) {
    const files = listFolder("").filter((path) => NEEDED.test(path));
    return { commit: undefined, changed: [], files, epoch: Number(given || changelogEpoch()) };
  }
  const list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
  const files = (git(...list) ?? "").split("\0").filter((path) => NEEDED.test(path));
  const changed = (git("status", "--porcelain") ?? "").split("\n").filter((line) => line !== "");
  return {
    commit,
    changed: changed.map((line) => line.slice(3)),
    files: [...new Set(files)].filter((path) => existsSync(join(ROOT, path))),
    epoch: Number(given || git("log", "-1", "--format=%ct")),
  };
}

/** Copies the sources to a new folder, with the installed packages, which share their contents with the installed ones. */
export function copySources({ files }: SourceTree, folder: string): void {
  for (const path of files) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    cpSync(join(ROOT, path), join(folder, path));
  }
  // The folder must be on their file system: the copy has hard links.
  const packages = join(ROOT, "node_modules");
  const copy = spawnSync("cp", ["-al", packages, folder], { encoding: "utf8" });
  if (copy.status === 0) return;
  throw new Error(
    `the packages cannot be linked: ${copy.error?.message ?? firstLine(copy.stderr)}`,
  );
}

/** One message instead of one for each file. */
function firstLine(text: string): string {
  return text.split("\n", 1)[0] ?? "";
}

/** Undefined where git fails: there is no git, or these sources have no repository. */
function git(...args: string[]): string | undefined {
  const result = spawnSync("git", args, { cwd: ROOT, encoding: "utf8" });
  return result.status === 0 ? result.stdout : undefined;
}

function changelogEpoch(): number {
  const dates = readFileSync(join(ROOT, "CHANGELOG.md"), "utf8").match(/^## .*\d{4}-\d\d-\d\d/gm);
  const days = (dates ?? []).map((line) => Date.parse(line.slice(-10)) / 1000);
  return days.length > 0
    ? Math.max(...days)
    : Math.floor(statSync(join(ROOT, "package.json")).mtimeMs / 1000);
}

function listFolder(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
    if (entry.name === "node_modules" || entry.name.startsWith(".")) return [];
    return entry.isDirectory() ? listFolder(path) : [path];
  });
}

/**
 * Lists the folders of `CT_CLIENTS_DIR`: files that may be offered, and files that cannot, with the reason. Their contents are
 * not read here.
 */
import type { Stats } from "node:fs";
import { lstat, readdir, realpath, stat } from "node:fs/promises";
import { extname, join, sep } from "node:path";
import { describeError, errorCode } from "../../../shared/base/errors.ts";
import type { ArtifactFile } from "./artifact.ts";

/** Why a file is not offered, or another problem that an operator should know about. */
export interface Problem {
  /** Relative to the clients folder. */
  readonly file: string;
  readonly reason: string;
}

export interface FoundFile extends ArtifactFile {
  /** Last change by the system clock; unlike `mtimeMs`, no program can set it back. */
  readonly ctimeMs: number;
}

/** Per folder. */
const MAX_FILES = 5000;
const MAX_NAME_CHARS = 200;
/** Names that browsers, copy programs and editors give to unfinished files. */
const UNFINISHED = /^\.|~$|\.(part|partial|filepart|tmp|crdownload|download|swp)$/i;
/** Device names on Windows: clients there could not save such a file. */
const DEVICE = /^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i;

/** The files of `folder` (below `root`, a real path) with one of the extensions. A missing folder counts as empty. */
export async function listFolder(
  root: string,
  folder: string,
  extensions: readonly string[],
): Promise<{ readonly files: readonly FoundFile[]; readonly problems: readonly Problem[] }> {
  const files: FoundFile[] = [];
  const problems: Problem[] = [];
  const skip = (name: string, reason: string): void => {
    problems.push({ file: name === "" ? `${folder}/` : `${folder}/${name}`, reason });
  };
  let names: string[];
  try {
    names = await readdir(await insideOf(root, join(root, folder)));
  } catch (error) {
    if (errorCode(error) !== "ENOENT") skip("", reasonOf(error));
    return { files, problems };
  }
  // Sorted, so that all workers choose the same of two duplicates.
  for (const name of names.sort()) {
    if (UNFINISHED.test(name)) continue;
    const problem = nameProblem(name, extensions);
    if (problem !== undefined) skip(name, problem);
    else if (files.length >= MAX_FILES) skip(name, `the folder has more than ${MAX_FILES} files`);
    else {
      try {
        const { path, info } = await statInside(root, join(root, folder, name));
        const { size, mtimeMs, ctimeMs } = info;
        if (info.isFile()) files.push({ name, path, bytes: size, mtimeMs, ctimeMs });
        else skip(name, "not a regular file");
      } catch (error) {
        // A file that was just deleted is not a problem; a dangling link is.
        if (!(await isGone(join(root, folder, name)))) skip(name, reasonOf(error));
      }
    }
  }
  return { files, problems };
}

function nameProblem(name: string, extensions: readonly string[]): string | undefined {
  if (!extensions.includes(extname(name).toLowerCase())) {
    return `the file name does not end in ${extensions.join(" or ")}`;
  }
  if (name.length > MAX_NAME_CHARS)
    return `the file name is longer than ${MAX_NAME_CHARS} characters`;
  if (/[\p{Cc}\p{Zl}\p{Zp}\\]/u.test(name)) return "the file name has control characters";
  return DEVICE.test(name) ? "the file name is reserved on Windows" : undefined;
}

async function statInside(root: string, path: string): Promise<{ path: string; info: Stats }> {
  const info = await lstat(path);
  if (!info.isSymbolicLink()) return { path, info };
  const target = await insideOf(root, path);
  return { path: target, info: await stat(target) };
}

class OutsideError extends Error {}

/** The real path of `path`. Throws `OutsideError` when a link leads out of `root`, itself a real path. */
export async function insideOf(root: string, path: string): Promise<string> {
  const real = await realpath(path);
  if (real !== root && !real.startsWith(root + sep)) throw new OutsideError();
  return real;
}

/** The real path of a file below `root`; undefined when it is missing, outside, hidden or unfinished. */
export async function findInside(root: string, relative: string): Promise<string | undefined> {
  const parts = relative.split("/");
  if (parts.some((part) => part === "" || UNFINISHED.test(part) || /[\0\\]/.test(part))) {
    return undefined;
  }
  try {
    const path = await insideOf(root, join(root, ...parts));
    return (await stat(path)).isFile() ? path : undefined;
  } catch (error) {
    const isMissing = /^(ENOENT|ENOTDIR|ELOOP|ENAMETOOLONG)$/.test(errorCode(error) ?? "");
    if (isMissing || error instanceof OutsideError) return undefined;
    throw error;
  }
}

/** A system error as a reason for operators. */
export function reasonOf(error: unknown): string {
  if (error instanceof OutsideError) return "the symbolic link points outside the clients folder";
  return REASONS.get(errorCode(error) ?? "") ?? describeError(error);
}

const REASONS: ReadonlyMap<string, string> = new Map([
  ["ENOENT", "the symbolic link points to a missing file"],
  ["ELOOP", "the symbolic link points to itself"],
  ["EACCES", "permission denied: make it readable for the user that runs the edge"],
  ["EPERM", "permission denied: make it readable for the user that runs the edge"],
]);

async function isGone(path: string): Promise<boolean> {
  return (await ifPresent(lstat(path)).catch(() => true)) === undefined;
}

/** Undefined when what is looked for does not exist. */
export async function ifPresent<T>(looking: Promise<T>): Promise<T | undefined> {
  try {
    return await looking;
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    throw error;
  }
}

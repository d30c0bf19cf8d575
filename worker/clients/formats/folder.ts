/**
 * What lies in the folders of `CT_CLIENTS_DIR`: files that may be offered, as the file system tells of them, and files that
 * cannot be, with the reason. Contents are not looked at here.
 */
import type { Stats } from "node:fs";
import { lstat, readdir, realpath, stat } from "node:fs/promises";
import { extname, join, sep } from "node:path";
import { describeError, errorCode } from "../../../shared/base/errors.ts";

/** A file that is not offered, or something else that an operator should know. */
export interface Problem {
  /** Relative to the clients folder. */
  readonly file: string;
  readonly reason: string;
}

export interface FoundFile {
  readonly name: string;
  readonly path: string;
  readonly bytes: number;
  readonly mtimeMs: number;
  /** When the system last saw it change; unlike `mtimeMs`, nothing sets it back. */
  readonly ctimeMs: number;
}

export interface Listing {
  readonly files: readonly FoundFile[];
  readonly problems: readonly Problem[];
}

/** Files of one folder beyond this many are not offered. */
const MAX_FILES = 5000;
/** A file system that takes longer names has nobody who types them. */
const MAX_NAME_CHARS = 200;
/** What browsers, copy programs and editors call a file that is not finished. */
const UNFINISHED = /^\.|~$|\.(part|partial|filepart|tmp|crdownload|download|swp)$/i;
/** Names that Windows takes for devices: a client could not store them. */
const DEVICE = /^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i;

/** The files of `folder` (below `root`, which is a real path) with one of the endings. A missing folder is empty. */
export async function listFolder(
  root: string,
  folder: string,
  endings: readonly string[],
): Promise<Listing> {
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
  // In this order everywhere, so that all workers make the same choice between two.
  for (const name of names.sort()) {
    if (UNFINISHED.test(name)) continue;
    const unfit = unfitName(name, endings);
    if (unfit !== undefined) skip(name, unfit);
    else if (files.length >= MAX_FILES) skip(name, `the folder has more than ${MAX_FILES} files`);
    else {
      try {
        const { path, info } = await look(root, join(root, folder, name));
        const { size, mtimeMs, ctimeMs } = info;
        if (info.isFile()) files.push({ name, path, bytes: size, mtimeMs, ctimeMs });
        else skip(name, "not a regular file");
      } catch (error) {
        // A file that is gone by now is no problem; a link that leads nowhere is.
        if (!(await isGone(join(root, folder, name)))) skip(name, reasonOf(error));
      }
    }
  }
  return { files, problems };
}

function unfitName(name: string, endings: readonly string[]): string | undefined {
  if (!endings.includes(extname(name).toLowerCase())) {
    return `the file name does not end in ${endings.join(" or ")}`;
  }
  if (name.length > MAX_NAME_CHARS)
    return `the file name is longer than ${MAX_NAME_CHARS} characters`;
  if (/[\p{Cc}\p{Zl}\p{Zp}\\]/u.test(name)) return "the file name has control characters";
  return DEVICE.test(name) ? "the file name is reserved on Windows" : undefined;
}

async function look(root: string, path: string): Promise<{ path: string; info: Stats }> {
  const info = await lstat(path);
  if (!info.isSymbolicLink()) return { path, info };
  const target = await insideOf(root, path);
  return { path: target, info: await stat(target) };
}

class OutsideError extends Error {}

/** The real path of `path`. Throws `OutsideError` when a link leads out of `root`, which is a real path itself. */
export async function insideOf(root: string, path: string): Promise<string> {
  const real = await realpath(path);
  if (real !== root && !real.startsWith(root + sep)) throw new OutsideError();
  return real;
}

/** The real path of a file below `root`; undefined when there is none, or it is outside, hidden or unfinished. */
export async function findInside(root: string, relative: string): Promise<string | undefined> {
  const parts = relative.split("/");
  if (parts.some((part) => part === "" || UNFINISHED.test(part) || /[\0\\]/.test(part))) {
    return undefined;
  }
  try {
    const path = await insideOf(root, join(root, ...parts));
    return (await stat(path)).isFile() ? path : undefined;
  } catch (error) {
    const isMissing = ["ENOENT", "ENOTDIR", "ELOOP", "ENAMETOOLONG"].includes(
      errorCode(error) ?? "",
    );
    if (isMissing || error instanceof OutsideError) return undefined;
    throw error;
  }
}

/** Why something of the system's cannot be offered, in an operator's words. */
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
  try {
    await lstat(path);
    return false;
  } catch (error) {
    return errorCode(error) === "ENOENT";
  }
}

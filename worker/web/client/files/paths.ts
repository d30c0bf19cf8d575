/**
 * Names and paths of files. They come from guests, from hosts and from what a user enters, so all are checked here. Pure.
 */
import { type Entry, FileError } from "../model/files.ts";

const MAX_NAME_LENGTH = 255;
const MAX_PATH_LENGTH = 4_096;

/**
 * Slashes, control characters, and characters that reverse the direction of writing, by which a name shows as another one. A
 * backslash separates folders for some hosts.
 */
const UNSAFE = /[\p{Cc}/\\\u202a-\u202e\u2066-\u2069\ufffe\uffff]/u;

/**
 * Files that guests never see: they hold passwords and keys. In `.git` these are the credentials in remote URLs, and hooks and
 * settings in it are programs that the host's Git would run.
 */
const EXCLUDED = /^\.(?:git|env(?:\..*)?)$/;

const order = new Intl.Collator(undefined, { numeric: true });

export function isSafeName(name: string): boolean {
  return (
    name !== "" &&
    name !== "." &&
    name !== ".." &&
    name.length <= MAX_NAME_LENGTH &&
    !UNSAFE.test(name)
  );
}

/** Chrome's own file beside one that it writes; it is gone when the file is written. */
export function isSwapFile(name: string): boolean {
  return name.endsWith(".crswap");
}

/** The parts of a path; throws a `FileError` when one of them is empty, `..`, or not a valid name. */
export function partsOf(path: string): readonly [string, ...string[]] {
  const [first = "", ...rest] = path.split("/");
  if (path.length > MAX_PATH_LENGTH || ![first, ...rest].every(isSafeName)) {
    throw new FileError(
      "name",
      "This name is not valid. Choose one without slashes or special characters.",
    );
  }
  return [first, ...rest];
}

/** As `partsOf`, for what may be removed or renamed: the workspace's own folder is not. */
export function partsInFolder(path: string): readonly string[] {
  const parts = partsOf(path);
  if (parts.length === 1) throw new FileError("denied", "The workspace’s own folder stays.");
  return parts;
}

export function nameTaken(path: string): FileError {
  return new FileError("name", `The name “${nameOf(path)}” is taken. Choose another one.`);
}

export function movedIntoItself(): FileError {
  return new FileError("name", "A folder cannot be moved into itself.");
}

/** "" for one of the workspace's folders. */
export function folderOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf("/")));
}

export function nameOf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

export function isWithin(path: string, folder: string): boolean {
  return path === folder || path.startsWith(`${folder}/`);
}

/** Whether the host keeps this path, or a folder above it, from its guests. The workspace's own folders are never excluded. */
export function isExcluded(path: string): boolean {
  return path
    .split("/")
    .slice(1)
    .some((name) => EXCLUDED.test(foldName(name)));
}

/**
 * File systems of Windows and macOS open `.git` by other names too: in capitals, with dots or spaces at the end, with the name
 * of a stream after a colon, or with invisible characters.
 */
function foldName(name: string): string {
  return name
    .normalize("NFKC")
    .replace(/[\u00ad\p{Cf}]/gu, "")
    .toLowerCase()
    .replace(/:.*$/, "")
    .replace(/[. ]+$/, "");
}

/** Folders first, then by name. */
export function sortEntries(entries: readonly Entry[]): readonly Entry[] {
  return [...entries].sort(
    (a, b) =>
      Number(b.kind === "folder") - Number(a.kind === "folder") ||
      order.compare(a.name, b.name) ||
      (a.name < b.name ? -1 : 1),
  );
}

/** Files of a package before they are written: with modes and times that depend on neither umask nor clock. */
import {
  chmodSync,
  lutimesSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";

export interface PackageFile {
  /** Relative to the package's root. */
  readonly path: string;
  readonly content: string | Buffer;
  /** Default: 0644. */
  readonly mode?: number;
}

/** The root of the sources. */
export const ROOT = join(import.meta.dirname, "../..");

export function readSource(path: string): string {
  return readFileSync(join(ROOT, path), "utf8");
}

/** All files below `folder` of the sources, by their paths relative to it, sorted. */
export function readFolder(folder: string): { readonly path: string; readonly content: Buffer }[] {
  const top = join(ROOT, folder);
  return readdirSync(top, { recursive: true, encoding: "utf8" })
    .filter((path) => statSync(join(top, path)).isFile())
    .toSorted(byName)
    .map((path) => ({ path, content: readFileSync(join(top, path)) }));
}

/** Writes `files` to a new folder. Folders get mode 0755; everything gets the time `epoch`, in seconds. */
export function writeFiles(folder: string, files: readonly PackageFile[], epoch: number): void {
  for (const { path, content, mode = 0o644 } of files) {
    const file = join(folder, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, content, { flag: "wx" });
    chmodSync(file, mode);
  }
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  // Files first: a folder that gets a file gets a new time.
  for (const entry of entries) {
    if (!entry.isDirectory()) lutimesSync(join(entry.parentPath, entry.name), epoch, epoch);
  }
  const folders = entries.filter((entry) => entry.isDirectory());
  for (const path of [...folders.map((entry) => join(entry.parentPath, entry.name)), folder]) {
    chmodSync(path, 0o755);
    utimesSync(path, epoch, epoch);
  }
}

/** By code units, the same in every locale. */
export function byName(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}

/** A new folder in the system's temporary folder, removed at the end. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { atEnd } from "./at-end.ts";

export function tempFolder(): string {
  const folder = makeFolder();
  atEnd(() => removeFolder(folder));
  return folder;
}

/** One that the caller removes. */
export function makeFolder(): string {
  return mkdtempSync(join(tmpdir(), "ct-test-"));
}

export function removeFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true });
}

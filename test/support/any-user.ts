/**
 * Starts a program as the image does under OpenShift: with a user id that the system does not know, group 0, no home and a
 * read-only file system. Without a container: needs root and namespaces.
 */
import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { onTestFinished } from "vitest";

const USER_ID = "1000660000";

export interface AnyUser {
  /** Runs Node as that user: an executable to use in place of Node's own. */
  readonly node: string;
  /** The only folder that it can write to. */
  readonly dataDir: string;
}

/** Resolves with why this machine cannot do it, as a text. Removes its files when the test has finished. */
export function anyUser(): AnyUser | string {
  if (process.getuid?.() !== 0) return "only root can start a program as another user";
  // Not in the system's temporary folder, which may belong to one user only.
  const folder = mkdtempSync("/var/tmp/ct-any-user-");
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const dataDir = mkdtempSync(join(folder, "data-"));
  chmodSync(folder, 0o755);
  // As in the image: writable for group 0.
  chmodSync(dataDir, 0o770);
  const node = join(folder, "node");
  const inside = [
    `mount --bind '${dataDir}' '${dataDir}'`,
    "mount -o remount,bind,ro /",
    "export HOME=/",
    `exec setpriv --reuid ${USER_ID} --regid 0 --clear-groups --bounding-set -all '${process.execPath}' "$@"`,
  ].join(" && ");
  writeFileSync(node, `#!/bin/sh\nexec unshare --mount sh -c ${quote(inside)} node "$@"\n`);
  chmodSync(node, 0o755);
  // A folder that everyone may write to shows whether the file system is read-only.
  const check = `try { fs.mkdtempSync("/var/tmp/ct-") } catch ({ code }) { console.log(code, process.getuid()) }`;
  const attempt = spawnSync(node, ["-e", check], { encoding: "utf8" });
  if (attempt.stdout?.trim() === `EROFS ${USER_ID}`) return { node, dataDir };
  return `no mount namespace, or Node cannot be run by another user: ${attempt.stdout}${attempt.stderr}`;
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

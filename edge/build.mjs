// Compiles the TypeScript sources to dist/. Plain JavaScript, because it runs before anything is built.
import { spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

/** Builds dist/ from scratch, so that a file that was deleted does not live on. Throws when the compiler reports errors. */
export function build() {
  rmSync(`${root}dist`, { recursive: true, force: true });
  const compiler = `${root}node_modules/typescript/bin/tsc`;
  const result = spawnSync(process.execPath, [compiler, "-p", `${root}tsconfig.build.json`], {
    stdio: "inherit",
  });
  if (result.status !== 0) {
    throw new Error(`the build failed: tsc ended with status ${result.status}`);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) build();

// Compiles the TypeScript sources to dist/ and copies all other files beside them. Plain JavaScript, because it runs before
// anything is built.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  cpSync,
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { fileURLToPath } from "node:url";
import { buildSync } from "esbuild";

const root = fileURLToPath(new URL("..", import.meta.url));
const SOURCE_FOLDERS = ["balancer", "worker", "shared", "edge"];
/** Holds the digest of the sources that dist/ was built from. */
const STAMP = `${root}dist/.sources`;

/** Builds dist/ unless it was built from exactly these sources. Throws when the compiler reports errors. */
export function buildWhenStale() {
  const digest = digestSources();
  if (existsSync(STAMP) && readFileSync(STAMP, "utf8") === digest) return;
  build(digest);
}

/**
 * Builds beside dist/ and swaps at the end: a file that was deleted does not live on, and an edge that runs from dist/
 * never sees half of it.
 */
function build(digest) {
  const fresh = `${root}dist.${process.pid}`;
  try {
    compileTo(fresh);
    copyAsTheyAre(fresh);
    bundlePages(fresh);
    writeFileSync(`${fresh}/.sources`, digest);
    const old = `${fresh}.old`;
    if (existsSync(`${root}dist`)) renameSync(`${root}dist`, old);
    renameSync(fresh, `${root}dist`);
    rmSync(old, { recursive: true, force: true });
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
}

function compileTo(folder) {
  const compiler = `${root}node_modules/typescript/bin/tsc`;
  const args = [compiler, "-p", `${root}tsconfig.build.json`, "--outDir", folder];
  const result = spawnSync(process.execPath, args, { cwd: root, stdio: ["ignore", 2, 2] });
  if (result.status !== 0) {
    throw new Error(`the build failed: tsc ended with status ${result.status}`);
  }
}

/** What is not compiled lies beside what is: pages, scripts of the store. */
function copyAsTheyAre(folder) {
  for (const source of SOURCE_FOLDERS.filter((name) => existsSync(root + name))) {
    cpSync(root + source, `${folder}/${source}`, {
      recursive: true,
      filter: (path) => !path.endsWith(".ts") && !path.endsWith("/tsconfig.json"),
    });
  }
}

/** What browsers run is one file of script and one of style. */
function bundlePages(folder) {
  const page = "worker/web/dashboard";
  buildSync({
    absWorkingDir: root,
    entryPoints: [
      { in: `${page}/main.ts`, out: "dashboard" },
      { in: `${page}/dashboard.css`, out: "dashboard" },
    ],
    outdir: `${folder}/${page}`,
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    legalComments: "none",
    logLevel: "warning",
  });
}

function digestSources() {
  const hash = createHash("sha256");
  const files = SOURCE_FOLDERS.filter((folder) => existsSync(root + folder)).flatMap((folder) =>
    readdirSync(root + folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => `${entry.parentPath ?? entry.path}/${entry.name}`),
  );
  const settings = ["package.json", "package-lock.json", "tsconfig.json", "tsconfig.build.json"];
  for (const file of [
    ...files.sort((a, b) => (a < b ? -1 : 1)),
    ...settings.map((name) => root + name),
  ]) {
    hash
      .update(`${file.slice(root.length)}\0`)
      .update(readFileSync(file))
      .update("\0");
  }
  return hash.digest("hex");
}

if (process.argv[1] === fileURLToPath(import.meta.url)) build(digestSources());

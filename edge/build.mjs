// Compiles the TypeScript sources to dist/ and copies all other files. Plain JavaScript, because it runs before the build.
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
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { buildSync } from "esbuild";
import { licensesOf } from "./bundle-licenses.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const SOURCE_FOLDERS = ["balancer", "worker", "shared", "edge"];
/** Contains the digest of the sources that dist/ was built from. */
const STAMP = `${root}dist/.sources`;

/** Builds dist/ unless it was built from exactly these sources. Throws when the compiler fails. */
export function buildWhenStale() {
  const digest = digestSources();
  if (existsSync(STAMP) && readFileSync(STAMP, "utf8") === digest) return;
  build(digest);
}

/**
 * Builds beside dist/ and swaps at the end: deleted files do not remain, and an edge that starts from dist/ never sees a
 * partial build.
 */
function build(digest) {
  const fresh = `${root}dist.${process.pid}`;
  try {
    compileTo(fresh);
    copyOtherFiles(fresh);
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
    throw new Error(`the build failed: tsc exited with status ${result.status}; see above`);
  }
}

/** Pages and the scripts of the store. */
function copyOtherFiles(folder) {
  for (const source of SOURCE_FOLDERS.filter((name) => existsSync(root + name))) {
    cpSync(root + source, `${folder}/${source}`, {
      recursive: true,
      filter: (path) => !/\.tsx?$|\/tsconfig\.json$/.test(path),
    });
  }
}

const PAGE_OPTIONS = {
  absWorkingDir: root,
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  // All license texts are in one file.
  legalComments: "none",
  metafile: true,
  logLevel: "warning",
};

function bundlePages(folder) {
  const app = `${folder}/worker/web/client/app`;
  const metafiles = [bundleDashboard(folder), bundleClient(app)];
  writeFileSync(`${app}/licenses.txt`, licensesOf(root, metafiles));
  for (const name of readdirSync(app)) compressFile(`${app}/${name}`);
}

/** One script and one style sheet. */
function bundleDashboard(folder) {
  const page = "worker/web/dashboard";
  return buildSync({
    ...PAGE_OPTIONS,
    entryPoints: [
      { in: `${page}/main.ts`, out: "dashboard" },
      { in: `${page}/dashboard.css`, out: "dashboard" },
    ],
    outdir: `${folder}/${page}`,
  }).metafile;
}

/** Two entries, and a chunk for each language of the editor. Names have a hash, so that browsers keep the files. */
function bundleClient(outdir) {
  const page = "worker/web/client";
  return buildSync({
    ...PAGE_OPTIONS,
    entryPoints: [`${page}/main.tsx`, `${page}/client.css`],
    entryNames: "[name]-[hash]",
    chunkNames: "chunk-[hash]",
    splitting: true,
    jsx: "automatic",
    jsxImportSource: "preact",
    outdir,
  }).metafile;
}

/** Beside the plain file. Brotli at 9 of 11: the rest would take ten times as long for 4 %. */
function compressFile(path) {
  const content = readFileSync(path);
  const params = { [constants.BROTLI_PARAM_QUALITY]: 9 };
  writeFileSync(`${path}.br`, brotliCompressSync(content, { params }));
  writeFileSync(`${path}.gz`, gzipSync(content, { level: 9 }));
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

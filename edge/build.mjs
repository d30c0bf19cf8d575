// Bundles the programs and the pages into dist/, with the packages that they use, and copies all other files. Plain JavaScript,
// because it runs before the build.
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
import { writeSbom } from "./sbom.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
/** The programs; what several of them use is in chunks. */
const PROGRAMS = [
  "edge/main",
  "edge/make-secret",
  "balancer/main",
  "worker/main",
  // Threads.
  "shared/policy/parse-thread",
  "balancer/acme/ca-thread",
];
export const SOURCE_FOLDERS = ["balancer", "worker", "shared", "edge"];
/** Contains the digest of the sources that dist/ was built from. */
const STAMP = `${root}dist/.sources`;

/**
 * Builds dist/ unless it was built from exactly these sources. Returns whether it has built; throws when it cannot. `sourceMaps`:
 * with files that map the programs' lines to those of the sources, for `node --enable-source-maps`.
 */
export function buildWhenStale({ sourceMaps = false } = {}) {
  const stamp = digestSources() + (sourceMaps ? " with source maps" : "");
  if (existsSync(STAMP) && readFileSync(STAMP, "utf8") === stamp) return false;
  build(stamp, sourceMaps);
  return true;
}

/**
 * Builds beside dist/ and swaps at the end: deleted files do not remain, and an edge that starts from dist/ never sees a
 * partial build.
 */
function build(stamp, sourceMaps = false) {
  const fresh = `${root}dist.${process.pid}`;
  try {
    const programs = bundlePrograms(fresh, sourceMaps);
    copyOtherFiles(fresh);
    const bundles = { programs: [programs], pages: bundlePages(fresh) };
    writeFileSync(`${fresh}/modules.json`, modulesOf(fresh, Object.values(bundles).flat()));
    writeFileSync(`${fresh}/sbom.cdx.json`, writeSbom(root, bundles));
    writeFileSync(`${fresh}/.sources`, stamp);
    const old = `${fresh}.old`;
    if (existsSync(`${root}dist`)) renameSync(`${root}dist`, old);
    renameSync(fresh, `${root}dist`);
    rmSync(old, { recursive: true, force: true });
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
}

/**
 * One file per program and few chunks: a program that loads its 500 modules one by one takes twice as long to start. Not
 * minified, so that stack traces can be read.
 */
function bundlePrograms(folder, sourceMaps) {
  const { metafile } = buildSync({
    absWorkingDir: root,
    entryPoints: PROGRAMS.map((program) => ({ in: `${program}.ts`, out: program })),
    chunkNames: "chunks/[name]-[hash]",
    outdir: folder,
    bundle: true,
    splitting: true,
    platform: "node",
    format: "esm",
    target: "node20",
    // CommonJS packages in an ES module.
    banner: {
      js: 'import { createRequire as createRequireOfBuild } from "node:module"; const require = createRequireOfBuild(import.meta.url);',
    },
    legalComments: "none",
    sourcemap: sourceMaps,
    // The sources are there.
    sourcesContent: false,
    metafile: true,
    logLevel: "warning",
  });
  for (const output of Object.keys(metafile.outputs)) {
    if (!output.endsWith(".map")) escapeNonAscii(root + output);
  }
  writeFileSync(`${folder}/licenses.txt`, licensesOf(root, [metafile]));
  return metafile;
}

/** Which modules are in which file, as esbuild reports it, under the folder's final name. */
function modulesOf(folder, metafiles) {
  const outputs = Object.assign({}, ...metafiles.map((metafile) => metafile.outputs));
  return JSON.stringify(outputs).replaceAll(`"${folder.slice(root.length)}/`, '"dist/');
}

/**
 * A program stays in memory as text, of two bytes a character if a single one is not Latin-1, such as a quotation mark in a
 * package's comment. The escapes have the same value in strings, templates and regular expressions.
 */
function escapeNonAscii(file) {
  const text = readFileSync(file, "utf8");
  if (/\\\P{ASCII}/u.test(text))
    throw new Error(`${file}: a backslash before a character to escape`);
  const escaped = text.replace(/\P{ASCII}/gu, (character) =>
    Array.from(
      { length: character.length },
      (_, index) => `\\u${character.charCodeAt(index).toString(16).padStart(4, "0")}`,
    ).join(""),
  );
  if (escaped !== text) writeFileSync(file, escaped);
}

/** Pages and the scripts of the store. */
function copyOtherFiles(folder) {
  for (const file of sourceFiles()) {
    if (!/\.(tsx?|mjs)$|\/tsconfig\.json$/.test(file)) cpSync(root + file, `${folder}/${file}`);
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
  return metafiles;
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
  for (const file of [...sourceFiles(), "package.json", "package-lock.json", "tsconfig.json"]) {
    hash
      .update(`${file}\0`)
      .update(readFileSync(root + file))
      .update("\0");
  }
  return hash.digest("hex");
}

/** Relative to the root, sorted. */
function sourceFiles() {
  return SOURCE_FOLDERS.filter((folder) => existsSync(root + folder))
    .flatMap((folder) =>
      readdirSync(root + folder, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => `${entry.parentPath ?? entry.path}/${entry.name}`.slice(root.length)),
    )
    .sort((a, b) => (a < b ? -1 : 1));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) build(digestSources());

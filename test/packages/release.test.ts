/** `npm run release`, which compares two builds and checks them itself, and what is in its packages. */
import { execFile } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { Ajv, type Options } from "ajv";
import { afterAll, beforeAll, expect, test } from "vitest";
import { hasProgram } from "../support/debian.ts";
import { tempFolder } from "../support/temp-folder.ts";

const ROOT = join(import.meta.dirname, "../..");
const SCHEMAS = join(ROOT, "node_modules/@cyclonedx/cyclonedx-library/res/schema");
const work = tempFolder();
const out = join(work, "release");

const canRelease = hasProgram("dpkg-deb", ["dpkg"], "the tests of the release");
let printed = "";

beforeAll(async () => {
  if (!canRelease) return;
  mkdirSync(`${out}.999999999/one`, { recursive: true });
  printed = (await release(["--dirty", "--out", out])).stdout;
}, 120_000);

interface Run {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

function run(
  program: string,
  args: readonly string[],
  options: { readonly cwd?: string; readonly env?: NodeJS.ProcessEnv } = {},
): Promise<Run> {
  return new Promise((resolve) => {
    execFile(program, args, { ...options, encoding: "utf8" }, (error, stdout, stderr) => {
      const status = error === null ? 0 : typeof error.code === "number" ? error.code : 1;
      resolve({ status, stdout, stderr });
    });
  });
}

function release(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Run> {
  const script = ["node_modules/tsx/dist/cli.mjs", "deploy/package/release.ts"];
  return run(process.execPath, [...script, ...args], {
    cwd: ROOT,
    env: { ...process.env, ...env },
  });
}

/** The file of the release with that ending. */
function fileOf(ending: string): string {
  const found = readdirSync(out).find((name) => name.endsWith(ending));
  if (found === undefined) throw new Error(`no *${ending} in ${readdirSync(out).join(", ")}`);
  return join(out, found);
}

test.runIf(canRelease)(
  "a release has all packages, equal in two builds, with digests, and leaves nothing else behind",
  async () => {
    expect(printed).toContain("two builds in different folders are equal: 5 files");
    expect(printed).toContain("the tarball's programs start");
    expect(printed).toMatch(/the SBOM lists the \d{3} packages that are bundled/);
    const endings = [
      "-image-files.txt",
      "-linux.tar.gz",
      ".cdx.json",
      ".deb",
      ".tgz",
      "SHA256SUMS",
    ];
    expect(endings.map((ending) => existsSync(fileOf(ending)))).toEqual(endings.map(() => true));
    expect(readdirSync(out)).toHaveLength(endings.length);
    expect(
      await run("sha256sum", ["--check", "--strict", "SHA256SUMS"], { cwd: out }),
    ).toMatchObject({ status: 0 });
    // Also what a release left that was killed.
    expect(readdirSync(work)).toEqual(["release"]);
  },
);

test.runIf(canRelease)(
  "the npm package installs without a network and without scripts, and runs under its own name",
  async () => {
    const prefix = join(work, "a prefix");
    const quiet = ["--offline", "--no-audit", "--no-fund", "--prefix", prefix];
    const env = { ...process.env, npm_config_cache: join(work, "cache") };
    const installed = await run("npm", ["install", "--global", ...quiet, fileOf(".tgz")], { env });
    expect(installed).toMatchObject({ status: 0 });
    const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as {
      version: string;
    };
    for (const program of ["codetogether-edge", "ct-edge", "ct-balancer", "ct-worker"]) {
      const started = await run(join(prefix, "bin", program), ["--version"]);
      expect(started).toEqual({ status: 0, stdout: `${version}\n`, stderr: "" });
    }
    const folder = join(prefix, "lib/node_modules/codetogether-edge");
    expect(readdirSync(folder).toSorted()).toEqual(
      ["CHANGELOG.md", "LICENSE", "README.md", "bin", "dist", "package.json"].toSorted(),
    );
    const files = readdirSync(folder, { recursive: true, encoding: "utf8" });
    expect(files.filter((path) => /\.(?:tsx?|mjs)$|node_modules|\.sources$/.test(path))).toEqual(
      [],
    );
    const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as object;
    for (const key of ["private", "scripts", "dependencies", "devDependencies"]) {
      expect(manifest).not.toHaveProperty(key);
    }
  },
);

test.runIf(canRelease)(
  "the tarball says that Node is missing or too old, and which one it needs",
  async () => {
    await run("tar", ["-C", work, "-xzf", fileOf("-linux.tar.gz")]);
    const top = readdirSync(work).find((name) => name.startsWith("codetogether-edge-")) ?? "";
    const bin = join(work, top, "bin");
    const tools = toolsWithout("node");
    expect(await run(join(bin, "ct-edge"), [], { env: { PATH: tools } })).toMatchObject({
      status: 1,
      stderr:
        "ct-edge: there is no node in PATH; install Node 20.19 or later (24 is recommended)\n",
    });
    const asOld = `Object.defineProperty(process, "versions", { value: { node: "18.20.4" } }); require(${JSON.stringify(join(bin, "ct-edge.cjs"))})`;
    expect(await run(process.execPath, ["-e", asOld])).toMatchObject({
      status: 1,
      stderr: "Node 18.20.4 is too old; install 20.19 or later (24 is recommended)\n",
    });
    // Through a link from a folder of the PATH, as operators install it.
    const link = join(work, "ct-worker");
    symlinkSync(join(bin, "ct-worker"), link);
    expect(await run(link, ["--version"])).toMatchObject({ status: 0 });
    rmSync(join(work, top), { recursive: true });
    rmSync(link);
  },
);

test.runIf(canRelease)("the SBOM is valid CycloneDX 1.6, dated like the release", () => {
  const sbom = JSON.parse(readFileSync(fileOf(".cdx.json"), "utf8")) as {
    metadata: { timestamp: string };
    components: { name: string; version: string; hashes: unknown[]; licenses: unknown[] }[];
  };
  const readSchema = (name: string): object =>
    JSON.parse(readFileSync(join(SCHEMAS, `${name}.SNAPSHOT.schema.json`), "utf8")) as object;
  const options: Options = { strict: false, validateFormats: false, allErrors: true };
  const ajv = new Ajv(options);
  // The package names the files differently from the schemas' ids.
  for (const name of ["spdx", "jsf-0.82"]) {
    const key = `http://cyclonedx.org/schema/${name}.SNAPSHOT.schema.json`;
    ajv.addSchema({ ...readSchema(name), $id: key });
  }
  const validate = ajv.compile(readSchema("bom-1.6"));
  validate(sbom);
  expect(validate.errors).toBe(null);
  expect(validate({ ...sbom, serialNumber: "not a UUID" })).toBe(false);
  const [, date] = /, (\S+)$/m.exec(printed) ?? [];
  expect(sbom.metadata.timestamp).toBe(date);
  for (const { name, hashes, licenses } of sbom.components) {
    expect([name, hashes?.length, licenses?.length]).toEqual([name, 1, 1]);
  }
});

test("a release without dpkg-deb, or with an invalid date, fails with the fix, and keeps the former one", async () => {
  const former = join(work, "former");
  mkdirSync(former);
  writeFileSync(join(former, "kept.txt"), "kept");
  const args = ["--dirty", "--out", former];
  const without = await release(args, { PATH: toolsWithout("dpkg-deb") });
  expect(without).toMatchObject({ status: 1 });
  expect(without.stderr).toMatch(/^dpkg-deb is missing; Debian, Ubuntu: apt-get install dpkg/);
  const undated = await release(args, { SOURCE_DATE_EPOCH: "yesterday" });
  expect(undated).toMatchObject({
    status: 1,
    stderr: "SOURCE_DATE_EPOCH=yesterday is not a time in seconds since 1970\n",
  });
  expect(readdirSync(former)).toEqual(["kept.txt"]);
});

/** A folder for PATH with the programs that a release and the launchers use, but one. */
function toolsWithout(missing: string): string {
  const folder = tempFolder();
  const all = ["sh", "basename", "dirname", "readlink", "tar", "gzip", "npm", "git", "node", "cp"];
  for (const name of [...all, "dpkg-deb"]) {
    if (name !== missing)
      symlinkSync(name === "node" ? process.execPath : `/usr/bin/${name}`, join(folder, name));
  }
  toolFolders.push(folder);
  return folder;
}

const toolFolders: string[] = [];
afterAll(() => {
  for (const folder of toolFolders) rmSync(folder, { recursive: true, force: true });
});

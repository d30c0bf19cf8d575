/**
 * An unmodified code-server installs and updates extensions from an edge, through its balancer. VS Code's own tool packs the
 * extensions.
 */
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { request } from "undici";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type EdgeProcess, startEdge } from "../support/edge-process.ts";
import { put } from "../support/plugins.ts";
import { until } from "../support/until.ts";

const run = promisify(execFile);

/** The newest version that runs on Node 20. */
const CODE_SERVER = "code-server@4.100.3";
const PACKER = "@vscode/vsce@3.9.2";
const PLATFORM = `${process.platform}-${process.arch}`;

let folder: string;
let edge: EdgeProcess;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "ct-code-server-"));
  const operator = { CT_DASHBOARD_USER: "ops", CT_DASHBOARD_PASSWORD: "operator" };
  edge = await startEdge({ env: { ...operator, CT_CLIENTS_DIR: join(folder, "clients") } });
  await installCodeServer();
  await packExtensions();
  await until("everything is offered", async () => {
    const { body } = await request(`${edge.httpUrl}/clients`);
    return ((await body.text()).match(/\.vsix<\/a>/g) ?? []).length === 6;
  });
});
afterAll(async () => {
  await edge?.dispose();
  rmSync(folder, { recursive: true, force: true });
});

/** Installed without its build scripts, except for two native modules. */
async function installCodeServer(): Promise<void> {
  const home = join(folder, "code-server");
  mkdirSync(home);
  const quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
  await npm(home, "init", "-y");
  await npm(home, "install", CODE_SERVER, ...quiet);
  const inner = join(home, "node_modules/code-server/lib/vscode");
  await npm(inner, "install", "--omit=dev", ...quiet);
  await npm(inner, "rebuild", "@vscode/spdlog");
  if (!existsSync(join(inner, "node_modules.asar"))) {
    symlinkSync("node_modules", join(inner, "node_modules.asar"));
  }
  await npm(home, "rebuild", "argon2");
  put(home, "config.yaml", "bind-addr: 127.0.0.1:0\nauth: none\ncert: false\n");
}

async function packExtensions(): Promise<void> {
  mkdirSync(join(folder, "clients/vscode"), { recursive: true });
  await pack("collab-sample", "1.9.0");
  await pack("collab-sample", "1.10.0");
  await pack("native-sample", "1.0.0", "--target", PLATFORM);
  await pack("native-sample", "1.0.0", "--target", "win32-arm64");
  await pack("trial-sample", "1.0.0");
  await pack("trial-sample", "2.0.0", "--pre-release");
}

let packed = 0;

async function pack(name: string, version: string, ...options: string[]): Promise<void> {
  const source = join(folder, `source-${++packed}`);
  const about = {
    name,
    version,
    publisher: "acme-labs",
    displayName: name,
    engines: { vscode: "^1.80.0" },
    main: "./main.js",
    activationEvents: ["onStartupFinished"],
  };
  put(source, "package.json", JSON.stringify(about));
  put(source, "main.js", "exports.activate = () => {};\n");
  put(source, "README.md", `# ${name}\n`);
  put(source, "LICENSE", "MIT\n");
  put(source, `for-${options[1] ?? "any"}.txt`, "x");
  const out = join(folder, "clients/vscode", `${packed}.vsix`);
  const always = ["--allow-missing-repository", "--no-dependencies", "--out", out];
  await inFolder(source, "npx", "--yes", PACKER, "package", ...always, ...options);
}

function npm(cwd: string, ...args: string[]): Promise<string> {
  return inFolder(cwd, "npm", ...args);
}

/** npm's variables of this run would make it install into this project. */
async function inFolder(cwd: string, command: string, ...args: string[]): Promise<string> {
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(npm_|NODE_ENV|VITEST)/.test(name)),
  );
  const { stdout } = await run(command, args, { cwd, env, maxBuffer: 64 * 1024 * 1024 });
  return stdout;
}

async function codeServer(...args: string[]): Promise<string> {
  const home = join(folder, "code-server");
  const gallery = {
    serviceUrl: `${edge.httpUrl}/clients/vscode/gallery`,
    itemUrl: `${edge.httpUrl}/clients`,
  };
  const { stdout, stderr } = await run(
    process.execPath,
    [
      join(home, "node_modules/code-server/out/node/entry.js"),
      ...["--config", join(home, "config.yaml")],
      ...["--user-data-dir", join(home, "data"), "--extensions-dir", join(home, "extensions")],
      ...args,
    ],
    { cwd: home, env: { ...process.env, EXTENSIONS_GALLERY: JSON.stringify(gallery) } },
  );
  return stdout + stderr;
}

async function installed(): Promise<string[]> {
  const text = await codeServer("--list-extensions", "--show-versions");
  return text.split("\n").filter((line) => line.startsWith("acme-labs."));
}

test("installs the version that is asked for, and updates to the newest by number", async () => {
  await codeServer("--install-extension", "acme-labs.collab-sample@1.9.0");
  expect(await installed()).toEqual(["acme-labs.collab-sample@1.9.0"]);
  await codeServer("--install-extension", "acme-labs.collab-sample", "--force");
  expect(await installed()).toEqual(["acme-labs.collab-sample@1.10.0"]);
});

test("takes the package for its platform", async () => {
  await codeServer("--install-extension", "acme-labs.native-sample");
  expect(await installed()).toContain("acme-labs.native-sample@1.0.0");
  const extensions = join(folder, "code-server/extensions");
  const home = readdirSync(extensions).find((name) => name.startsWith("acme-labs.native-sample"));
  expect(readdirSync(join(extensions, String(home)))).toContain(`for-${PLATFORM}.txt`);
});

test("leaves a newer pre-release where it is", async () => {
  await codeServer("--install-extension", "acme-labs.trial-sample");
  expect(await installed()).toContain("acme-labs.trial-sample@1.0.0");
});

test("says that an unknown extension is not there", async () => {
  await expect(codeServer("--install-extension", "acme-labs.nothing")).rejects.toThrow(
    /not found/i,
  );
});

test("every installation was counted", async () => {
  const authorization = `Basic ${Buffer.from("ops:operator").toString("base64")}`;
  const { body } = await request(`${edge.httpUrl}/clients/downloads.csv`, {
    headers: { authorization },
  });
  const lines = (await body.text()).trimEnd().split("\r\n").slice(1);
  expect(lines.map((line) => line.replace(/^[\d-]+,/, ""))).toEqual([
    "vscode,acme-labs.collab-sample,1.10.0,1",
    "vscode,acme-labs.collab-sample,1.9.0,1",
    "vscode,acme-labs.native-sample,1.0.0,1",
    "vscode,acme-labs.trial-sample,1.0.0,1",
  ]);
});

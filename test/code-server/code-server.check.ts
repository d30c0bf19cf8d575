/**
 * An unmodified code-server installs and updates extensions from an edge, through its balancer, and its extension host sees
 * what the companion extension sets. VS Code's own tool packs the extensions.
 */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
} from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import semver from "semver";
import { request } from "undici";
import { beforeAll, expect, test } from "vitest";
import { COMPANION_ID } from "../../worker/clients/companion/package.ts";
import { launchChromium } from "../support/browser.ts";
import { type EdgeProcess, startEdge } from "../support/edge-process.ts";
import { put } from "../support/plugins.ts";
import { freePort } from "../support/ports.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { until } from "../support/until.ts";

const run = promisify(execFile);

/** The newest version that runs on Node 20. */
const CODE_SERVER = "code-server@4.100.3";
const PACKER = "@vscode/vsce@3.9.2";
const PLATFORM = `${process.platform}-${process.arch}`;

let folder: string;
let edge: EdgeProcess;

beforeAll(async () => {
  folder = tempFolder();
  const operator = { CT_DASHBOARD_USER: "ops", CT_DASHBOARD_PASSWORD: "operator" };
  edge = await startEdge({ env: { ...operator, CT_CLIENTS_DIR: join(folder, "clients") } });
  await installCodeServer();
  await packExtensions();
  await until("everything is offered", async () => {
    const { body } = await request(`${edge.httpUrl}/clients`);
    return ((await body.text()).match(/\.vsix<\/a>/g) ?? []).length === 6;
  });
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
  await pack({ name: "collab-sample", version: "1.9.0" });
  await pack({ name: "collab-sample", version: "1.10.0" });
  await pack({ name: "native-sample" }, ["--target", PLATFORM]);
  await pack({ name: "native-sample" }, ["--target", "win32-arm64"]);
  await pack({ name: "trial-sample" });
  await pack({ name: "trial-sample", version: "2.0.0" }, ["--pre-release"]);
}

let packed = 0;

/** `about`: what its package.json has beside the usual. */
async function pack(
  about: { readonly name: string; readonly version?: string; readonly [field: string]: unknown },
  options: readonly string[] = [],
  { clients = "clients", code = "exports.activate = () => {};\n" } = {},
): Promise<void> {
  const source = join(folder, `source-${++packed}`);
  const usual = {
    version: "1.0.0",
    publisher: "acme-labs",
    displayName: about.name,
    engines: { vscode: "^1.80.0" },
    main: "./main.js",
    activationEvents: ["onStartupFinished"],
  };
  put(source, "package.json", JSON.stringify({ ...usual, ...about }));
  put(source, "main.js", code);
  put(source, "README.md", `# ${about.name}\n`);
  put(source, "LICENSE", "MIT\n");
  put(source, `for-${options[1] ?? "any"}.txt`, "x");
  const out = join(folder, clients, "vscode", `${packed}.vsix`);
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

/** The command of code-server, and its environment with the gallery of an edge. */
function commandLine(base: string, data: string, args: readonly string[]) {
  const home = join(folder, "code-server");
  const gallery = { serviceUrl: `${base}/clients/vscode/gallery`, itemUrl: `${base}/clients` };
  return {
    args: [
      join(home, "node_modules/code-server/out/node/entry.js"),
      ...["--config", join(home, "config.yaml"), "--user-data-dir", join(home, data)],
      ...["--extensions-dir", join(home, data, "extensions"), ...args],
    ],
    options: {
      cwd: home,
      env: { ...process.env, EXTENSIONS_GALLERY: JSON.stringify(gallery) },
    },
  };
}

async function codeServer(...args: string[]): Promise<string> {
  const command = commandLine(edge.httpUrl, "data", args);
  const { stdout, stderr } = await run(process.execPath, command.args, command.options);
  return stdout + stderr;
}

async function installed(): Promise<string[]> {
  const text = await codeServer("--list-extensions", "--show-versions");
  return text.split("\n").filter((line) => line.startsWith("acme-labs."));
}

test("code-server installs the version that is asked for, and updates to the newest by number", async () => {
  await codeServer("--install-extension", "acme-labs.collab-sample@1.9.0");
  expect(await installed()).toEqual(["acme-labs.collab-sample@1.9.0"]);
  await codeServer("--install-extension", "acme-labs.collab-sample", "--force");
  expect(await installed()).toEqual(["acme-labs.collab-sample@1.10.0"]);
});

test("code-server takes the package for its platform", async () => {
  await codeServer("--install-extension", "acme-labs.native-sample");
  expect(await installed()).toContain("acme-labs.native-sample@1.0.0");
  const extensions = join(folder, "code-server/data/extensions");
  const home = readdirSync(extensions).find((name) => name.startsWith("acme-labs.native-sample"));
  expect(readdirSync(join(extensions, String(home)))).toContain(`for-${PLATFORM}.txt`);
});

test("code-server leaves a newer pre-release where it is", async () => {
  await codeServer("--install-extension", "acme-labs.trial-sample");
  expect(await installed()).toContain("acme-labs.trial-sample@1.0.0");
});

test("code-server says that an unknown extension is not there", async () => {
  await expect(codeServer("--install-extension", "acme-labs.nothing")).rejects.toThrow(
    /not found/i,
  );
});

test("every installation by code-server was counted", async () => {
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

// --- the companion ---

/** The settings that Open Collaboration Tools declares. With OCT_VSIX, the extension of that file is used instead. */
const OCT = {
  name: "open-collaboration-tools",
  publisher: "typefox",
  contributes: {
    configuration: {
      properties: {
        "oct.serverUrl": { type: "string", default: "https://public.example.com/" },
        "oct.webClientUrl": { type: "string", default: "https://public.example.com/?room=1" },
      },
    },
  },
};
/** Writes the settings that its extension host sees. */
const READER = `const { workspace } = require("vscode");
exports.activate = () => {
  const oct = workspace.getConfiguration("oct");
  const seen = { serverUrl: oct.get("serverUrl"), webClientUrl: oct.get("webClientUrl") };
  require("node:fs").writeFileSync(process.env.SEEN_FILE, JSON.stringify(seen));
};
`;

test("the companion is installed with the extension that it configures, sets its URLs, and is updated when the edge's URL changes", async () => {
  mkdirSync(join(folder, "with-oct/vscode"), { recursive: true });
  const real = process.env["OCT_VSIX"];
  if (real === undefined) await pack(OCT, [], { clients: "with-oct" });
  else copyFileSync(real, join(folder, "with-oct/vscode/oct.vsix"));
  await pack({ name: "reader" }, [], { clients: "with-oct", code: READER });
  const port = await freePort();
  const first = await installAndSee(`https://localhost:${port}`, port);
  const second = await installAndSee(`https://localhost:${port}/k/blue`, port);
  expect(semver.gt(second, first)).toBe(true);
});

/** Starts an edge with this URL, installs from it, and expects the settings to have it. Resolves with the version. */
async function installAndSee(serverUrl: string, port: number): Promise<string> {
  const dataDir = join(folder, "with-oct-data");
  const other = await startEdge({
    dataDir,
    env: {
      CT_CLIENTS_DIR: join(folder, "with-oct"),
      CT_SERVER_URL: serverUrl,
      CT_TLS_PORT: String(port),
    },
  });
  await until("the companion is offered", async () => {
    const { body } = await request(`${other.httpUrl}/clients`);
    return (await body.text()).includes(`code --install-extension codetogether-edge-companion-`);
  });
  const trust = { NODE_EXTRA_CA_CERTS: join(dataDir, "tls/cert.pem") };
  const edgeCodeServer = async (...args: string[]): Promise<string> => {
    const { args: all, options } = commandLine(serverUrl, "oct", args);
    const env = { ...options.env, ...trust };
    return (await run(process.execPath, all, { ...options, env })).stdout;
  };
  await edgeCodeServer("--install-extension", COMPANION_ID, "--force");
  await edgeCodeServer("--install-extension", "acme-labs.reader", "--force");
  const list = await edgeCodeServer("--list-extensions", "--show-versions");
  expect(list).toMatch(/^typefox\.open-collaboration-tools@/m);
  expect(await seenSettings(serverUrl)).toEqual({
    serverUrl,
    webClientUrl: `${serverUrl}/?room=\${roomId}`,
  });
  await other.stop();
  return /^codetogether-edge\.companion@(\S+)/m.exec(list)?.[1] ?? "";
}

/** Opens code-server in a browser, which starts its extension host. */
async function seenSettings(serverUrl: string): Promise<unknown> {
  const file = join(folder, "seen.json");
  rmSync(file, { force: true });
  const { args, options } = commandLine(serverUrl, "oct", ["--disable-workspace-trust"]);
  const env = { ...options.env, SEEN_FILE: file };
  const server = spawn(process.execPath, args, { ...options, env });
  const ended = once(server, "exit");
  const browser = await launchChromium();
  try {
    let output = "";
    server.stdout.on("data", (chunk: Buffer) => {
      output += chunk.toString();
    });
    const url = await until("it listens", () => /listening on (\S+)/.exec(output)?.[1], 60_000);
    await (await browser.newPage()).goto(url);
    await until("the extension host has started", () => existsSync(file), 60_000);
    return JSON.parse(readFileSync(file, "utf8"));
  } finally {
    await browser.close();
    server.kill();
    await ended;
  }
}

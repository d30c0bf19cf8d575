// Installs missing npm packages. Plain JavaScript without packages, because it runs before they are installed.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const OLDEST_NODE = [20, 19];

/**
 * Ensures that this Node is new enough and that every package of package.json is installed in its exact version. Throws an
 * error whose message is for the operator.
 */
export function installMissing() {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  if (major < OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor < OLDEST_NODE[1])) {
    throw new Error(
      `Node ${process.versions.node} is too old; install ${OLDEST_NODE.join(".")} or later`,
    );
  }
  const missing = missingPackages();
  if (missing.length === 0) return;
  process.stderr.write(`installing ${missing.length} npm packages (once)…\n`);
  // Not `npm ci`: it needs the optional packages of all platforms in the registry, and a mirror may lack some. The lockfile's
  // versions and integrity hashes are still enforced. No package needs its install script.
  const npm = npmCommand([
    ...["install", "--no-save", "--ignore-scripts", "--include=dev"],
    ...["--no-audit", "--no-fund", "--loglevel=error"],
  ]);
  const result = spawnSync(npm.command, npm.args, { cwd: root, stdio: ["ignore", 2, 2] });
  if (result.status !== 0 || missingPackages().length > 0) {
    throw new Error(
      "npm could not install the packages (see above); check the network and try again",
    );
  }
}

function missingPackages() {
  const wanted = readJson(`${root}package.json`);
  const all = Object.entries({ ...wanted.dependencies, ...wanted.devDependencies });
  return all
    .filter(([name, spec]) => installedVersion(name) !== versionOf(spec))
    .map(([name]) => name);
}

/** `npm:NAME@VERSION` is a package that is installed under an alias. */
function versionOf(spec) {
  return spec.startsWith("npm:") ? spec.slice(spec.lastIndexOf("@") + 1) : spec;
}

function installedVersion(name) {
  try {
    return readJson(`${root}node_modules/${name}/package.json`).version;
  } catch {
    return undefined;
  }
}

function npmCommand(args) {
  const cli = process.env["npm_execpath"];
  return cli?.endsWith("npm-cli.js")
    ? { command: process.execPath, args: [cli, ...args] }
    : { command: "npm", args };
}

function readJson(path) {
  return JSON.parse(readFileSync(path, "utf8"));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    installMissing();
  } catch (error) {
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
  }
}

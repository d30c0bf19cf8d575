/**
 * What the image and docker-compose.yml rely on, as far as it shows without a container engine.
 */
import { execFile } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import { openStatusPort } from "../../shared/process/status-port.ts";
import { REMOVED_SETTINGS } from "../../shared/settings/removed-settings.ts";
import { SETTINGS } from "../../shared/settings/settings.ts";
import { buildOnce } from "../support/build.ts";
import { freePort } from "../support/ports.ts";
import { listen } from "../support/servers.ts";
import { tempFolder } from "../support/temp-folder.ts";

beforeAll(() => buildOnce());

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const read = (path: string): string => readFileSync(join(ROOT, path), "utf8");

// --- files ---

test("every variable that compose and the image set is a setting", () => {
  const known = Object.values(SETTINGS).flatMap(({ env }) => [env, `${env}_FILE`]);
  // Compose itself reads these, for a mount and a port.
  const allowed = new Set([...known, "CT_TLS_DIR", "CT_GRAPHITE_PORT"]);
  const used = `${read("docker-compose.yml")}${read("Dockerfile")}`.match(/\bCT_[A-Z_]+/g) ?? [];
  expect(used).not.toEqual([]);
  expect(used.filter((name) => !allowed.has(name))).toEqual([]);
});

test("every variable of the Kubernetes manifests and of the Helm chart is a setting", () => {
  const known = new Set(Object.values(SETTINGS).map(({ env }) => env as string));
  const removed = new Set(Object.values(REMOVED_SETTINGS).map(({ env }) => env as string));
  const used = ["deploy/kubernetes", "deploy/helm"].flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".yaml"))
      .flatMap((file) =>
        [...read(join(folder, file)).matchAll(/\bCT_[A-Z_]+/g)].map(([name]) => ({ file, name })),
      ),
  );
  expect(used).not.toEqual([]);
  // The chart refuses what was removed.
  const isRefused = (file: string, name: string): boolean =>
    file.endsWith("contradictions.yaml") && removed.has(name);
  const unknown = used.filter(({ file, name }) => !known.has(name) && !isRefused(file, name));
  expect(unknown).toEqual([]);
});

test("the image has the paths that operators' scripts look for", () => {
  const image = read("Dockerfile");
  for (const path of [
    "/opt/codetogether/runtime",
    "/opt/codetogether/.forever",
    "ln -s /var/log/codetogether /var/log/nginx",
    "deploy/image/start-codetogether deploy/image/licensing.properties /opt/codetogether/",
    "deploy/image/forever /usr/local/bin/forever",
  ]) {
    expect(image).toContain(path);
  }
  for (const script of ["start-codetogether", "forever"]) {
    expect(statSync(join(ROOT, "deploy/image", script)).mode & 0o111).toBe(0o111);
  }
});

test("the files that the image copies exist and are not excluded by .dockerignore", () => {
  const copied = read("Dockerfile")
    .split("\n")
    .filter((line) => line.startsWith("COPY ") && !line.includes("--from="))
    .flatMap((line) => line.split(" ").slice(1, -1));
  const visible = read(".dockerignore")
    .split("\n")
    .filter((line) => line.startsWith("!"))
    .map((line) => line.slice(1));
  expect([...new Set(copied)].toSorted()).toEqual(visible.toSorted());
  expect(copied.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
});

test("the image has every program of the package under its name", () => {
  const { bin } = JSON.parse(read("package.json")) as { bin: Record<string, string> };
  const links = Object.entries(bin).map(([name, path]) => `/app/${path} /usr/local/bin/${name}`);
  const image = read("Dockerfile");
  expect(links.filter((link) => !image.includes(`ln -s ${link}`))).toEqual([]);
});

test("the image runs as a numeric user, and any other one of group 0 can write what it writes", () => {
  const image = read("Dockerfile");
  // Kubernetes refuses a name with runAsNonRoot.
  expect(image.match(/^USER .*/gm)).toEqual(["USER 1000"]);
  const folders = image.match(/install -d .*/g) ?? [];
  expect(folders).toHaveLength(2);
  for (const folder of folders) expect(folder).toMatch(/-o node -g root -m 077[05] /);
});

// --- the health check ---

test("a program that is ready passes the container's health check", async () => {
  const port = await statusPort([]);
  expect(await checkHealth({ CT_STATUS_PORT: String(port) })).toMatchObject({ status: 0 });
});

test("a program that is not ready is unhealthy, and the health check prints why", async () => {
  const port = await statusPort(["no worker takes new sessions"]);
  const { status, output } = await checkHealth({ CT_STATUS_PORT: String(port) });
  expect(status).toBe(1);
  expect(output).toContain("no worker takes new sessions");
});

test("the health check uses the address of CT_STATUS_BIND", async () => {
  const port = String(await statusPort([], "127.0.0.2"));
  expect(await checkHealth({ CT_STATUS_PORT: port })).toMatchObject({ status: 1 });
  const elsewhere = { CT_STATUS_PORT: port, CT_STATUS_BIND: "127.0.0.2" };
  expect(await checkHealth(elsewhere)).toMatchObject({ status: 0 });
});

test("a program that is gone, hangs or resets connections is unhealthy", async () => {
  const gone = await checkHealth({ CT_STATUS_PORT: String(await freePort()) });
  expect(gone).toEqual({ status: 1, output: expect.stringContaining("ECONNREFUSED") as string });

  const hanging = await rawPort((socket) => socket.resume());
  const hung = await checkHealth({ CT_STATUS_PORT: String(hanging) });
  expect(hung).toEqual({ status: 1, output: "no answer within 2000 ms\n" });

  const resetting = await rawPort((socket) => socket.once("data", () => socket.resetAndDestroy()));
  expect(await checkHealth({ CT_STATUS_PORT: String(resetting) })).toMatchObject({ status: 1 });
});

async function statusPort(notReady: readonly string[], host = "127.0.0.1"): Promise<number> {
  const readiness = () => ({ notReady, degraded: [] });
  const source = { readiness, view: () => ({}), metrics: async () => "" };
  const status = await openStatusPort({ host, port: 0, source });
  onTestFinished(() => status.close());
  return status.port;
}

function rawPort(onSocket: (socket: Socket) => void): Promise<number> {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    onSocket(socket);
  });
  return listen(server);
}

function checkHealth(env: Record<string, string>): Promise<{ status: number; output: string }> {
  return run([join(ROOT, "deploy/healthy.mjs")], env);
}

// --- the secret ---

test("ct-secret makes a secret, and keeps an existing one", async () => {
  const dataDir = tempFolder();
  const path = join(dataDir, "secret");

  const first = await makeSecret(dataDir);
  expect(first).toEqual({ status: 0, output: `the secret is in ${path}\n` });
  const secret = readFileSync(path, "utf8");
  expect(secret).toMatch(/^[\w-]{64}\n$/);

  expect(await makeSecret(dataDir)).toEqual(first);
  expect(readFileSync(path, "utf8")).toBe(secret);
});

test("ct-secret without write access fails with one line that says what to do", async () => {
  const { status, output } = await makeSecret(join(tmpdir(), "no", "such", "folder"));
  expect(status).toBe(1);
  expect(output).toMatch(/^the secret in \S+ cannot be used \(ENOENT[^\n]*CT_SECRET\n$/);
});

function makeSecret(dataDir: string): Promise<{ status: number; output: string }> {
  const program = join(ROOT, "dist/edge/make-secret.js");
  return run([program], { CT_DATA_DIR: dataDir });
}

/** Runs Node; resolves with its status and all that it wrote. */
function run(
  args: readonly string[],
  env: Record<string, string>,
): Promise<{ status: number; output: string }> {
  const options = { cwd: ROOT, env: { PATH: process.env["PATH"], ...env } };
  return new Promise((resolve) => {
    execFile(process.execPath, args, options, (error, stdout, stderr) => {
      const status = error === null ? 0 : Number(error.code ?? -1);
      resolve({ status, output: stdout + stderr });
    });
  });
}

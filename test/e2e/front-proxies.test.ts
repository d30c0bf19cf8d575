/**
 * The configurations of deploy/front/, unchanged except for addresses and the port: nginx and HAProxy in front of two
 * balancers, with unmodified clients.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fetch } from "undici";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import { type Cluster, countersOf, startCluster } from "../support/cluster.ts";
import { hasProgram } from "../support/debian.ts";
import { expectMainJob } from "../support/people.ts";
import { freePort } from "../support/ports.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { until } from "../support/until.ts";

let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster({
    workers: 2,
    balancers: 2,
    env: { CT_TRUSTED_PROXIES: "127.0.0.1" },
  });
});

/** Starts the program with a configuration of deploy/front/, and resolves with its URL. */
async function startFront(
  file: string,
  adapt: (config: string, port: number) => string,
  start: (path: string, folder: string) => [string, string[]],
): Promise<string> {
  const folder = tempFolder();
  const port = await freePort();
  const source = readFileSync(new URL(`../../deploy/front/${file}`, import.meta.url), "utf8");
  const [one, two] = cluster.balancers.map((balancer) => `127.0.0.1:${balancer.port}`);
  const config = adapt(source, port)
    .replace("10.0.0.1:1080", one ?? "")
    .replace("10.0.0.2:1080", two ?? "");
  const path = join(folder, file);
  writeFileSync(path, config);
  const [program, args] = start(path, folder);
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (bytes) => {
      output += String(bytes);
    });
  }
  const exited = once(child, "exit");
  onTestFinished(async () => {
    child.kill("SIGTERM");
    await exited;
  });
  const url = `http://127.0.0.1:${port}`;
  await until(`${program} answers`, async () => {
    if (child.exitCode !== null) throw new Error(output);
    return (await fetch(`${url}/api/meta`)).ok;
  });
  return url;
}

const FRONTS = {
  nginx: () =>
    startFront(
      "nginx.conf",
      (config, port) =>
        config
          .replace("listen 80;", `listen 127.0.0.1:${port};`)
          .replace(
            "http {",
            "daemon off; pid nginx.pid; error_log stderr;\nhttp {\n  access_log off;",
          ),
      (path, folder) => ["nginx", ["-p", folder, "-c", path]],
    ),
  haproxy: () =>
    startFront(
      "haproxy.cfg",
      (config, port) => config.replace("bind :80", `bind 127.0.0.1:${port}`),
      (path) => ["haproxy", ["-db", "-f", path]],
    ),
};

for (const [program, start] of Object.entries(FRONTS)) {
  if (!hasProgram(program, [program], `the main job behind ${program}`)) continue;
  test(`people do the main job behind ${program}`, async () => {
    const baseUrl = await start();
    await Promise.all(Array.from({ length: 4 }, () => expectMainJob(baseUrl, 2)));
    for (const balancer of cluster.balancers) {
      const requests = Object.entries(await countersOf(balancer)).filter(([name]) =>
        name.startsWith("balancer.requests"),
      );
      expect(requests.reduce((sum, [, count]) => sum + count, 0)).toBeGreaterThan(0);
    }
  });
}

/**
 * docker-compose.yml of this project, as an operator works with it: `docker compose` of the machine, in the project's folder.
 * What is set in this process's environment (`CT_PORT`, `DOCKER_HOST`) reaches it.
 */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;

/** Runs `docker compose ARGS`; resolves with what it printed on standard output. */
export async function compose(...args: string[]): Promise<string> {
  return docker("compose", ...args);
}

export async function docker(...args: string[]): Promise<string> {
  const { stdout } = await run("docker", args, { cwd: ROOT, maxBuffer: MAX_OUTPUT_BYTES });
  return stdout;
}

/** `up -d --wait` with so many of each service; in ms how long it took. */
export async function scale(counts: Readonly<Record<string, number>>): Promise<number> {
  const startedMs = performance.now();
  const flags = Object.entries(counts).flatMap(([name, count]) => ["--scale", `${name}=${count}`]);
  await compose("up", "-d", "--wait", "--no-recreate", ...flags);
  return performance.now() - startedMs;
}

/** Ids of the containers of a service that run. */
export async function containersOf(service: string): Promise<string[]> {
  const ids = await compose("ps", "-q", "--status", "running", service);
  return ids
    .trim()
    .split("\n")
    .filter((id) => id !== "");
}

/**
 * Runs this project's docker-compose.yml as an operator does, with the machine's `docker compose`. Variables of this
 * process's environment (`CT_PORT`, `DOCKER_HOST`) are passed on.
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

/** `up -d --wait` with these numbers of each service; resolves with the duration in ms. */
export async function scale(counts: Readonly<Record<string, number>>): Promise<number> {
  const startedMs = performance.now();
  const flags = Object.entries(counts).flatMap(([name, count]) => ["--scale", `${name}=${count}`]);
  await compose("up", "-d", "--wait", "--no-recreate", ...flags);
  return performance.now() - startedMs;
}

/** Ids of the running containers of a service. */
export async function containersOf(service: string): Promise<string[]> {
  const ids = await compose("ps", "-q", "--status", "running", service);
  return ids
    .trim()
    .split("\n")
    .filter((id) => id !== "");
}

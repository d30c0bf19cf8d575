/**
 * Runs every program of the image as a user id that it does not know, with group 0 and a read-only root, as OpenShift's
 * restricted security context constraints do, and plays the main job:
 *
 *     docker compose build
 *     npx tsx test/compose/any-user.ts
 *
 * Needs an engine. First the edge for one machine, then `ct-secret`, two workers and a balancer with Redis. Exits with 1 when a
 * session missed something, or a program did not end on SIGTERM. `CT_PORT` as for compose, 1080 by default.
 */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { fetch } from "undici";
import { until } from "../support/until.ts";
import { docker } from "./compose.ts";

const IMAGE = "codetogether-edge:local";
const NAME = "ct-any-user";
const PORT = (process.env["CT_PORT"] ?? "1080").split("-")[0] ?? "1080";
const EDGE = `http://127.0.0.1:${PORT}`;
const JOB = fileURLToPath(new URL("../support/main-job-at.ts", import.meta.url));
const READY_MS = 60_000;
/** The programs hand over and close connections meanwhile. */
const STOP_SECONDS = "75";

const RESTRICTED = [
  ...["--user", "1000660000:0", "--read-only", "--cap-drop", "ALL"],
  ...["--security-opt", "no-new-privileges", "--network", NAME],
];
const PUBLISHED = ["--publish", `${PORT}:1080`];
const failures: string[] = [];

await clean();
await docker("network", "create", NAME);
try {
  await oneMachine();
  await manyMachines();
} finally {
  await clean();
}
for (const failure of failures) process.stdout.write(`! ${failure}\n`);
process.exitCode = failures.length === 0 ? 0 : 1;

async function oneMachine(): Promise<void> {
  const volumes = [
    ...["--volume", `${NAME}-data:/var/lib/codetogether`],
    ...["--volume", `${NAME}-logs:/var/log/codetogether`],
  ];
  await start("edge", [...volumes, ...PUBLISHED]);
  await play("ct-edge");
  await end("edge");
}

async function manyMachines(): Promise<void> {
  await docker("run", "--detach", "--name", `${NAME}-redis`, "--network", NAME, "redis:7-bookworm");
  const secret = ["--volume", `${NAME}-secret:/secret`];
  const makeSecret = [...RESTRICTED, ...secret, "--env", "CT_DATA_DIR=/secret", IMAGE, "ct-secret"];
  process.stdout.write(await docker("run", "--rm", ...makeSecret));
  const shared = [
    ...["--volume", `${NAME}-secret:/secret:ro`, "--env", "CT_SECRET_FILE=/secret/secret"],
    ...["--env", `CT_REDIS_URL=redis://${NAME}-redis:6379`, "--tmpfs", "/tmp"],
    // As in Kubernetes: a folder in memory, and nothing that outlives the container.
    ...["--tmpfs", "/var/lib/codetogether:mode=0770,gid=0"],
  ];
  for (const name of ["worker-1", "worker-2"]) {
    await start(name, [...shared, "--env", "CT_LOGIN_SIMPLE=true"], "ct-worker");
  }
  await start("balancer", [...shared, ...PUBLISHED], "ct-balancer");
  await play("ct-balancer and two ct-worker");
  for (const name of ["balancer", "worker-1", "worker-2"]) await end(name);
}

async function start(name: string, args: readonly string[], ...program: readonly string[]) {
  await docker(
    "run",
    "--detach",
    "--name",
    `${NAME}-${name}`,
    ...RESTRICTED,
    ...args,
    IMAGE,
    ...program,
  );
}

async function play(what: string): Promise<void> {
  const isReady = async (): Promise<boolean> => {
    const response = await fetch(`${EDGE}/ct-health/`).catch(() => undefined);
    return response?.ok === true;
  };
  try {
    await until(`${what}: ready`, isReady, READY_MS);
    const { stdout } = await promisify(execFile)("npx", ["tsx", JOB, EDGE]);
    process.stdout.write(`${what}: ${stdout}`);
  } catch (error) {
    failures.push(`${what}: ${String(error)}`);
  }
}

async function end(name: string): Promise<void> {
  const container = `${NAME}-${name}`;
  const identity = await docker("exec", container, "id");
  process.stdout.write(`${name}: ${identity}`);
  await docker("stop", "--time", STOP_SECONDS, container);
  const status = (await docker("inspect", "--format", "{{.State.ExitCode}}", container)).trim();
  if (status !== "0") {
    failures.push(
      `${name} ended with ${status}:\n${await docker("logs", "--tail", "20", container)}`,
    );
  }
}

async function clean(): Promise<void> {
  const list = (await docker("ps", "--all", "--quiet", "--filter", `name=^${NAME}-`)).trim();
  if (list !== "") await docker("rm", "--force", "--volumes", ...list.split("\n"));
  const volumes = (await docker("volume", "ls", "--quiet", "--filter", `name=^${NAME}-`)).trim();
  if (volumes !== "") await docker("volume", "rm", ...volumes.split("\n"));
  await docker("network", "rm", "--force", NAME).catch(() => "");
}

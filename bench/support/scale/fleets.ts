/** Edges of several balancers and workers with a Redis of their own, as pairs: the balancers are the proxy, the workers the server. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { request } from "undici";
import { freePort } from "../../../test/support/ports.ts";
import { settle, startRedis, type TestRedis } from "../../../test/support/redis.ts";
import { until } from "../../../test/support/until.ts";
import { CORES, type Program, start } from "../process.ts";
import { dist, type Pair, type PairKind, SECRET, WITHOUT_LIMITS } from "../relay/pairs.ts";

export interface FleetShape {
  readonly name: string;
  readonly workers: number;
  readonly balancers: number;
  /** Of each balancer. */
  readonly processes: number;
}

interface Fleet extends Pair {
  readonly redis: TestRedis;
}

/** For contenders that are measured in turn. */
export function fleetKind(shape: FleetShape): PairKind {
  return {
    name: shape.name,
    install: "",
    version: () => process.version.slice(1),
    start: () => startFleet(shape),
  };
}

/** All of its programs share the measured core; Redis is on the other one. Resolves when all balancers see all workers. */
export async function startFleet(shape: FleetShape): Promise<Fleet> {
  const folder = mkdtempSync(join(tmpdir(), "ct-bench-scale-"));
  const redis = await startRedis({ port: true });
  await settle(redis.admin());
  const common = {
    CT_REDIS_URL: `redis://127.0.0.1:${redis.port}`,
    CT_SECRET: SECRET,
    CT_DATA_DIR: folder,
    CT_BIND: "127.0.0.1",
  };
  const startOne = async (program: "balancer" | "worker", own: Record<string, string>) => {
    const port = await freePort();
    const setting = program === "balancer" ? "CT_PORT" : "CT_WORKER_PORT";
    const command = [process.execPath, dist(program)];
    const env = { ...common, [setting]: String(port), ...own };
    return { port, program: await start({ command, core: CORES?.measured, port, env }) };
  };
  const workers: Program[] = [];
  for (let i = 1; i <= shape.workers; i++) {
    const own = { ...WITHOUT_LIMITS, CT_WORKER_ID: `worker-${i}`, CT_STATUS_PORT: "0" };
    workers.push((await startOne("worker", own)).program);
  }
  const balancers: Program[] = [];
  const ports: number[] = [];
  for (let i = 0; i < shape.balancers; i++) {
    const statusPort = await freePort();
    const own = { CT_PROCESSES: String(shape.processes), CT_STATUS_PORT: String(statusPort) };
    const { port, program } = await startOne("balancer", own);
    balancers.push(program);
    ports.push(port);
    for (let index = 0; index < shape.processes; index++) {
      await until("a balancer sees all workers", () => sees(statusPort + index, shape.workers));
    }
  }
  return {
    name: shape.name,
    placement: "one",
    port: ports[0] ?? 0,
    ports,
    proxy: sumOf(balancers),
    server: sumOf(workers),
    connections: () => Number.NaN,
    redis,
    async end() {
      await Promise.all([...balancers, ...workers].map((program) => program.end()));
      await redis.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function sees(statusPort: number, workers: number): Promise<boolean> {
  const { body } = await request(`http://127.0.0.1:${statusPort}/view`);
  const view = (await body.json()) as { workers: { status?: string }[] };
  return view.workers.filter(({ status }) => status === "healthy").length === workers;
}

/** Several programs as one. */
function sumOf(programs: readonly Program[]): Program {
  const sum = (read: (program: Program) => number): number =>
    programs.reduce((total, program) => total + read(program), 0);
  return {
    pid: programs[0]?.pid ?? 0,
    cpuNs: () => sum((program) => program.cpuNs()),
    privateBytes: () => sum((program) => program.privateBytes()),
    end: async () => void (await Promise.all(programs.map((program) => program.end()))),
  };
}

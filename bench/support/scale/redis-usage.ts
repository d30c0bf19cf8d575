/** What a Redis does for the product: its calls, CPU, bytes and memory, from INFO. */
import { setTimeout as delay } from "node:timers/promises";
import type { Redis } from "ioredis";

interface PerSecond {
  readonly seconds: number;
  /** Scripts: everything that the product asks of Redis. */
  readonly calls: number;
  readonly cpuUs: number;
  /** Sent by Redis. */
  readonly bytes: number;
}

export async function perSecond(admin: Redis, seconds: number): Promise<PerSecond> {
  const before = await readInfo(admin);
  await delay(seconds * 1000);
  const after = await readInfo(admin);
  const took = (after.atMs - before.atMs) / 1000;
  return {
    seconds: took,
    calls: (after.calls - before.calls) / took,
    cpuUs: (after.cpuUs - before.cpuUs) / took,
    bytes: (after.bytes - before.bytes) / took,
  };
}

export async function readInfo(admin: Redis) {
  const text = await admin.info("everything");
  const read = (pattern: RegExp): number => Number(pattern.exec(text)?.[1] ?? 0);
  return {
    atMs: performance.now(),
    calls: read(/cmdstat_evalsha:calls=(\d+)/),
    cpuUs: (read(/used_cpu_sys:([\d.]+)/) + read(/used_cpu_user:([\d.]+)/)) * 1e6,
    bytes: read(/total_net_output_bytes:(\d+)/),
    memoryBytes: read(/used_memory:(\d+)/),
  };
}

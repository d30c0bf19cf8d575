/** The processes of a balancer that was started with CT_PROCESSES. */
import { readFileSync } from "node:fs";
import { fetch } from "undici";
import type { Member } from "./cluster.ts";
import { descendantsOf } from "./processes.ts";
import { until } from "./until.ts";

export interface BalancerProcess {
  readonly number: number;
  readonly pid: number;
  readonly statusPort: number;
}

/** Those that run now and have opened their ports, by their numbers. */
export function processesOf(balancer: Member): BalancerProcess[] {
  const ports = new Map<number, number>();
  for (const [, number, port] of balancer
    .output()
    .matchAll(/ balancer-(\d+) INFO listening .*statusPort=(\d+)/g)) {
    ports.set(Number(number), Number(port));
  }
  return descendantsOf(balancer.child.pid ?? 0)
    .map(({ pid }) => ({ pid, number: numberOf(pid) }))
    .flatMap(({ pid, number }) => {
      const statusPort = ports.get(number);
      return statusPort === undefined ? [] : [{ number, pid, statusPort }];
    })
    .sort((a, b) => a.number - b.number);
}

/** A gauge of a process, from its page of metrics. */
export async function gaugeOf({ statusPort }: BalancerProcess, name: string): Promise<number> {
  const response = await fetch(`http://127.0.0.1:${statusPort}/metrics`);
  const text = await response.text();
  const value = new RegExp(`^codetogether_${name}(?:\\{.*\\})? (\\d+)$`, "m").exec(text)?.[1];
  if (value === undefined) throw new Error(`no metric ${name} in ${text.slice(0, 2000)}`);
  return Number(value);
}

/** Resolves with the process of this number when it has another pid than `before` and answers. */
export function replacementOf(balancer: Member, before: BalancerProcess): Promise<BalancerProcess> {
  return until(`process ${before.number} is replaced`, async () => {
    const found = processesOf(balancer).filter(
      ({ number, pid }) => number === before.number && pid !== before.pid,
    );
    const [fresh] = found;
    if (fresh === undefined || processesOf(balancer).some(({ pid }) => pid === before.pid)) {
      return undefined;
    }
    await gaugeOf(fresh, "balancer_connections");
    return fresh;
  });
}

function numberOf(pid: number): number {
  const environment = readFileSync(`/proc/${pid}/environ`, "latin1").split("\0");
  const setting = environment.find((line) => line.startsWith("CT_PROCESS_NUMBER="));
  return Number(setting?.slice("CT_PROCESS_NUMBER=".length));
}

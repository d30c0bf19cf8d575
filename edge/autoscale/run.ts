/**
 * The loop of `ct-edge autoscale`: asks how many workers are wanted, and starts or stops workers, until it is ended. A step
 * that fails is reported and repeated later; workers that run are never touched because something is not known.
 */
import type { Resource } from "../../shared/autoscale/demand.ts";
import { type Clock, sleep } from "../../shared/base/clock.ts";
import { describeError } from "../../shared/base/errors.ts";
import type { Asked } from "./ask-wish.ts";
import { type Bounds, type Fleet, nextCount, pauseMs } from "./next-count.ts";

/** The workers that the autoscaler starts and stops. */
export interface WorkerFleet {
  /** Their ids. */
  workers(): Promise<readonly string[]>;
  /** Resolves when there are `count`; those that end have handed their sessions over. */
  scale(count: number): Promise<void>;
  ask(): Promise<Asked>;
  /** Lets the next autoscaler begin at once. */
  resign(): Promise<void>;
}

interface AutoscaleDeps {
  readonly fleet: WorkerFleet;
  readonly bounds: Bounds;
  readonly periodMs: number;
  readonly clock: Clock;
  /** Prints one line. */
  readonly print: (line: string) => void;
  readonly isEnded: () => boolean;
}

export async function autoscale(deps: AutoscaleDeps): Promise<void> {
  const { clock, print } = deps;
  let said = "";
  /** What has not changed is said once. */
  const say = (line: string): void => {
    if (line !== said) print(line);
    said = line;
  };
  while (!deps.isEnded()) {
    let restMs = deps.periodMs;
    try {
      await step(deps, say);
    } catch (error) {
      say(`not changed: ${describeError(error)}`);
      restMs = pauseMs(restMs);
    }
    if (!deps.isEnded()) await sleep(clock, restMs);
  }
}

async function step(deps: AutoscaleDeps, say: (line: string) => void): Promise<void> {
  const { fleet, bounds } = deps;
  const asked = await fleet.ask();
  if (asked.outcome === "standby") {
    say("another autoscaler works for this edge; waiting until it ends");
    return;
  }
  const own = await fleet.workers();
  const counted = countFleet(own, asked.outcome === "wish" ? asked.workers : own);
  const wanted = asked.outcome === "wish" ? asked.wish.wanted : undefined;
  const count = nextCount(counted, wanted, bounds);
  if (count === own.length) {
    say(stays(own.length, asked, bounds));
    return;
  }
  const { missing } = counted;
  const but = missing > 0 ? `; ${missing} of ${own.length} take no sessions` : "";
  say(`${own.length} -> ${count} workers: ${reason(asked, bounds)}${but}`);
  await keepAsking(deps, fleet.scale(count));
}

/** Asks on during the change, which may take as long as a drain: an autoscaler that does not ask is taken for ended. */
async function keepAsking(
  { fleet, periodMs, clock }: AutoscaleDeps,
  change: Promise<void>,
): Promise<void> {
  const changed = change.then(() => true);
  const passed = async (): Promise<boolean> => {
    await sleep(clock, periodMs);
    return false;
  };
  while (!(await Promise.race([changed, passed()]))) {
    // The next poll reports what is wrong.
    await fleet.ask().catch(() => {});
  }
}

/** `serving`: the workers of the whole edge that take sessions. */
function countFleet(own: readonly string[], serving: readonly string[]): Fleet {
  const names = new Set(own);
  const others = serving.filter((worker) => !names.has(worker)).length;
  const found = serving.length - others;
  // None at all: these workers have other names than their containers.
  if (found === 0) return { own: own.length, missing: 0, others: Math.max(0, others - own.length) };
  return { own: own.length, missing: own.length - found, others };
}

/** From the autoscaler that works for this edge. */
type Answer = Exclude<Asked, { outcome: "standby" }>;

function stays(own: number, asked: Answer, { min, max }: Bounds): string {
  if (asked.outcome !== "wish") return `${own} workers stay: ${reason(asked, { min, max })}`;
  const { wanted } = asked.wish;
  if (wanted > max && own === max) return `${own} workers: ${wanted} are wanted, --max is ${max}`;
  return `${own} workers`;
}

function reason(asked: Answer, { min, max }: Bounds): string {
  if (asked.outcome === "none") return asked.why;
  const { wanted, by, needs } = asked.wish;
  const need = by === null ? "there is no load" : `now ${NEED[by]} ${needs[by]}`;
  return `${wanted} wanted of ${min} to ${max}; ${need}`;
}

const NEED: Readonly<Record<Resource, string>> = {
  sessions: "sessions need",
  connections: "connections need",
  cpu: "CPU time needs",
  lag: "the event-loop delay needs",
};

/**
 * The plan of one run: the size of the edge, and the faults with their times. Drawn from a seed, printed, and shrunk while it
 * still shows the same failure. The world skips steps that do not apply (an end of something that has ended), so any subset
 * of a plan is a plan.
 */
import { createRandom, type Random } from "./random.ts";

export interface Plan {
  /** Of everything that is not in the plan: latencies, back-off, ids. */
  readonly seed: number;
  readonly workers: number;
  readonly balancers: number;
  /** Clients of each room; the first is its host. */
  readonly rooms: readonly number[];
  readonly steps: readonly Step[];
}

export type Step = { readonly atMs: number } & Action;

/**
 * Machines are `w1`…, `b1`…, `store`, and clients `r1c1`… (room, client). `kill`: SIGKILL. `stop`, `go on`: SIGSTOP and
 * SIGCONT. `terminate`: SIGTERM. `start`: again under the same id, or another one; `at`: at the address of another worker,
 * when that is free. `replace`: another process under the same id, while the first one runs, hangs or is cut off. `cut`,
 * `heal`: one direction between two machines. `store`: `kept` and `lost` start it again with what it knew, or empty.
 * `drop`: the connection of a client ends.
 */
export type Action =
  | { readonly act: "kill" | "stop" | "go on" | "terminate" | "replace"; readonly machine: string }
  | { readonly act: "start"; readonly machine: string; readonly at?: string }
  | { readonly act: "cut" | "heal"; readonly from: string; readonly to: string }
  | { readonly act: "store"; readonly how: "down" | "kept" | "lost" | "flush" }
  | { readonly act: "drop" | "leave" | "vanish"; readonly client: string }
  | { readonly act: "join"; readonly room: string };

/** Faults come in this time, in ms; then everything is made well. */
export const FAULTS_FROM_MS = 1500;
export const FAULTS_UNTIL_MS = 24_000;

export function drawPlan(seed: number): Plan {
  const random = createRandom(seed);
  const workers = random.int(2, 3);
  const balancers = random.int(1, 2);
  const rooms = Array.from({ length: random.int(1, 2) }, () => random.int(1, 3));
  const steps: Step[] = [];
  for (let episodes = random.int(1, 5); episodes > 0; episodes--) {
    steps.push(...drawEpisode(random, { workers, balancers, rooms }));
  }
  steps.sort((a, b) => a.atMs - b.atMs);
  return { seed, workers, balancers, rooms, steps };
}

type Size = Pick<Plan, "workers" | "balancers" | "rooms">;

/** One thing that goes wrong, and mostly its end. */
function drawEpisode(random: Random, size: Size): Step[] {
  const fromMs = Math.round(random.between(FAULTS_FROM_MS, FAULTS_UNTIL_MS - 4000));
  // Leases and windows are a few seconds, so ends shortly before and after them count most.
  const lengthMs = random.oneIn(3) ? random.between(100, 3000) : random.between(3000, 16_000);
  const untilMs = Math.round(Math.min(fromMs + lengthMs, FAULTS_UNTIL_MS));
  const span = (begin: Action, end: Action): Step[] => [
    { atMs: fromMs, ...begin },
    { atMs: untilMs, ...end },
  ];
  const worker = `w${random.int(1, size.workers)}`;
  const balancer = `b${random.int(1, size.balancers)}`;
  const process = random.oneIn(4) ? balancer : worker;
  const client = drawClient(random, size);

  switch (random.int(1, 15)) {
    case 1:
    case 2:
      return span(
        { act: "kill", machine: process },
        {
          act: "start",
          machine: process,
          ...(random.oneIn(3) && { at: otherWorker(random, size) }),
        },
      );
    case 3:
      return [{ atMs: fromMs, act: "kill", machine: process }];
    case 4:
    case 5:
      return span({ act: "stop", machine: process }, { act: "go on", machine: process });
    case 6:
    case 7:
      return cutEpisode(random, process, "store", fromMs, untilMs);
    case 8:
      return cutEpisode(random, worker, balancer, fromMs, untilMs);
    case 9:
      return [
        ...cutEpisode(random, worker, "store", fromMs, untilMs),
        ...cutEpisode(random, balancer, "store", fromMs, untilMs),
      ];
    case 10:
      return span(
        { act: "store", how: "down" },
        { act: "store", how: random.pick(["kept", "lost"]) },
      );
    case 11:
      return random.oneIn(2)
        ? [{ atMs: fromMs, act: "store", how: "flush" }]
        : span({ act: "stop", machine: "store" }, { act: "go on", machine: "store" });
    case 12:
      return random.oneIn(2)
        ? span({ act: "terminate", machine: worker }, { act: "start", machine: worker })
        : [{ atMs: fromMs, act: "start", machine: `w${size.workers + 1}` }];
    case 13:
      return [
        ...(random.oneIn(2)
          ? span({ act: "stop", machine: worker }, { act: "go on", machine: worker })
          : cutEpisode(random, worker, "store", fromMs, untilMs)),
        { atMs: fromMs + random.int(200, 6000), act: "replace", machine: worker },
      ];
    case 14:
      return [{ atMs: fromMs, act: random.pick(["drop", "drop", "leave", "vanish"]), client }];
    default:
      return [{ atMs: fromMs, act: "join", room: client.slice(0, 2) }];
  }
}

/** A partition: both directions, or one. */
function cutEpisode(random: Random, a: string, b: string, fromMs: number, untilMs: number): Step[] {
  const both = [
    [a, b],
    [b, a],
  ] as const;
  const ways = random.oneIn(2) ? both : [random.pick(both)];
  return ways.flatMap(([from, to]): Step[] => [
    { atMs: fromMs, act: "cut", from, to },
    { atMs: untilMs, act: "heal", from, to },
  ]);
}

function drawClient(random: Random, { rooms }: Size): string {
  const room = random.int(1, rooms.length);
  return `r${room}c${random.int(1, rooms[room - 1] ?? 1)}`;
}

function otherWorker(random: Random, size: Size): string {
  return `w${random.int(1, size.workers)}`;
}

// --- for people ---

export function describePlan(plan: Plan): string {
  const { seed, workers, balancers, rooms, steps } = plan;
  const lines = steps.map((step) => `  ${(step.atMs / 1000).toFixed(3)} s  ${describeStep(step)}`);
  return [
    `seed ${seed}: ${workers} workers, ${balancers} balancers, rooms of ${rooms.join(" and ")} clients`,
    ...lines,
  ].join("\n");
}

export function describeStep(step: Action): string {
  switch (step.act) {
    case "start":
      return `start ${step.machine}${step.at === undefined ? "" : ` at the address of ${step.at}`}`;
    case "cut":
    case "heal":
      return `${step.act} ${step.from} -> ${step.to}`;
    case "store":
      return `store ${step.how}`;
    case "drop":
    case "leave":
    case "vanish":
      return `${step.client} ${step.act}s`;
    case "join":
      return `another one joins ${step.room}`;
    case "kill":
    case "stop":
    case "go on":
    case "terminate":
    case "replace":
      return `${step.act} ${step.machine}`;
  }
}

// --- smaller ---

/**
 * The plan with as few steps, clients and processes as still fail, found by leaving out one after the other. `stillFails`
 * runs a plan. Some tens of runs.
 */
export async function shrink(
  plan: Plan,
  stillFails: (smaller: Plan) => Promise<boolean>,
): Promise<Plan> {
  let best = plan;
  for (let hasShrunk = true; hasShrunk; ) {
    hasShrunk = false;
    for (const smaller of smallerOnes(best)) {
      if (!(await stillFails(smaller))) continue;
      best = smaller;
      hasShrunk = true;
      break;
    }
  }
  return best;
}

function* smallerOnes(plan: Plan): Generator<Plan> {
  for (let i = plan.steps.length - 1; i >= 0; i--) {
    yield { ...plan, steps: plan.steps.toSpliced(i, 1) };
  }
  for (let i = plan.rooms.length - 1; i >= 0 && plan.rooms.length > 1; i--) {
    yield { ...plan, rooms: plan.rooms.toSpliced(i, 1) };
  }
  for (const [i, clients] of plan.rooms.entries()) {
    if (clients > 1) yield { ...plan, rooms: plan.rooms.with(i, clients - 1) };
  }
  if (plan.balancers > 1) yield { ...plan, balancers: plan.balancers - 1 };
  if (plan.workers > 1) yield { ...plan, workers: plan.workers - 1 };
}

/** The long haul's figures: a line each minute, a summary with its limits, results and a timeline. */
import type { Result, Timeline } from "../results.ts";
import { summarize } from "../statistics.ts";
import type { Crowd } from "./crowd.ts";
import { DISTURBANCES } from "./disturbances.ts";
import { type Growth, growthOf, lastTwoThirds } from "./growth.ts";
import type { Sample } from "./samples.ts";
import type { Counts, Faults } from "./talker.ts";

/** A disturbance, and how people got over it. */
export interface Handled {
  readonly name: string;
  readonly atMs: number;
  /** Until all processes ran again and all people heard each other. */
  readonly recoveredMs: number;
  /** Sessions without a record in the store half a minute later. */
  readonly unrecorded: number;
  /** Connections that people lost meanwhile, those included that the churn takes. */
  readonly disconnects: number;
}

export interface Soaked {
  readonly minutes: number;
  readonly startMs: number;
  readonly samples: readonly Sample[];
  readonly handled: readonly Handled[];
  readonly atStart: readonly Sample[];
  /** After all clients have left. */
  readonly atEnd: readonly Sample[];
  readonly crowd: Crowd;
  readonly counts: Counts;
  readonly disconnects: number;
}

/** Those that run all the time. */
const STEADY = ["worker-1", "balancer-1"] as const;
const MAX_GROWTH_PERCENT = 10;
/** In less time, code is still being compiled and caches fill. */
const MIN_MINUTES_OF_GROWTH = 5;
/** In a timeline, so that a run of hours has a small file too. */
const MAX_POINTS = 120;

const MEASURES = {
  "private memory": (sample) => sample.privateMib,
  "heap and buffers": (sample) => sample.usedMib,
  descriptors: (sample) => sample.descriptors,
} satisfies Readonly<Record<string, (sample: Sample) => number>>;

type Measure = keyof typeof MEASURES;

function unitOf(measure: Measure): string {
  return measure === "descriptors" ? "descriptors" : "MiB";
}

// --- while it runs ---

/** One line for the latest sample of each process. */
export function printMinute(now: {
  readonly startMs: number;
  readonly crowd: Crowd;
  readonly samples: readonly Sample[];
  readonly handled: readonly Handled[];
}): void {
  const { crowd, handled } = now;
  const { expected, connected, reconnecting } = crowd.counts();
  const latest = [...new Map(now.samples.map((sample) => [sample.name, sample])).values()];
  const seconds = (performance.now() - now.startMs) / 1000;
  const processes = latest
    .map(
      (one) =>
        `${one.name} ${one.privateMib.toFixed(0)}/${one.usedMib.toFixed(0)}/${one.descriptors}`,
    )
    .join("  ");
  say(
    `${seconds.toFixed(0).padStart(5)} s  ${expected} messages, doubled or reordered ${connected.doubled + connected.reordered} (reconnecting ${reconnecting.doubled + reconnecting.reordered}); ` +
      `${crowd.opened} sessions opened, ${crowd.lostSessions.length} lost; ${handled.length} disturbances\n` +
      `         private MiB/heap MiB/descriptors: ${processes}`,
  );
}

// --- at its end ---

export function printSummary(soaked: Soaked): void {
  const { counts, crowd, handled } = soaked;
  say(
    `\n${"disturbance".padEnd(30)}times  until all hear each other, s (median, most)  disconnects`,
  );
  for (const { name, times, recoveredS, disconnects } of summedUp(handled)) {
    const spread = `${recoveredS.median.toFixed(1)}, ${recoveredS.max.toFixed(1)}`;
    say(`${name.padEnd(30)}${String(times).padEnd(7)}${spread.padEnd(46)}${disconnects}`);
  }
  say(
    `\n${crowd.opened} sessions opened (${crowd.repeatedOpenings} openings repeated), ${crowd.lostSessions.length} lost; ` +
      `${unrecorded(soaked)} not in the store; ${soaked.disconnects} connections lost\n` +
      `${counts.expected} messages: ${describe(counts.connected)} between people who stay connected, ` +
      `${describe(counts.reconnecting)} around a reconnect`,
  );
  for (const line of describeLosses(soaked)) say(line);
  for (const name of STEADY) {
    for (const measure of measures()) {
      const { mean, total, percent } = growth(soaked, name, measure);
      say(
        `${name}, ${measure}: mean ${mean.toFixed(1)} ${unitOf(measure)}, growth in the last two thirds ${total.toFixed(1)} (${percent.toFixed(1)} %, limit ${MAX_GROWTH_PERCENT} %)`,
      );
    }
    for (const measure of measures()) {
      const [before, after] = [soaked.atStart, soaked.atEnd].map((all) =>
        figureOf(all, name, measure).toFixed(1),
      );
      say(
        `${name}, ${measure} without clients: ${before} ${unitOf(measure)} at the start, ${after} at the end`,
      );
    }
  }
}

/** Where people who stay connected lost messages: the disturbance, the session, and the nearest end of a connection. */
function describeLosses({ crowd, handled }: Soaked): string[] {
  const counts = new Map<string, number>();
  for (const { sentMs, sinceBreakMs, sessionId } of crowd.losses) {
    const during = handled.filter(({ atMs }) => atMs < sentMs + 1000).at(-1);
    const what = [
      during === undefined
        ? "before the first disturbance"
        : `${inSeconds(sentMs - during.atMs)} after "${during.name}"`,
      `session ${sessionId}`,
      sinceBreakMs === undefined
        ? "neither lost a connection"
        : `${inSeconds(sinceBreakMs)} after a connection's end`,
    ].join(", ");
    counts.set(what, (counts.get(what) ?? 0) + 1);
  }
  return [...counts].map(([what, count]) => `  ${count} lost ${what}`);
}

function inSeconds(ms: number): string {
  return `${(ms / 1000).toFixed(0)} s`;
}

/** What the promises do not allow; empty if all are kept. */
export function failuresOf(soaked: Soaked): string[] {
  const { counts, crowd } = soaked;
  const failures: string[] = [];
  const require = (isKept: boolean, failure: string): void => {
    if (!isKept) failures.push(failure);
  };
  const { lost, doubled, reordered } = counts.connected;
  require(lost + doubled + reordered === 0, `messages: ${describe(counts.connected)}`);
  require(crowd.lostSessions.length === 0, `sessions lost: ${crowd.lostSessions.join(", ")}`);
  require(unrecorded(soaked) === 0, `${unrecorded(soaked)} sessions are not in the store`);
  if (soaked.minutes < MIN_MINUTES_OF_GROWTH) return failures;
  for (const name of STEADY) {
    for (const measure of measures()) {
      const { percent } = growth(soaked, name, measure);
      require(percent <= MAX_GROWTH_PERCENT, `${name}, ${measure}: +${percent.toFixed(1)} %`);
    }
  }
  return failures;
}

export function resultsOf(soaked: Soaked): Result[] {
  const { counts, crowd, handled } = soaked;
  const one = (question: string, unit: string, value: number): Result => ({
    question,
    unit,
    figures: { ours: summarize([value]) },
  });
  const messages = (where: string, faults: Faults): Result[] => [
    one(`messages lost, ${where}`, "messages", faults.lost),
    one(`messages doubled or reordered, ${where}`, "messages", faults.doubled + faults.reordered),
  ];
  return [
    one("duration", "minutes", soaked.minutes),
    one("sessions opened", "sessions", crowd.opened),
    one("sessions lost", "sessions", crowd.lostSessions.length),
    one("sessions missing in the store after a disturbance", "sessions", unrecorded(soaked)),
    one("messages that should arrive", "messages", counts.expected),
    ...messages("people stay connected", counts.connected),
    ...messages("around a reconnect", counts.reconnecting),
    one("connections lost", "connections", soaked.disconnects),
    ...summedUp(handled).flatMap(({ name, times, recoveredS }) => [
      one(name, "times", times),
      { question: `${name}: until all hear each other`, unit: "s", figures: { ours: recoveredS } },
    ]),
    ...measures().flatMap((measure) => growthResults(soaked, measure)),
  ];
}

function growthResults(soaked: Soaked, measure: Measure): Result[] {
  return [
    {
      question: `${measure}, mean of the last two thirds`,
      unit: unitOf(measure),
      figures: byName((name) => growth(soaked, name, measure).mean),
    },
    {
      question: `${measure}, growth in the last two thirds (limit ${MAX_GROWTH_PERCENT})`,
      unit: "%",
      figures: byName((name) => growth(soaked, name, measure).percent),
    },
    {
      question: `${measure} without clients, before`,
      unit: unitOf(measure),
      figures: byName((name) => figureOf(soaked.atStart, name, measure)),
    },
    {
      question: `${measure} without clients, after`,
      unit: unitOf(measure),
      figures: byName((name) => figureOf(soaked.atEnd, name, measure)),
    },
  ];
}

export function timelineOf({ samples, handled, startMs }: Soaked): Timeline {
  const atS = (ms: number): number => Math.round((ms - startMs) / 100) / 10;
  const names = [...new Set(samples.map(({ name }) => name))].sort();
  return {
    marks: handled.map(({ name, atMs }) => ({ atS: atS(atMs), label: name })),
    panels: measures().map((measure) => ({
      title: `${measure[0]?.toUpperCase()}${measure.slice(1)} after a garbage collection`,
      unit: unitOf(measure),
      lines: names.map((name) => ({
        name,
        points: thinned(samples.filter((sample) => sample.name === name)).map((sample) => ({
          atS: atS(sample.atMs),
          value: Math.round(MEASURES[measure](sample) * 10) / 10,
          run: sample.pid,
        })),
      })),
    })),
  };
}

function thinned(samples: readonly Sample[]): Sample[] {
  const every = Math.ceil(samples.length / MAX_POINTS);
  return samples.filter((_, index) => index % every === 0);
}

// --- parts ---

function summedUp(handled: readonly Handled[]) {
  return DISTURBANCES.flatMap(({ name }) => {
    const all = handled.filter((one) => one.name === name);
    if (all.length === 0) return [];
    return [
      {
        name,
        times: all.length,
        recoveredS: summarize(all.map(({ recoveredMs }) => recoveredMs / 1000)),
        disconnects: all.reduce((sum, { disconnects }) => sum + disconnects, 0),
      },
    ];
  });
}

function growth({ samples, startMs }: Soaked, name: string, measure: Measure): Growth {
  const points = samples
    .filter((sample) => sample.name === name)
    .map((sample) => ({
      atS: (sample.atMs - startMs) / 1000,
      value: MEASURES[measure](sample),
      load: sample.load,
    }));
  return growthOf(lastTwoThirds(points));
}

function byName(figure: (name: string) => number): Result["figures"] {
  return Object.fromEntries(STEADY.map((name) => [name, summarize([figure(name)])]));
}

function measures(): Measure[] {
  return Object.keys(MEASURES) as Measure[];
}

function figureOf(samples: readonly Sample[], name: string, measure: Measure): number {
  const sample = samples.find((one) => one.name === name);
  return sample === undefined ? Number.NaN : MEASURES[measure](sample);
}

function unrecorded({ handled }: Soaked): number {
  return handled.reduce((sum, one) => sum + one.unrecorded, 0);
}

function describe({ lost, doubled, reordered }: Faults): string {
  return `${lost} lost, ${doubled} doubled, ${reordered} reordered`;
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

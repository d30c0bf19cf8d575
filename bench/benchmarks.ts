/**
 * All benchmarks, in the order in which `npm run bench` runs their short forms; on a busy machine the last ones may get no time. One declaration here puts a benchmark on the
 * page: its file is bench/NAME.ts and exports `run`, which ends with `writeResults(NAME, …)`; its sizes are those of
 * support/sizes.ts.
 */
import type { DrawnProgram } from "./support/chart.ts";
import type { Result } from "./support/results.ts";
import { OTHER_LOAD } from "./support/rounds.ts";

export interface Benchmark {
  readonly name: string;
  /** How long its short form takes on two cores without other load. All together stay below ten minutes. */
  readonly seconds: number;
  /** Its rows in the page's first table, which has the short forms. Without a unit, all units of the question. */
  readonly headline: readonly { readonly question: string; readonly unit?: string }[];
  /** Draws docs/bench-NAME.svg with the figures of the long form. Timelines are drawn without a declaration. */
  readonly chart?: BarChart;
}

export interface BarChart {
  readonly title: string;
  /** The compared programs; those without figures are left out. */
  readonly programs: (versions: Readonly<Record<string, string>>) => readonly DrawnProgram[];
  readonly isDrawn: (result: Result) => boolean;
}

const DRAWN_OF_SESSIONS = [
  "CPU per delivered message, both",
  "KiB per person who has joined, both",
];
/** support/scale/growing-edge.ts */
const DRAWN_OF_SCALE = ["µs CPU per delivered message, rest subtracted", "% of a core at rest"];
const EDGES = ["1 worker", "2 workers", "4 workers", "8 workers", "8, 2 bal.", "8, 2 proc."];
const CPU = "µs CPU per request";
const NOT_DRAWN = ["small GET, 1,000/s", "small GET with a key, saturated", "20 MiB body"];
const DRAWN_OF_RELAY = [", both", "latency, p50", "latency, p99", "delivered per second"];

export const BENCHMARKS: readonly Benchmark[] = [
  {
    name: "http",
    seconds: 35,
    headline: [
      { question: "small GET, 6,000/s", unit: CPU },
      { question: "1 MiB body", unit: "µs CPU per MiB" },
      {
        question: "WebSocket echo, 96 bytes, 100 connections",
        unit: "µs CPU per message and back",
      },
      { question: "idle WebSocket" },
    ],
    chart: {
      title: "Cost and latency of traffic: median and range of the rounds; shorter is better",
      programs: (versions) => [
        { name: "ours", label: "this balancer", colour: "#2f81f7" },
        newer("nginx", versions, "#3fa45b"),
        newer("HAProxy", versions, "#a371f7"),
        { name: "Caddy", label: `Caddy ${versions["Caddy"]}`, colour: "#d29922" },
        { name: "http-proxy", label: "http-proxy", colour: "#db6d6d" },
      ],
      isDrawn: ({ question, unit }) =>
        !NOT_DRAWN.includes(question) && unit !== "per second" && unit !== OTHER_LOAD,
    },
  },
  {
    name: "relay",
    seconds: 35,
    headline: [
      {
        question: "1 host and 9 guests, 18,000 delivered/s",
        unit: "µs CPU per delivered message, both",
      },
      { question: "WebSocket echo, 100 connections", unit: "µs CPU per message, both" },
    ],
    chart: {
      title:
        "Cost and latency of sessions, proxy and server together: median and range of the rounds",
      programs: () => [
        { name: "ours", label: "this edge", colour: "#2f81f7" },
        { name: "no link", label: "… CT_LINK=off", colour: "#79b8ff" },
        { name: "nginx", label: "nginx", colour: "#3fa45b" },
        { name: "reference", label: "nginx, reference", colour: "#d29922" },
      ],
      isDrawn: ({ unit }) => DRAWN_OF_RELAY.some((part) => unit.endsWith(part)),
    },
  },
  {
    name: "soak",
    seconds: 50,
    headline: [
      { question: "sessions opened" },
      { question: "sessions lost" },
      { question: "messages that should arrive" },
      { question: "messages lost, people stay connected" },
      { question: "messages doubled or reordered, people stay connected" },
    ],
  },
  {
    name: "moves",
    seconds: 50,
    headline: ["rolling: Node, http", "kill: Node, http"].flatMap((part) => [
      { question: `${part}, disconnect events` },
      { question: `${part}, messages lost` },
      { question: `${part}, gap, p99` },
    ]),
  },
  {
    name: "faults",
    seconds: 40,
    headline: [
      { question: "kill: failed requests" },
      { question: "stop: failed requests" },
      { question: "stop: longest wait" },
    ],
  },
  {
    name: "router",
    seconds: 5,
    headline: [
      { question: "a decision, median (limit 2)" },
      { question: "memory of a cached session (limit 300)" },
    ],
  },
  {
    name: "ring",
    seconds: 7,
    headline: [{ question: "10 workers, busiest to mean" }, { question: "10 workers, a lookup" }],
  },
  { name: "audit", seconds: 10, headline: [{ question: "100 events a second" }] },
  {
    name: "alerts",
    seconds: 50,
    headline: [
      { question: "Redis hangs (SIGSTOP): StoreAway" },
      { question: "alerts in 5 s without a fault" },
    ],
  },
  {
    name: "sessions",
    seconds: 10,
    headline: [
      {
        question: "10 × 3 people, 8 edits/s, 480 delivered/s",
        unit: "µs CPU per delivered message, both",
      },
    ],
    chart: {
      title: "Sessions, balancer and worker together: median and range of the rounds",
      programs: () => [
        { name: "ours", label: "this edge", colour: "#2f81f7" },
        { name: "reference", label: "nginx, reference", colour: "#d29922" },
      ],
      isDrawn: ({ unit }) => DRAWN_OF_SESSIONS.some((part) => unit.endsWith(part)),
    },
  },
  {
    name: "scale",
    seconds: 10,
    headline: [{ question: "2,000 sessions in Redis" }],
    chart: {
      title: "Balancer and workers as the edge grows: median and range of the rounds",
      programs: () => EDGES.map((name) => ({ name, label: name, colour: "#2f81f7" })),
      isDrawn: ({ unit }) => DRAWN_OF_SCALE.some((part) => unit.startsWith(part)),
    },
  },
  {
    name: "dashboard",
    seconds: 5,
    headline: [
      { question: "first view, transferred bytes (limit 150)" },
      { question: "first view, until the numbers are shown (limit 1,000)" },
    ],
  },
  {
    name: "downloads",
    seconds: 17,
    headline: [{ question: "20 MiB file, CPU" }, { question: "memory of 200 slow downloads" }],
  },
  {
    name: "tunnels",
    seconds: 20,
    headline: [
      { question: "failed requests (limit 0)" },
      { question: "WebSockets broken (limit 0)" },
    ],
  },
];

/** Of the two versions of a peer the newer one, if it was measured. */
function newer(
  peer: string,
  versions: Readonly<Record<string, string>>,
  colour: string,
): DrawnProgram {
  const name = `${peer}-new` in versions ? `${peer}-new` : peer;
  return { name, label: `${peer} ${versions[name]}`, colour };
}

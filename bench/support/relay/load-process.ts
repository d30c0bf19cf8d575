/**
 * The program of load.ts, a process of its own: people in sessions who send ready-made messages, in an open loop at a fixed
 * rate, or each the next one when its partner's has arrived. It replies to every message of its parent.
 */

import { webcrypto } from "node:crypto";
import { once } from "node:events";
import type { Socket } from "node:net";
import { Worker } from "node:worker_threads";
import { initializeProtocol } from "open-collaboration-protocol";
import { until } from "../../../test/support/until.ts";
import { evenSchedule, type Schedule } from "../schedule.ts";
import { percentile } from "../statistics.ts";
import { nowMs } from "../thread-clock.ts";
import {
  type LoadOutcome,
  type LoadReply,
  type LoadRequest,
  type OpenLoop,
  type OpenSessions,
  PONG,
  type SendOutcome,
  type SendPlan,
  writeMark,
} from "./parts.ts";
import { type Listener, openIdle, openSessions, type Person } from "./people.ts";

/** How long messages may be under way after the last was sent. */
const LAST_MESSAGES_MS = 2000;
/** tsx does not reach into threads by itself. */
const RUN_THREAD = `import("tsx/esm/api").then(({ register }) => {
  register();
  return import(${JSON.stringify(new URL("sender.ts", import.meta.url).href)});
})`;

let people: readonly Person[] = [];
/** How many receive each message. */
let receivers = 1;
let pings: Int32Array = new Int32Array(0);
let onMessage: Listener["onMessage"] = () => {};
/** Whether another thread writes to the connections. */
let isSending = false;
let runs = 0;
let prepared: (() => Promise<LoadOutcome>) | undefined;
const idle: Socket[] = [];

const listener: Listener = {
  onMessage: (person, bytes, markAt) => onMessage(person, bytes, markAt),
  onPing(person) {
    if (isSending) Atomics.store(pings, person, 1);
    return isSending;
  },
  onLost: fail,
};

async function handle(message: LoadRequest): Promise<unknown> {
  switch (message.kind) {
    case "openSessions":
      return await openAll(message);
    case "openIdle":
      idle.push(...(await openIdle(message.port, message.count, fail)));
      return;
    case "prepare":
      prepared = await prepare(message);
      return;
    case "run":
      return await prepared?.();
    case "echo":
      return await echo(message.seconds);
  }
}

async function openAll(options: OpenSessions): Promise<void> {
  initializeProtocol({ cryptoModule: webcrypto as never });
  people = await openSessions(options, listener);
  receivers = options.frames === "broadcast" ? options.people - 1 : 1;
  pings = new Int32Array(new SharedArrayBuffer(4 * people.length));
}

// --- at a fixed rate ---

/** Starts the thread that sends. The returned function lets it send, once. */
async function prepare(options: OpenLoop): Promise<() => Promise<LoadOutcome>> {
  const perSecond = options.deliveredPerSecond / receivers;
  const schedule = evenSchedule(perSecond, options.seconds);
  runs = (runs + 1) & 0xff;
  const plan: SendPlan = {
    // The thread writes to the sockets itself, which needs the undocumented descriptor.
    fds: people.map(({ socket }) => descriptorOf(socket)),
    frames: people.map(({ frame }) => frame.bytes),
    markAt: people.map(({ frame }) => frame.markAt),
    run: runs,
    perSecond,
    seconds: options.seconds,
    start: new Int32Array(new SharedArrayBuffer(4)),
    pings,
  };
  const sender = new Worker(RUN_THREAD, { eval: true, workerData: plan });
  sender.on("error", (error) => fail(error.message));
  await once(sender, "message");
  return () => send(plan, schedule, sender);
}

async function send(plan: SendPlan, schedule: Schedule, sender: Worker): Promise<LoadOutcome> {
  const arrivals = new Arrivals(schedule, receivers, plan.run);
  onMessage = (_person, bytes, markAt) => arrivals.add(bytes, markAt);
  isSending = true;
  const finished = once(sender, "message");
  Atomics.store(plan.start, 0, 1);
  Atomics.notify(plan.start, 0);
  const [{ startMs }] = (await finished) as [SendOutcome];
  isSending = false;
  for (const [person, { socket }] of people.entries()) {
    if (Atomics.exchange(pings, person, 0) === 1) socket.write(PONG);
  }
  // Those that are missing count in the outcome.
  await until("all messages have arrived", () => arrivals.isComplete, LAST_MESSAGES_MS).catch(
    () => {},
  );
  return arrivals.outcome(startMs, plan.seconds);
}

class Arrivals {
  readonly #schedule: Schedule;
  readonly #receivers: number;
  readonly #run: number;
  /** By message: how many have received it. */
  readonly #counts: Uint16Array;
  readonly #messages: Uint32Array;
  readonly #atMs: Float64Array;
  #arrived = 0;

  constructor(schedule: Schedule, receivers: number, run: number) {
    this.#schedule = schedule;
    this.#receivers = receivers;
    this.#run = run;
    this.#counts = new Uint16Array(schedule.count);
    this.#messages = new Uint32Array(schedule.count * receivers);
    this.#atMs = new Float64Array(schedule.count * receivers);
  }

  add(bytes: Buffer, markAt: number): void {
    if (bytes[markAt + 3] !== this.#run) return;
    const message =
      (((bytes[markAt + 4] ?? 0) << 24) |
        ((bytes[markAt + 5] ?? 0) << 16) |
        ((bytes[markAt + 6] ?? 0) << 8) |
        (bytes[markAt + 7] ?? 0)) >>>
      0;
    this.#counts[message] = (this.#counts[message] ?? 0) + 1;
    this.#messages[this.#arrived] = message;
    this.#atMs[this.#arrived] = nowMs();
    this.#arrived++;
  }

  get isComplete(): boolean {
    return this.#arrived >= this.#atMs.length;
  }

  /** Latency counts from the time at which a message was due; what is missing counts with its delay so far. */
  outcome(startMs: number, seconds: number): LoadOutcome {
    const nowAtEnd = nowMs();
    const endMs = startMs + seconds * 1000;
    const latencies: number[] = [];
    let inTime = 0;
    for (let i = 0; i < this.#arrived; i++) {
      const atMs = this.#atMs[i] ?? 0;
      if (atMs <= endMs) inTime++;
      latencies.push(atMs - startMs - this.#schedule.dueMs(this.#messages[i] ?? 0));
    }
    for (const [message, count] of this.#counts.entries()) {
      for (let missing = count; missing < this.#receivers; missing++) {
        latencies.push(nowAtEnd - startMs - this.#schedule.dueMs(message));
      }
    }
    return {
      delivered: this.#arrived,
      inTime,
      expected: this.#atMs.length,
      seconds,
      p50Us: percentile(latencies, 0.5) * 1000,
      p99Us: percentile(latencies, 0.99) * 1000,
    };
  }
}

function descriptorOf(socket: Socket): number {
  return (socket as unknown as { readonly _handle: { readonly fd: number } })._handle.fd;
}

// --- one message of each person under way ---

/** Each person sends a message to its partner, and the next one when the partner's has arrived. */
async function echo(seconds: number): Promise<LoadOutcome> {
  const sentMs = new Float64Array(people.length);
  const latencies: number[] = [];
  let isOver = false;
  let open = 0;
  const say = (person: number): void => {
    const { socket, frame } = people[person] as Person;
    sentMs[person] = nowMs();
    open++;
    socket.write(frame.bytes);
  };
  for (const [person, { frame }] of people.entries()) {
    writeMark(frame.bytes, frame.markAt, 0, person);
  }
  onMessage = (person) => {
    // Partners stand side by side.
    latencies.push(nowMs() - (sentMs[person ^ 1] ?? 0));
    open--;
    if (!isOver) say(person);
  };
  const startMs = nowMs();
  for (const person of people.keys()) say(person);
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  isOver = true;
  const inTime = latencies.length;
  const tookMs = nowMs() - startMs;
  await until("all messages have arrived", () => open === 0, LAST_MESSAGES_MS);
  return {
    delivered: latencies.length,
    inTime,
    expected: latencies.length,
    seconds: tookMs / 1000,
    p50Us: percentile(latencies, 0.5) * 1000,
    p99Us: percentile(latencies, 0.99) * 1000,
  };
}

// --- the parent ---

function fail(reason: string): never {
  process.stderr.write(`${reason}\n`);
  process.exit(1);
}

process.on("message", (message: LoadRequest) => {
  handle(message).then(
    (value) => process.send?.({ value } satisfies LoadReply),
    (error: unknown) => process.send?.({ error: String(error) } satisfies LoadReply),
  );
});
process.once("disconnect", () => process.exit());

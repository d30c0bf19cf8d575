/**
 * The program of paced-load.ts, a process of its own: opens the connections and reads the responses, while paced-thread.ts
 * writes the requests.
 *
 * Messages of the parent: the options, then "go". Messages to the parent: "ready", then the outcome.
 */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { Worker } from "node:worker_threads";
import type { PacedOptions, PacedOutcome } from "./paced-load.ts";
import type { SenderOutcome, Shared } from "./paced-thread.ts";
import { evenSchedule, withUnsent } from "./schedule.ts";
import { percentile } from "./statistics.ts";
import { nowMs } from "./thread-clock.ts";

/** How long requests may be open after the last was sent. */
const LAST_RESPONSES_MS = 2000;
/** tsx does not reach into threads by itself. */
const RUN_THREAD = `import("tsx/esm/api").then(({ register }) => {
  register();
  return import(${JSON.stringify(new URL("paced-thread.ts", import.meta.url).href)});
})`;

await main();

async function main(): Promise<void> {
  const options = await parentMessage<PacedOptions>();
  const sockets = await Promise.all(
    Array.from({ length: options.connections }, () => open(options.port)),
  );
  const shared: Shared = {
    // The other thread writes to the sockets itself, which needs the undocumented descriptor.
    fds: sockets.map(descriptorOf),
    path: options.path ?? "/small",
    perSecond: options.perSecond,
    seconds: options.seconds,
    start: new Int32Array(new SharedArrayBuffer(4)),
    isOpen: new Int32Array(new SharedArrayBuffer(4 * sockets.length)),
    dueAtMs: new Float64Array(new SharedArrayBuffer(8 * sockets.length)),
  };
  const latenciesMs: number[] = [];
  for (const [index, socket] of sockets.entries()) {
    readResponses(socket, () => {
      latenciesMs.push(nowMs() - (shared.dueAtMs[index] ?? Number.NaN));
      Atomics.store(shared.isOpen, index, 0);
    });
  }
  const sender = new Worker(RUN_THREAD, { eval: true, workerData: shared });
  await once(sender, "message");
  process.send?.("ready");
  await parentMessage<"go">();
  Atomics.store(shared.start, 0, 1);
  Atomics.notify(shared.start, 0);
  const [outcome] = (await once(sender, "message")) as [SenderOutcome];
  await closed(shared.isOpen);
  report(latenciesMs, options, outcome);
}

/** Sends the outcome to the parent and ends the process. */
function report(
  latenciesMs: readonly number[],
  options: PacedOptions,
  { sent, startMs, endMs }: SenderOutcome,
): void {
  const schedule = evenSchedule(options.perSecond, options.seconds);
  const all = withUnsent(latenciesMs, schedule, sent, endMs - startMs);
  const outcome: PacedOutcome = {
    operations: latenciesMs.length,
    seconds: (nowMs() - startMs) / 1000,
    p50Us: percentile(all, 0.5) * 1000,
    p99Us: percentile(all, 0.99) * 1000,
  };
  process.send?.(outcome, undefined, undefined, () => process.exit());
}

async function parentMessage<T>(): Promise<T> {
  const [message] = (await once(process, "message")) as [T];
  return message;
}

async function open(port: number): Promise<Socket> {
  const socket = connect({ port, host: "127.0.0.1", noDelay: true });
  await once(socket, "connect");
  return socket;
}

function descriptorOf(socket: Socket): number {
  return (socket as unknown as { readonly _handle: { readonly fd: number } })._handle.fd;
}

/** Calls `onResponse` after each response. Ends the process on any other response than the expected one. */
function readResponses(socket: Socket, onResponse: () => void): void {
  let begun: Buffer | undefined;
  /** All responses are alike. */
  let bodyBytes: number | undefined;
  socket.on("data", (bytes: Buffer) => {
    const response = begun === undefined ? bytes : Buffer.concat([begun, bytes]);
    const end = response.indexOf("\r\n\r\n");
    const head = response.toString("latin1", 0, Math.max(end, 0));
    if (end >= 0) bodyBytes ??= Number(/^content-length: *(\d+)/im.exec(head)?.[1]);
    if (end < 0 || response.length < end + 4 + (bodyBytes ?? 0)) {
      begun = response;
      return;
    }
    begun = undefined;
    if (!head.startsWith("HTTP/1.1 200 ")) fail(response.toString());
    onResponse();
  });
  socket.on("error", ({ message }) => fail(message));
  socket.on("end", () => fail("the connection was closed"));
}

function fail(reason: string): never {
  process.stderr.write(`${reason}\n`);
  process.exit(1);
}

/** Resolves when no request is open; fails when that takes too long. */
async function closed(isOpen: Int32Array): Promise<void> {
  const endMs = nowMs() + LAST_RESPONSES_MS;
  while (isOpen.some((state) => state === 1)) {
    if (nowMs() > endMs) fail("a request was not answered");
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

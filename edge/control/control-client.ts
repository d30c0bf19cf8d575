/**
 * Asks a running edge something over its control socket, and ends one that runs.
 */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { resolve } from "node:path";
import { createInterface } from "node:readline";
import { type Clock, sleep } from "../../shared/base/clock.ts";
import { describeError, EdgeError } from "../../shared/base/errors.ts";
import { readStat } from "../process/process-stat.ts";
import {
  answerSchema,
  type ControlRequest,
  type EdgeState,
  PROGRESS_PERIOD_MS,
  progressSchema,
} from "./control.ts";
import { type EdgeFile, readEdgeFile } from "./edge-file.ts";

/** No edge runs there, or it does not answer. The message says where it was looked for. */
export class EdgeUnreachableError extends EdgeError {
  readonly code = "EDGE_UNREACHABLE";
  readonly source = "internal";
  readonly retryable = true;
}

/** The edge was asked and could not do it; the message is its own. */
export class EdgeRefusedError extends EdgeError {
  readonly code = "EDGE_REFUSED";
  readonly source = "internal";
  readonly retryable = false;
}

const CONNECT_MS = 3000;
/** How soon "how do you stand" is answered; an edge that is stopped or hangs never does. */
const LOOK_MS = 3000;
/** An edge of an older version does not say how a change proceeds: 65 processes, each with 30 s to become ready. */
const SILENT_CHANGE_MS = 65 * 35_000;
/** One that does says so in each of `PROGRESS_PERIOD_MS`, or hangs. */
const PROGRESS_MS = 6 * PROGRESS_PERIOD_MS;
/** An edge ends within 3 s. */
const STOP_MS = 10_000;
const POLL_MS = 50;

/**
 * Calls `onProgress` with each line that says how a change proceeds, when the request asks for them. Rejects with
 * `EdgeUnreachableError` or `EdgeRefusedError`.
 */
export async function askEdge(
  dataDir: string,
  request: ControlRequest,
  onProgress: (line: string) => void = () => {},
): Promise<EdgeState> {
  const { socket, file } = await openDoor(dataDir);
  try {
    const state = await exchange(socket, request, dataDir, onProgress);
    if (request.command === "stop") await ended(socket, file.pid);
    return state;
  } finally {
    socket.destroy();
  }
}

async function openDoor(dataDir: string): Promise<{ socket: Socket; file: EdgeFile }> {
  const file = readEdgeFile(resolve(dataDir));
  if (file === undefined) throw nobodyIn(dataDir, "there is no edge.json");
  const socket = connect(file.controlSocket);
  socket.on("error", () => {});
  try {
    await once(socket, "connect", { signal: AbortSignal.timeout(CONNECT_MS) });
    return { socket, file };
  } catch (error) {
    socket.destroy();
    throw nobodyIn(dataDir, describeError(error));
  }
}

function nobodyIn(dataDir: string, reason: string): EdgeUnreachableError {
  return new EdgeUnreachableError(
    `CT_DATA_DIR=${resolve(dataDir)}: no edge of this user runs there (${reason}); start it, or name the data directory of one that runs`,
  );
}

async function exchange(
  socket: Socket,
  request: ControlRequest,
  dataDir: string,
  onProgress: (line: string) => void,
): Promise<EdgeState> {
  const isQuick = request.command === "ps" || request.command === "stop";
  const lines = createLineQueue(socket);
  socket.write(`${JSON.stringify(request)}\n`);
  for (let withinMs = isQuick ? LOOK_MS : SILENT_CHANGE_MS; ; withinMs = PROGRESS_MS) {
    const line = await lines.next(withinMs);
    if (line === undefined) {
      throw new EdgeUnreachableError(
        `CT_DATA_DIR=${resolve(dataDir)}: its edge does not answer; it hangs, or it has just ended`,
      );
    }
    const message = parseJson(line);
    const progress = progressSchema.safeParse(message).data;
    if (progress === undefined) return stateIn(message);
    if (progress.progress !== null) onProgress(progress.progress);
  }
}

function stateIn(message: unknown): EdgeState {
  const answer = answerSchema.safeParse(message).data;
  if (answer === undefined) {
    throw new EdgeRefusedError(
      "the edge gives an answer that is not understood; use its own ct-edge",
    );
  }
  if (!answer.done) throw new EdgeRefusedError(answer.message);
  return answer.edge;
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

interface LineQueue {
  /** The next line; undefined when the connection ends, or none comes within `withinMs`. */
  next(withinMs: number): Promise<string | undefined>;
}

/** Lines that come together wait for whoever takes them one by one. */
function createLineQueue(socket: Socket): LineQueue {
  const waiting: string[] = [];
  const reader = createInterface({ input: socket });
  reader.on("error", () => {});
  reader.on("line", (line) => waiting.push(line));
  const end = endOf(socket);
  return {
    async next(withinMs) {
      if (waiting.length === 0) {
        const signal = AbortSignal.any([AbortSignal.timeout(withinMs), end]);
        await once(reader, "line", { signal }).catch(() => {});
      }
      return waiting.shift();
    },
  };
}

function endOf(socket: Socket): AbortSignal {
  const abort = new AbortController();
  socket.once("close", () => abort.abort());
  return abort.signal;
}

/** Resolves when the process is gone, of which the end of its connection is the sign. */
async function ended(socket: Socket, pid: number): Promise<void> {
  try {
    await once(socket, "close", { signal: AbortSignal.timeout(STOP_MS) });
  } catch {
    throw new EdgeRefusedError(`the edge (pid ${pid}) has not ended within ${STOP_MS / 1000} s`);
  }
}

/**
 * Ends the edge of `dataDir`, if one runs. It is asked; one that does not answer is killed by its pid, when the system
 * says that it is still the process that wrote it down. Its processes end with it.
 */
export async function endRunningEdge(
  dataDir: string,
  clock: Clock,
): Promise<"none" | "stopped" | "killed"> {
  const file = readEdgeFile(resolve(dataDir));
  if (file === undefined) return "none";
  try {
    await askEdge(dataDir, { command: "stop" });
    await gone(file, clock);
    return "stopped";
  } catch (error) {
    if (!(error instanceof EdgeError)) throw error;
  }
  if (!isSameProcess(file)) return "none";
  process.kill(file.pid, "SIGKILL");
  await gone(file, clock);
  return "killed";
}

function isSameProcess({ pid, started }: EdgeFile): boolean {
  const stat = readStat(pid);
  return stat !== undefined && stat.state !== "Z" && stat.started === started;
}

/** Resolves when the edge and its processes are gone, which hold the ports; they end by themselves when the edge does. */
async function gone(file: EdgeFile, clock: Clock): Promise<void> {
  // Timers of the clock keep no process alive.
  const alive = setInterval(() => {}, 1000);
  const endMs = clock.nowMs() + STOP_MS;
  const children = [file.balancer, ...(file.workers ?? [])].map((child) => child?.pid);
  const isAnyLeft = (): boolean => isSameProcess(file) || children.some(isRunning);
  while (isAnyLeft() && clock.nowMs() < endMs) await sleep(clock, POLL_MS);
  clearInterval(alive);
}

function isRunning(pid: number | undefined): boolean {
  const stat = pid === undefined ? undefined : readStat(pid);
  return stat !== undefined && stat.state !== "Z";
}

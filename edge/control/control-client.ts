/**
 * Sends requests to the control socket of a running edge, and ends a running edge.
 */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { resolve } from "node:path";
import { createInterface } from "node:readline";
import { type Clock, sleep } from "../../shared/base/clock.ts";
import { describeError, EdgeError } from "../../shared/base/errors.ts";
import { parseJson } from "../../shared/base/json.ts";
import { readStat } from "../process/process-stat.ts";
import {
  answerSchema,
  type ControlRequest,
  type EdgeState,
  PROGRESS_PERIOD_MS,
  progressSchema,
} from "./control.ts";
import { type EdgeFile, readEdgeFile } from "./edge-file.ts";

/** No edge runs in the data directory, or it does not answer. The message names the directory. */
class EdgeUnreachableError extends EdgeError {
  readonly code = "EDGE_UNREACHABLE";
}

/** The edge refused or failed; the message is its own. */
class EdgeRefusedError extends EdgeError {
  readonly code = "EDGE_REFUSED";
}

const CONNECT_MS = 3000;
/** For requests that are answered at once; an edge that is suspended or hangs never answers. */
const QUICK_MS = 3000;
/** An edge of an older version sends no progress: 65 processes, each with 30 s to become ready. */
const SILENT_CHANGE_MS = 65 * 35_000;
/** An edge that sends progress does so every `PROGRESS_PERIOD_MS`, or hangs. */
const PROGRESS_MS = 6 * PROGRESS_PERIOD_MS;
/** An edge ends within 3 s. */
const STOP_MS = 10_000;
const POLL_MS = 50;

/**
 * Calls `onProgress` with each progress line, when the request asks for them. Rejects with `EdgeUnreachableError` or
 * `EdgeRefusedError`.
 */
export async function askEdge(
  dataDir: string,
  request: ControlRequest,
  onProgress: (line: string) => void = () => {},
): Promise<EdgeState> {
  const { socket, file } = await openConnection(dataDir);
  try {
    const state = await exchange(socket, request, dataDir, onProgress);
    if (request.command === "stop") await ended(socket, file.pid);
    return state;
  } finally {
    socket.destroy();
  }
}

async function openConnection(dataDir: string): Promise<{ socket: Socket; file: EdgeFile }> {
  const file = readEdgeFile(resolve(dataDir));
  if (file === undefined) throw noEdgeIn(dataDir, "there is no edge.json");
  const socket = connect(file.controlSocket);
  socket.on("error", () => {});
  try {
    await once(socket, "connect", { signal: AbortSignal.timeout(CONNECT_MS) });
    return { socket, file };
  } catch (error) {
    socket.destroy();
    throw noEdgeIn(dataDir, describeError(error));
  }
}

function noEdgeIn(dataDir: string, reason: string): EdgeUnreachableError {
  return new EdgeUnreachableError(
    `CT_DATA_DIR=${resolve(dataDir)}: no running edge of this user (${reason}); start it, or set CT_DATA_DIR to the data directory of a running edge`,
  );
}

async function exchange(
  socket: Socket,
  request: ControlRequest,
  dataDir: string,
  onProgress: (line: string) => void,
): Promise<EdgeState> {
  const isQuick = request.command === "ps" || request.command === "stop";
  const nextLine = linesOf(socket);
  socket.write(`${JSON.stringify(request)}\n`);
  for (let withinMs = isQuick ? QUICK_MS : SILENT_CHANGE_MS; ; withinMs = PROGRESS_MS) {
    const line = await nextLine(withinMs);
    if (line === undefined) {
      throw new EdgeUnreachableError(
        `CT_DATA_DIR=${resolve(dataDir)}: its edge does not answer; it hangs or has just ended`,
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
      "the response of the edge is not understood; use the ct-edge of its version",
    );
  }
  if (!answer.done) throw new EdgeRefusedError(answer.message);
  return answer.edge;
}

/**
 * Returns what waits for the next line; undefined when the connection ends, or none comes within `withinMs`. Lines that arrive
 * together are buffered.
 */
function linesOf(socket: Socket): (withinMs: number) => Promise<string | undefined> {
  const waiting: string[] = [];
  const reader = createInterface({ input: socket });
  reader.on("error", () => {});
  reader.on("line", (line) => waiting.push(line));
  const end = endOf(socket);
  return async (withinMs) => {
    if (waiting.length === 0) {
      const signal = AbortSignal.any([AbortSignal.timeout(withinMs), end]);
      await once(reader, "line", { signal }).catch(() => {});
    }
    return waiting.shift();
  };
}

function endOf(socket: Socket): AbortSignal {
  const abort = new AbortController();
  socket.once("close", () => abort.abort());
  return abort.signal;
}

/** Resolves when the process has ended, which closes its connection. */
async function ended(socket: Socket, pid: number): Promise<void> {
  try {
    await once(socket, "close", { signal: AbortSignal.timeout(STOP_MS) });
  } catch {
    throw new EdgeRefusedError(
      `the edge (pid ${pid}) has not stopped within ${STOP_MS / 1000} s; see its log`,
    );
  }
}

/**
 * Ends the edge of `dataDir`, if one runs. An edge that does not answer is killed by its pid, unless the pid belongs to
 * another process by now. Its processes end with it.
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

/** Resolves when the edge and its processes, which hold the ports, are gone; the processes end when the edge does. */
async function gone(file: EdgeFile, clock: Clock): Promise<void> {
  // The clock's timers are unref'ed: without this one the process would end while it waits.
  const keepAlive = setInterval(() => {}, 1000);
  const endMs = clock.nowMs() + STOP_MS;
  const children = [file.balancer, ...(file.workers ?? [])].map((child) => child?.pid);
  const isAnyLeft = (): boolean => isSameProcess(file) || children.some(isRunning);
  while (isAnyLeft() && clock.nowMs() < endMs) await sleep(clock, POLL_MS);
  clearInterval(keepAlive);
}

function isRunning(pid: number | undefined): boolean {
  const stat = pid === undefined ? undefined : readStat(pid);
  return stat !== undefined && stat.state !== "Z";
}

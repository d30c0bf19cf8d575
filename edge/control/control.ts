/**
 * The control socket of a running edge, for programs of the same user on the same machine: a Unix socket (0600, in a folder
 * 0700). A client sends one request as a line of JSON and gets one response as a line of JSON, preceded by progress lines
 * when it asks for them. A change that has begun continues when its client is gone.
 */
import { createServer, type Socket } from "node:net";
import { createInterface } from "node:readline";
import { z } from "zod";
import type { Clock } from "../../shared/base/clock.ts";
import { describeError, EdgeError } from "../../shared/base/errors.ts";
import { readJson } from "../../shared/base/json.ts";
import { ignoreProgress, type Progress } from "../../shared/children/child.ts";
import type { Log } from "../../shared/logs/log.ts";
import { listenPrivately, removeSocket } from "../../shared/store/embedded/data-dir.ts";
import { listedProcessSchema } from "../process/process-list.ts";

export const MAX_WORKERS = 64;

const requestSchema = z.discriminatedUnion("command", [
  z.object({ command: z.literal("ps") }),
  /** One process, or without a name all of them in turn. */
  z.object({
    command: z.literal("restart"),
    name: z.string().optional(),
    progress: z.boolean().optional(),
  }),
  z.object({
    command: z.literal("scale"),
    workers: z.number().int().min(1).max(MAX_WORKERS),
    progress: z.boolean().optional(),
  }),
  /** Reloads certificates and reopens logs. */
  z.object({ command: z.literal("reload") }),
  /** Stops the whole edge. The connection closes when the process has ended. */
  z.object({ command: z.literal("stop") }),
]);

export type ControlRequest = z.infer<typeof requestSchema>;

/** The state of the edge after the request. */
const stateSchema = z.object({
  pid: z.number(),
  version: z.string(),
  uptimeMs: z.number(),
  dataDir: z.string(),
  logFile: z.string(),
  processes: z.array(listedProcessSchema),
});
export type EdgeState = z.infer<typeof stateSchema>;

export const answerSchema = z.union([
  z.object({ done: z.literal(true), edge: stateSchema }),
  z.object({ done: z.literal(false), message: z.string() }),
]);
type ControlAnswer = z.infer<typeof answerSchema>;

/** A line before the response; null is a keep-alive. */
export const progressSchema = z.object({ progress: z.string().nullable() });

export interface Control {
  readonly socketPath: string;
  close(): void;
}

/** Interval of keep-alive lines while a change is under way. */
export const PROGRESS_PERIOD_MS = 5000;
const MAX_REQUEST_CHARS = 4096;
const MAX_CONNECTIONS = 64;

interface ControlDeps {
  readonly dataDir: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Does what is requested and returns the state then. The message of an error goes to the client. */
  readonly serve: (request: ControlRequest, progress: Progress) => Promise<EdgeState>;
}

export async function openControl(deps: ControlDeps): Promise<Control> {
  const server = createServer((socket) => {
    socket.on("error", () => socket.destroy());
    readLine(socket, (line) => {
      const sendProgress: SendProgress = (progress) => {
        if (!socket.destroyed) socket.write(`${JSON.stringify({ progress })}\n`);
      };
      void respondTo(line, deps, sendProgress).then((response) => {
        const text = `${JSON.stringify(response.answer)}\n`;
        // The client of a `stop` waits for the end of the process, which closes the connection.
        if (response.keepOpen) socket.write(text);
        else socket.end(text);
      });
    });
  });
  server.maxConnections = MAX_CONNECTIONS;
  const socketPath = await listenPrivately(server, deps.dataDir, "control");
  return {
    socketPath,
    close() {
      // Open connections stay: the client of a `stop` waits for the end of the process.
      server.close();
      removeSocket(socketPath);
    },
  };
}

function readLine(socket: Socket, onLine: (line: string) => void): void {
  let chars = 0;
  socket.on("data", (bytes: Buffer) => {
    chars += bytes.length;
    if (chars > MAX_REQUEST_CHARS) socket.destroy();
  });
  const lines = createInterface({ input: socket });
  lines.on("error", () => {});
  lines.once("line", onLine);
}

async function respondTo(
  line: string,
  deps: ControlDeps,
  sendProgress: SendProgress,
): Promise<{ answer: ControlAnswer; keepOpen: boolean }> {
  const request = readJson(requestSchema, line);
  if (request === undefined) {
    const message = "the edge does not know this request; use the ct-edge of its version";
    return { answer: { done: false, message }, keepOpen: false };
  }
  if (request.command !== "ps") deps.log.info({ ...request }, "request of an operator");
  const wantsProgress = "progress" in request && request.progress === true;
  const keepAlive = wantsProgress
    ? deps.clock.every(PROGRESS_PERIOD_MS, () => sendProgress(null))
    : undefined;
  try {
    const edge = await deps.serve(request, wantsProgress ? sendProgress : ignoreProgress);
    return { answer: { done: true, edge }, keepOpen: request.command === "stop" };
  } catch (error) {
    if (!(error instanceof EdgeError))
      deps.log.error({ err: error }, "an operator's request failed");
    return { answer: { done: false, message: describeError(error) }, keepOpen: false };
  } finally {
    keepAlive?.cancel();
  }
}

type SendProgress = (line: string | null) => void;

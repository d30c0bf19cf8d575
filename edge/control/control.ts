/**
 * The door to a running edge for programs of its own user on its own machine: a Unix socket (0600, in a folder 0700). One
 * request as a line of JSON, one answer as a line of JSON, then the end. Before the answer, a request that asks for it gets
 * lines that say how it proceeds. A change that has begun goes on when whoever asked for it is gone.
 */
import { createServer, type Socket } from "node:net";
import { createInterface } from "node:readline";
import { z } from "zod";
import type { Clock } from "../../shared/base/clock.ts";
import { describeError, EdgeError } from "../../shared/base/errors.ts";
import type { Log } from "../../shared/logs/log.ts";
import { listenPrivately, removeSocket } from "../../shared/store/embedded/data-dir.ts";
import { ignoreProgress, type Progress } from "../process/child.ts";
import { listedProcessSchema } from "../process/process-list.ts";

export const MAX_WORKERS = 64;

const requestSchema = z.discriminatedUnion("command", [
  z.object({ command: z.literal("ps") }),
  /** One process, or all of them in turn. */
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
  /** Certificates and logs. */
  z.object({ command: z.literal("reload") }),
  /** The edge as a whole. The connection ends when it has ended. */
  z.object({ command: z.literal("stop") }),
]);

export type ControlRequest = z.infer<typeof requestSchema>;

/** What is true after the request was done. */
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
export type ControlAnswer = z.infer<typeof answerSchema>;

/** A line before the answer; null: the edge lives, and there is nothing new. */
export const progressSchema = z.object({ progress: z.string().nullable() });

export interface Control {
  readonly socketPath: string;
  close(): void;
}

/** Who waits for a change is told this often that it is still under way. */
export const PROGRESS_PERIOD_MS = 5000;
/** A request is a few words. */
const MAX_REQUEST_CHARS = 4096;
const MAX_CONNECTIONS = 64;

interface ControlNeeds {
  readonly dataDir: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Does what is asked and says how things stand then. What it throws is told to the caller. */
  readonly serve: (request: ControlRequest, progress: Progress) => Promise<EdgeState>;
}

export async function openControl(needs: ControlNeeds): Promise<Control> {
  const server = createServer((socket) => {
    socket.on("error", () => socket.destroy());
    readLine(socket, (line) => {
      const say: SayProgress = (progress) => {
        if (!socket.destroyed) socket.write(`${JSON.stringify({ progress })}\n`);
      };
      void answerTo(line, needs, say).then((answer) => {
        const text = `${JSON.stringify(answer.reply)}\n`;
        // Whoever asked for the end waits for it: the connection closes with the process.
        if (answer.keepOpen) socket.write(text);
        else socket.end(text);
      });
    });
  });
  server.maxConnections = MAX_CONNECTIONS;
  const socketPath = await listenPrivately(server, needs.dataDir, "control");
  return {
    socketPath,
    close() {
      // Whoever asked for the end goes on waiting for that of the process.
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

async function answerTo(
  line: string,
  needs: ControlNeeds,
  say: SayProgress,
): Promise<{ reply: ControlAnswer; keepOpen: boolean }> {
  const request = parseRequest(line);
  if (request === undefined) {
    const message = "the edge does not know this request; it may be of another version";
    return { reply: { done: false, message }, keepOpen: false };
  }
  if (request.command !== "ps") needs.log.info({ ...request }, "asked by an operator");
  const wantsProgress = "progress" in request && request.progress === true;
  const alive = wantsProgress ? needs.clock.every(PROGRESS_PERIOD_MS, () => say(null)) : undefined;
  try {
    const edge = await needs.serve(request, wantsProgress ? say : ignoreProgress);
    return { reply: { done: true, edge }, keepOpen: request.command === "stop" };
  } catch (error) {
    if (!(error instanceof EdgeError)) needs.log.error({ err: error }, "a request failed");
    return { reply: { done: false, message: describeError(error) }, keepOpen: false };
  } finally {
    alive?.cancel();
  }
}

type SayProgress = (line: string | null) => void;

function parseRequest(line: string): ControlRequest | undefined {
  try {
    return requestSchema.safeParse(JSON.parse(line)).data;
  } catch {
    return undefined;
  }
}

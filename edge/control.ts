/**
 * The door to a running edge for programs of its own user on its own machine: a Unix socket (0600, in a folder 0700). One
 * request as a line of JSON, one answer as a line of JSON, then the end.
 */
import { createServer, type Socket } from "node:net";
import { createInterface } from "node:readline";
import { z } from "zod";
import { describeError, EdgeError } from "../shared/errors.ts";
import type { Log } from "../shared/log.ts";
import { listenPrivately, removeSocket } from "../shared/store/embedded/data-dir.ts";
import { listedProcessSchema } from "./process-list.ts";

export const MAX_WORKERS = 64;

const requestSchema = z.discriminatedUnion("command", [
  z.object({ command: z.literal("ps") }),
  /** One process, or all of them in turn. */
  z.object({ command: z.literal("restart"), name: z.string().optional() }),
  z.object({ command: z.literal("scale"), workers: z.number().int().min(1).max(MAX_WORKERS) }),
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

export interface Control {
  readonly socketPath: string;
  close(): void;
}

/** A request is a few words. */
const MAX_REQUEST_CHARS = 4096;
const MAX_CONNECTIONS = 64;

export async function openControl(needs: {
  readonly dataDir: string;
  readonly log: Log;
  /** Does what is asked and says how things stand then. What it throws is told to the caller. */
  readonly serve: (request: ControlRequest) => Promise<EdgeState>;
}): Promise<Control> {
  const server = createServer((socket) => {
    socket.on("error", () => socket.destroy());
    readLine(socket, (line) => {
      void answerTo(line, needs).then((answer) => {
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
  needs: {
    readonly log: Log;
    readonly serve: (request: ControlRequest) => Promise<EdgeState>;
  },
): Promise<{ reply: ControlAnswer; keepOpen: boolean }> {
  const request = parseRequest(line);
  if (request === undefined) {
    const message = "the edge does not know this request; it may be of another version";
    return { reply: { done: false, message }, keepOpen: false };
  }
  if (request.command !== "ps") needs.log.info({ ...request }, "asked by an operator");
  try {
    const edge = await needs.serve(request);
    return { reply: { done: true, edge }, keepOpen: request.command === "stop" };
  } catch (error) {
    if (!(error instanceof EdgeError)) needs.log.error({ err: error }, "a request failed");
    return { reply: { done: false, message: describeError(error) }, keepOpen: false };
  }
}

function parseRequest(line: string): ControlRequest | undefined {
  try {
    return requestSchema.safeParse(JSON.parse(line)).data;
  } catch {
    return undefined;
  }
}

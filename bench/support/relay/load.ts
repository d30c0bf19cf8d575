/** People in sessions as a load, in a process of its own on the core of everything that is not measured. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { CORES } from "../process.ts";
import type { LoadOutcome, LoadReply, LoadRequest, OpenLoop, OpenSessions } from "./parts.ts";

export interface Load {
  openSessions(options: OpenSessions): Promise<void>;
  /** Opens connections without people. */
  openIdle(port: number, count: number): Promise<void>;
  /** The returned function sends messages at a fixed rate, once. */
  prepare(options: OpenLoop): Promise<() => Promise<LoadOutcome>>;
  /** Each person sends its partner a message, and the next one when the partner's has arrived. */
  echo(seconds: number): Promise<LoadOutcome>;
  close(): Promise<void>;
}

const PROGRAM = fileURLToPath(new URL("load-process.ts", import.meta.url));

export function startLoad(): Load {
  const command = [process.execPath, "--import", "tsx", PROGRAM];
  const pinned = CORES === null ? command : ["taskset", "-c", CORES.others, ...command];
  const [file = "", ...args] = pinned;
  const child = spawn(file, args, { stdio: ["ignore", "inherit", "pipe", "ipc"] });
  // Not "close", which does not follow a disconnect by the parent.
  const ended = once(child, "exit");
  const call = createCalls(child);
  return {
    openSessions: async (options) => void (await call({ kind: "openSessions", ...options })),
    openIdle: async (port, count) => void (await call({ kind: "openIdle", port, count })),
    async prepare(options) {
      await call({ kind: "prepare", ...options });
      return async () => (await call({ kind: "run" })) as LoadOutcome;
    },
    echo: async (seconds) => (await call({ kind: "echo", seconds })) as LoadOutcome,
    async close() {
      if (child.connected) child.disconnect();
      await ended;
    },
  };
}

/** One request at a time; rejects with what the process wrote when it has ended. */
function createCalls(child: ChildProcess): (request: LoadRequest) => Promise<unknown> {
  let output = "";
  child.stderr?.on("data", (bytes: Buffer) => {
    output = (output + bytes.toString()).slice(-4000);
  });
  return (request) =>
    new Promise((resolve, reject) => {
      const onClose = (): void => reject(new Error(`the load has ended: ${output}`));
      child.once("close", onClose);
      child.once("message", ({ value, error }: LoadReply) => {
        child.off("close", onClose);
        if (error === undefined) resolve(value);
        else reject(new Error(error));
      });
      child.send(request);
    });
}

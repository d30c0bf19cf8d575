/**
 * An embedded store in a separate process, for tests that kill it. This file is both the program, which serves the data
 * directory in its argument, and the module that starts it.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { systemClock } from "../../shared/base/clock.ts";
import { describeError } from "../../shared/base/errors.ts";
import { createLog } from "../../shared/logs/log.ts";
import { startStoreServer } from "../../shared/store/embedded/server.ts";
import { atEnd } from "./at-end.ts";

export interface StoreProcess {
  readonly child: ChildProcess;
  readonly pid: number;
  readonly socketPath: string;
  readonly lines: readonly string[];
  end(signal: "SIGKILL" | "SIGTERM"): Promise<void>;
}

/** Starts a store, which is killed at the end. Rejects with its message if it does not start. */
export async function startStoreProcess(dataDir: string): Promise<StoreProcess> {
  const child = spawn(
    process.execPath,
    ["--import", "tsx", fileURLToPath(import.meta.url), dataDir],
    {
      stdio: ["ignore", "pipe", "inherit"],
    },
  );
  const ended = once(child, "exit");
  async function end(signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    child.kill(signal);
    await ended;
  }
  atEnd(() => end("SIGKILL"));
  const lines: string[] = [];
  const output = createInterface({ input: child.stdout });
  const socketPath = await new Promise<string>((resolve, reject) => {
    output.on("line", (line) => {
      const [word, rest] = [line.slice(0, line.indexOf(" ")), line.slice(line.indexOf(" ") + 1)];
      if (word === "READY") resolve(rest);
      else if (word === "FAILED") reject(new Error(rest));
      else lines.push(line);
    });
    output.on("close", () => reject(new Error("the store exited during its start")));
  });
  return {
    child,
    pid: child.pid ?? 0,
    socketPath,
    lines,
    end,
  };
}

async function main(dataDir: string): Promise<void> {
  const log = createLog({ name: "store", level: "info", format: "text", sink: process.stdout });
  try {
    const server = await startStoreServer({ dataDir, clock: systemClock, log });
    process.once("SIGTERM", () => {
      server.close().then(
        () => process.exit(0),
        () => process.exit(1),
      );
    });
    process.stdout.write(`READY ${server.socketPath}\n`);
  } catch (error) {
    process.stdout.write(`FAILED ${describeError(error)}\n`);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main(process.argv[2] ?? "");

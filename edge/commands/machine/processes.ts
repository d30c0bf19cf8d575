/**
 * `ct-edge restart`, `stop`, `scale` and `reload`: requests to the supervisor of this machine's edge.
 */
import { type Command, Option } from "commander";
import { type ControlRequest, MAX_WORKERS } from "../../control/control.ts";
import { askEdge } from "../../control/control-client.ts";
import { createEdgeCommand, type Output, wholeNumber } from "../command.ts";
import { showProcesses } from "./ps.ts";

/** The exit status that shells give a program that ended by SIGINT. */
const INTERRUPTED = 130;

export function processCommands(): Command[] {
  return [restartCommand(), stopCommand(), scaleCommand(), reloadCommand()];
}

function restartCommand(): Command {
  return createEdgeCommand({
    name: "restart",
    description:
      "Restarts one process, or all of them in turn; workers hand their sessions over first.",
    args: { "[process]": "Its id in `ct-edge ps`: balancer, worker-1." },
    async run(dataDir, _flags, name) {
      const target = name === undefined ? {} : { name };
      return requestChange(dataDir, { command: "restart", ...target, progress: true });
    },
  });
}

function stopCommand(): Command {
  return createEdgeCommand({
    name: "stop",
    description:
      "Stops the edge on this machine; its sessions continue when it is started again within 20 s.",
    async run(dataDir) {
      const { pid } = await askEdge(dataDir, { command: "stop" });
      return { out: `The edge (pid ${pid}) has stopped.\n` };
    },
  });
}

function scaleCommand(): Command {
  return createEdgeCommand<{ readonly workerCount: number }>({
    name: "scale",
    description:
      "Changes the number of workers until the edge is started again; workers that end hand their sessions over first.",
    options: [
      new Option("--worker-count <number>", `The number of workers, 1 to ${MAX_WORKERS}.`)
        .makeOptionMandatory()
        .argParser(wholeNumber(1, MAX_WORKERS)),
    ],
    async run(dataDir, { workerCount }) {
      return requestChange(dataDir, { command: "scale", workers: workerCount, progress: true });
    },
  });
}

/** Waits until the change is done. Prints its progress on standard error, and the processes after it on standard output. */
async function requestChange(dataDir: string, request: ControlRequest): Promise<Output> {
  process.once("SIGINT", () => {
    process.stderr.write(
      `ct-edge: the edge continues with the ${request.command}; \`ct-edge ps\` shows its processes\n`,
    );
    process.exit(INTERRUPTED);
  });
  const state = await askEdge(dataDir, request, (line) => process.stderr.write(`${line}\n`));
  return { out: showProcesses(state) };
}

function reloadCommand(): Command {
  return createEdgeCommand({
    name: "reload",
    description:
      "Reopens logs and reloads certificates, as SIGHUP does; for logrotate and renewals.",
    async run(dataDir) {
      await askEdge(dataDir, { command: "reload" });
      return { out: "" };
    },
  });
}

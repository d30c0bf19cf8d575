/** The two fleets that `ct-edge autoscale` can change: the edge of this machine, and a compose project. */
import { spawn } from "node:child_process";
import { describeError, EdgeError } from "../../shared/base/errors.ts";
import type { Settings } from "../../shared/settings/read-settings.ts";
import type { Store } from "../../shared/store/store.ts";
import { askEdge } from "../control/control-client.ts";
import { CommandError } from "../output/errors.ts";
import { type Asked, askedSchema, askWish } from "./ask-wish.ts";
import type { WorkerFleet } from "./run.ts";

/** Changed by the supervisor, which also starts workers again that have failed. */
export function machineFleet(deps: {
  readonly store: Store;
  readonly settings: Pick<Settings, "dataDir" | "autoscaleToken">;
  readonly holder: string;
  readonly periodMs: number;
  readonly print: (line: string) => void;
}): WorkerFleet {
  const { dataDir, autoscaleToken } = deps.settings;
  const processes = async () => (await askEdge(dataDir, { command: "ps" })).processes;
  return {
    async workers() {
      return (await processes()).filter(({ role }) => role === "worker").map(({ id }) => id);
    },
    async scale(count) {
      await askEdge(dataDir, { command: "scale", workers: count, progress: true }, deps.print);
    },
    async ask() {
      const balancer = (await processes()).find(({ role }) => role === "balancer");
      const port = balancer?.statusPort;
      if (typeof port !== "number") return { outcome: "none", why: "the balancer does not run" };
      const statusUrl = `http://127.0.0.1:${port}`;
      return askWish({ ...deps, statusUrl, token: autoscaleToken });
    },
  };
}

/** Of a container's status port. */
const STATUS_PORT = 1081;
/** `docker compose` did not do what it was asked for; the message is its own. */
class ComposeError extends EdgeError {
  readonly code = "EDGE_COMPOSE";
  readonly source = "internal";
  readonly retryable = true;
}

/**
 * Runs `docker compose` in `folder`, on the host: no container gets the engine's socket. Questions are asked by `ct-edge` in
 * the balancer's container, which reaches the store and knows the token.
 */
export function composeFleet(deps: {
  readonly folder: string;
  readonly holder: string;
  readonly periodMs: number;
  /** The program; `docker` by default. */
  readonly docker?: string;
}): WorkerFleet {
  const compose = (...args: readonly string[]): Promise<string> =>
    run(deps.docker ?? "docker", ["compose", ...args], deps.folder);
  return {
    async workers() {
      return lines(await compose("ps", "--quiet", "worker")).map((id) => id.slice(0, 12));
    },
    async scale(count) {
      const scale = ["--scale", `worker=${count}`, "worker"];
      await compose("up", "--detach", "--no-deps", "--no-recreate", ...scale);
    },
    async ask() {
      const every = String(Math.ceil(deps.periodMs / 1000));
      const inside = ["ct-edge", "autoscale", "--ask", deps.holder, "--every", every];
      const answer = await compose("exec", "--no-TTY", "balancer", ...inside);
      const asked = askedSchema.safeParse(JSON.parse(answer)).data;
      if (asked === undefined) {
        throw new CommandError("the balancer's image has another version; build it again");
      }
      return asked;
    },
  };
}

/** What a run in the balancer's container prints for `composeFleet`. */
export function askInContainer(
  store: Store,
  { autoscaleToken: token }: Pick<Settings, "autoscaleToken">,
  { holder, periodMs }: { readonly holder: string; readonly periodMs: number },
): Promise<Asked> {
  const port = process.env["CT_STATUS_PORT"] || STATUS_PORT;
  return askWish({ store, holder, periodMs, token, statusUrl: `http://127.0.0.1:${port}` });
}

function lines(text: string): string[] {
  return text.split("\n").filter((line) => line !== "");
}

/** Its standard output. Rejects with `ComposeError` and the end of its standard error. */
function run(command: string, args: readonly string[], cwd: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, stdio: ["ignore", "pipe", "pipe"] });
    let out = "";
    let problem = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      out += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      problem = (problem + text).slice(-2000);
    });
    child.once("error", (error) => {
      reject(new ComposeError(`${command} cannot be run in ${cwd}: ${describeError(error)}`));
    });
    child.once("close", (status) => {
      if (status === 0) resolve(out);
      else {
        const what = `${command} ${args.slice(0, 2).join(" ")}`;
        reject(new ComposeError(`${what}: ${lines(problem).at(-1) ?? `status ${status}`}`));
      }
    });
  });
}

/** The two fleets that `ct-edge autoscale` can change: the edge of this machine, and a compose project. */
import { spawn } from "node:child_process";
import { describeError, EdgeError } from "../../shared/base/errors.ts";
import type { WorkerId } from "../../shared/base/ids.ts";
import { BALANCER_STATUS_PORT } from "../../shared/net/ports.ts";
import { localUrl } from "../../shared/process/ask-status-port.ts";
import type { Settings } from "../../shared/settings/read-settings.ts";
import type { Store } from "../../shared/store/store.ts";
import { withStore } from "../commands/with-store.ts";
import { askEdge } from "../control/control-client.ts";
import { CommandError } from "../output/errors.ts";
import { type Asked, askedSchema, askWish } from "./ask-wish.ts";
import type { WorkerFleet } from "./run.ts";

/** Who asks: the same in every poll of one autoscaler. */
interface Asker {
  readonly holder: WorkerId;
  readonly periodMs: number;
}

/**
 * Changed by the supervisor, which also starts workers again that have failed. Its store is found again for each poll, because a
 * new edge has another one.
 */
export function machineFleet(
  deps: Asker & {
    readonly settings: Settings;
    readonly print: (line: string) => void;
  },
): WorkerFleet {
  const { settings, holder } = deps;
  const processes = async () => (await askEdge(settings.dataDir, { command: "ps" })).processes;
  return {
    async workers() {
      return (await processes()).filter(({ role }) => role === "worker").map(({ id }) => id);
    },
    async scale(count) {
      const request = { command: "scale", workers: count, progress: true } as const;
      await askEdge(settings.dataDir, request, deps.print);
    },
    async ask() {
      const balancer = (await processes()).find(({ role }) => role === "balancer");
      const port = balancer?.statusPort;
      if (typeof port !== "number") return { outcome: "none", why: "the balancer does not run" };
      const statusUrl = localUrl(settings.statusBind, port);
      const token = settings.autoscaleToken;
      return withStore(settings, ({ store }) => askWish({ ...deps, store, statusUrl, token }));
    },
    async resign() {
      await withStore(settings, ({ store }) => store.lead("autoscale", holder, 0));
    },
  };
}

/** A worker is named after its container's host name: the beginning of its id. */
const CONTAINER_NAME_CHARS = 12;
/** `docker compose` did not do what it was asked for; the message is its own. */
class ComposeError extends EdgeError {
  readonly code = "EDGE_COMPOSE";
}

/** For answers; a change takes as long as its drains. */
const ANSWER_MS = 30_000;

/**
 * Runs `docker compose` in `folder`, on the host: no container gets the engine's socket. Questions are asked by `ct-edge` in
 * the balancer's container, which reaches the store and knows the token.
 */
export function composeFleet(
  deps: Asker & {
    readonly folder: string;
    /** The program; `docker` by default. */
    readonly docker?: string;
  },
): WorkerFleet {
  const { folder, docker = "docker", holder, periodMs } = deps;
  const compose = (args: readonly string[], timeoutMs?: number): Promise<string> =>
    run(docker, ["compose", ...args], { folder, timeoutMs });
  const inBalancer = (...args: readonly string[]): Promise<string> => {
    const every = ["--every", String(Math.ceil(periodMs / 1000))];
    const command = ["ct-edge", "autoscale", "--as", holder, ...every, ...args];
    return compose(["exec", "--no-TTY", "balancer", ...command], ANSWER_MS);
  };
  let change: Promise<string> | undefined;
  return {
    async workers() {
      return lines(await compose(["ps", "--quiet", "worker"], ANSWER_MS)).map((id) =>
        id.slice(0, CONTAINER_NAME_CHARS),
      );
    },
    async scale(count) {
      const scale = ["--scale", `worker=${count}`, "worker"];
      change = compose(["up", "--detach", "--no-deps", "--no-recreate", ...scale]);
      await change;
    },
    ask: async () => parseAnswer(await inBalancer("--ask")),
    async resign() {
      // Without its output docker compose would end in the middle.
      await change?.catch(() => {});
      await inBalancer("--resign");
    },
  };
}

function parseAnswer(text: string): Asked {
  try {
    return askedSchema.parse(JSON.parse(text));
  } catch {
    throw new CommandError("the balancer's image has another version; build it again");
  }
}

/** What a run in the balancer's container prints for `composeFleet`. */
export function askInContainer(
  store: Store,
  { autoscaleToken: token, statusBind }: Pick<Settings, "autoscaleToken" | "statusBind">,
  asker: Asker,
): Promise<Asked> {
  const port = Number(process.env["CT_STATUS_PORT"] || BALANCER_STATUS_PORT);
  return askWish({ ...asker, store, token, statusUrl: localUrl(statusBind, port) });
}

function lines(text: string): string[] {
  return text.split("\n").filter((line) => line !== "");
}

/** Its standard output. Rejects with `ComposeError` and the end of its standard error, or when it takes too long. */
function run(
  command: string,
  args: readonly string[],
  { folder, timeoutMs }: { readonly folder: string; readonly timeoutMs: number | undefined },
): Promise<string> {
  const what = `${command} ${args.slice(0, 2).join(" ")}`;
  return new Promise((resolve, reject) => {
    // In a group of its own: Ctrl-C ends the autoscaler, and not a change that has begun.
    const child = spawn(command, args, {
      cwd: folder,
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    let out = "";
    let problem = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      out += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      problem = (problem + text).slice(-2000);
    });
    let timer: NodeJS.Timeout | undefined;
    if (timeoutMs !== undefined) {
      timer = setTimeout(() => {
        child.kill("SIGKILL");
        reject(new ComposeError(`${what}: no answer within ${timeoutMs / 1000} s`));
      }, timeoutMs);
    }
    child.once("error", (error) => {
      clearTimeout(timer);
      reject(new ComposeError(`${command} cannot be run in ${folder}: ${describeError(error)}`));
    });
    child.once("close", (status) => {
      clearTimeout(timer);
      if (status === 0) resolve(out);
      else reject(new ComposeError(`${what}: ${lines(problem).at(-1) ?? `status ${status}`}`));
    });
  });
}

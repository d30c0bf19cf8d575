/**
 * A crowd of light clients in a separate process, so that their work does not disturb the measuring program.
 * `startLightCrowd` starts it; it replies to every message. All times are on the machine's wall clock.
 */
import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { type LightTeams, openLightTeams } from "../../test/support/light-teams.ts";
import { until } from "../../test/support/until.ts";

/** What one client did until it was in its session again. All times in ms since the epoch. */
export interface Return {
  readonly lostMs: number;
  /** `connect` of socket.io; undefined while it is not reconnected. */
  readonly servedMs: number | undefined;
  /** Each attempt to connect: its start, and the result of the engine.io handshake. */
  readonly attempts: readonly Attempt[];
  /** How often the client lost its connection, including losses after it had been served again. */
  readonly losses: number;
}

export interface Attempt {
  readonly atMs: number;
  readonly openedMs?: number;
  readonly failedMs?: number;
  readonly error?: string;
}

export interface LightCrowd {
  readonly pid: number;
  open(url: string, sessions: number): Promise<void>;
  /** All clients drop their connections and reconnect, as behind a restarted proxy. Resolves with the time. */
  dropAll(): Promise<number>;
  startTalking(periodMs: number): Promise<void>;
  stopTalking(): Promise<void>;
  /** Waits until all clients that lost their connection since `sinceMs` are back. Resolves with their attempts. */
  returns(sinceMs: number, timeoutMs: number): Promise<Return[]>;
  close(): Promise<void>;
}

type Request =
  | { readonly kind: "open"; readonly url: string; readonly sessions: number }
  | { readonly kind: "dropAll" }
  | { readonly kind: "startTalking"; readonly periodMs: number }
  | { readonly kind: "stopTalking" }
  | { readonly kind: "returns"; readonly sinceMs: number; readonly timeoutMs: number }
  | { readonly kind: "close" };

interface Reply {
  readonly answer?: unknown;
  readonly error?: string;
}

export function startLightCrowd(execArgv: readonly string[] = []): LightCrowd {
  const child = fork(fileURLToPath(import.meta.url), ["crowd"], {
    execArgv: [...process.execArgv, ...execArgv],
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  const call = (request: Request): Promise<unknown> => callChild(child, request);
  return {
    pid: child.pid ?? 0,
    open: async (url, sessions) => void (await call({ kind: "open", url, sessions })),
    dropAll: async () => (await call({ kind: "dropAll" })) as number,
    startTalking: async (periodMs) => void (await call({ kind: "startTalking", periodMs })),
    stopTalking: async () => void (await call({ kind: "stopTalking" })),
    returns: async (sinceMs, timeoutMs) =>
      (await call({ kind: "returns", sinceMs, timeoutMs })) as Return[],
    async close() {
      await call({ kind: "close" });
      child.disconnect();
    },
  };
}

/** One request at a time. */
function callChild(child: ChildProcess, request: Request): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const onExit = (): void => reject(new Error("the crowd's process ended"));
    child.once("exit", onExit);
    child.once("message", ({ answer, error }: Reply) => {
      child.off("exit", onExit);
      if (error === undefined) resolve(answer);
      else reject(new Error(error));
    });
    child.send(request);
  });
}

// --- in the crowd's process ---

interface Person {
  losses: number[];
  served: number[];
  attempts: { atMs: number; openedMs?: number; failedMs?: number; error?: string }[];
}

function serveCrowd(): void {
  let teams: LightTeams | undefined;
  let people: Person[] = [];

  async function handle(request: Request): Promise<unknown> {
    switch (request.kind) {
      case "open":
        teams = await openLightTeams(request.url, request.sessions);
        people = teams.peers.map(({ peer }) => observe(peer.socket));
        return;
      case "dropAll": {
        const atMs = Date.now();
        for (const { peer } of teams?.peers ?? []) peer.socket.io.engine.close();
        return atMs;
      }
      case "startTalking":
        teams?.startTalking(request.periodMs);
        return;
      case "stopTalking":
        teams?.stopTalking();
        return;
      case "returns":
        return returnsOf(request);
      case "close":
        await teams?.close();
    }
  }

  async function returnsOf({ sinceMs, timeoutMs }: { sinceMs: number; timeoutMs: number }) {
    const sockets = teams?.peers.map(({ peer }) => peer.socket) ?? [];
    const isBack = (): boolean =>
      sockets.every((socket) => socket.connected) &&
      people.some(({ losses }) => losses.some((ms) => ms >= sinceMs));
    // Clients that are not back are reported too.
    await until("all clients are connected", isBack, timeoutMs).catch(() => {});
    return people.flatMap((person) => {
      const lost = person.losses.filter((ms) => ms >= sinceMs);
      const [lostMs] = lost;
      if (lostMs === undefined) return [];
      const back: Return = {
        lostMs,
        servedMs: person.served.find((ms) => ms >= lostMs),
        attempts: person.attempts.filter(({ atMs }) => atMs >= lostMs),
        losses: lost.length,
      };
      return [back];
    });
  }

  process.on("message", (request: Request) => {
    handle(request).then(
      (value) => process.send?.({ answer: value ?? null }),
      (error: unknown) => process.send?.({ error: String(error) }),
    );
  });
}

type Socket = LightTeams["peers"][number]["peer"]["socket"];

function observe(socket: Socket): Person {
  const person: Person = { losses: [], served: [], attempts: [] };
  socket.on("connect", () => person.served.push(Date.now()));
  socket.on("disconnect", () => person.losses.push(Date.now()));
  socket.io.on("reconnect_attempt", () => person.attempts.push({ atMs: Date.now() }));
  socket.io.on("open", () => {
    const attempt = person.attempts.at(-1);
    if (attempt !== undefined) attempt.openedMs = Date.now();
  });
  const fail = (error: string): void => {
    const attempt = person.attempts.at(-1);
    if (attempt === undefined || attempt.failedMs !== undefined) return;
    attempt.failedMs = Date.now();
    attempt.error = error;
  };
  socket.io.on("reconnect_error", (error) => fail(textOf(error)));
  socket.io.on("close", (reason, why) =>
    fail(`closed: ${reason}${why instanceof Error ? ` (${textOf(why)})` : ""}`),
  );
  return person;
}

function textOf(error: Error & { description?: unknown; type?: string }): string {
  const { description } = error;
  return typeof description === "number" ? `${error.message} ${description}` : error.message;
}

if (process.argv[2] === "crowd" && process.send !== undefined) serveCrowd();

/**
 * A crowd of light people as a process of its own, so that their work is not done by the program that measures. Started by
 * `startLightCrowd`; every message is a question that it answers, and all times are on the machine's wall clock.
 */
import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { type LightTeams, openLightTeams } from "../../test/support/light-teams.ts";
import { until } from "../../test/support/until.ts";

/** What one person's client did until it was in its session again. All times in ms since the epoch. */
export interface Return {
  readonly lostMs: number;
  /** `connect` of socket.io; undefined while it is not back. */
  readonly servedMs: number | undefined;
  /** Each attempt to connect: when it began, and what became of the engine.io handshake. */
  readonly attempts: readonly Attempt[];
  /** How often it was connected and lost its connection again before it was served, or afterwards. */
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
  /** Everybody's client drops its connection and comes back, as behind a proxy that was restarted. Resolves with when. */
  dropAll(): Promise<number>;
  startTalking(periodMs: number): Promise<void>;
  stopTalking(): Promise<void>;
  /** Waits until everybody is back who was lost since `sinceMs`, and says what they went through. */
  returns(sinceMs: number, timeoutMs: number): Promise<Return[]>;
  close(): Promise<void>;
}

type Question =
  | { readonly ask: "open"; readonly url: string; readonly sessions: number }
  | { readonly ask: "dropAll" }
  | { readonly ask: "startTalking"; readonly periodMs: number }
  | { readonly ask: "stopTalking" }
  | { readonly ask: "returns"; readonly sinceMs: number; readonly timeoutMs: number }
  | { readonly ask: "close" };

interface Reply {
  readonly answer?: unknown;
  readonly error?: string;
}

export function startLightCrowd(execArgv: readonly string[] = []): LightCrowd {
  const child = fork(fileURLToPath(import.meta.url), ["crowd"], {
    execArgv: [...process.execArgv, ...execArgv],
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  const ask = (question: Question): Promise<unknown> => askChild(child, question);
  return {
    pid: child.pid ?? 0,
    open: async (url, sessions) => void (await ask({ ask: "open", url, sessions })),
    dropAll: async () => (await ask({ ask: "dropAll" })) as number,
    startTalking: async (periodMs) => void (await ask({ ask: "startTalking", periodMs })),
    stopTalking: async () => void (await ask({ ask: "stopTalking" })),
    returns: async (sinceMs, timeoutMs) =>
      (await ask({ ask: "returns", sinceMs, timeoutMs })) as Return[],
    async close() {
      await ask({ ask: "close" });
      child.disconnect();
    },
  };
}

/** One question at a time. */
function askChild(child: ChildProcess, question: Question): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const onExit = (): void => reject(new Error("the crowd's process has ended"));
    child.once("exit", onExit);
    child.once("message", ({ answer, error }: Reply) => {
      child.off("exit", onExit);
      if (error === undefined) resolve(answer);
      else reject(new Error(error));
    });
    child.send(question);
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

  async function answer(question: Question): Promise<unknown> {
    switch (question.ask) {
      case "open":
        teams = await openLightTeams(question.url, question.sessions);
        people = teams.peers.map(({ peer }) => observe(peer.socket));
        return;
      case "dropAll": {
        const atMs = Date.now();
        for (const { peer } of teams?.peers ?? []) peer.socket.io.engine.close();
        return atMs;
      }
      case "startTalking":
        teams?.startTalking(question.periodMs);
        return;
      case "stopTalking":
        teams?.stopTalking();
        return;
      case "returns":
        return returnsOf(question);
      case "close":
        await teams?.close();
    }
  }

  async function returnsOf({ sinceMs, timeoutMs }: { sinceMs: number; timeoutMs: number }) {
    const sockets = teams?.peers.map(({ peer }) => peer.socket) ?? [];
    const isBack = (): boolean =>
      sockets.every((socket) => socket.connected) &&
      people.some(({ losses }) => losses.some((ms) => ms >= sinceMs));
    // Whoever is not back is told of all the same.
    await until("everybody is back", isBack, timeoutMs).catch(() => {});
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

  process.on("message", (question: Question) => {
    answer(question).then(
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

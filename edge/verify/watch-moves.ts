/**
 * `--drain` and `--kill`: opens a session on the named worker and watches what becomes of it. The drain is ordered here and
 * ended afterwards; killing is left to the operator.
 */

import { EdgeError } from "../../shared/base/errors.ts";
import { newSessionId } from "../../shared/base/ids.ts";
import type { WorkerTag } from "../../shared/base/worker-tag.ts";
import { unknownWorker } from "../../shared/cluster/format.ts";
import { CommandError } from "../output/errors.ts";
import { DashboardError, nameWorkers, openDashboard } from "./inside/from-dashboard.ts";
import { storeControls } from "./inside/from-redis.ts";
import type { Controls, InsideProcess, WorkerNames } from "./inside/inside.ts";
import type { InsideAnswer } from "./judge/inside.ts";
import { judgeDrain, judgeKill, type Watch } from "./judge/moves.ts";
import { keyPerWorker } from "./judge/stickiness.ts";
import type { Verdicts } from "./model/finding.ts";
import { watchMove } from "./people/moves.ts";
import { StepError } from "./people/person.ts";
import { type OpenSession, openSession } from "./people/sessions.ts";
import { pollHandshake } from "./probes/engine.ts";
import type { KeyedHandshakes } from "./probes/stickiness.ts";
import type { Run } from "./run-options.ts";

interface Deps extends Run {
  readonly keyed: readonly KeyedHandshakes[];
  readonly inside: InsideAnswer;
  readonly userToken: string | undefined;
}

const DRAIN_WAIT_MS = 60_000;
const KILL_WAIT_MS = 180_000;
/** Keys that are tried until one leads to the worker. */
const MAX_TRIES = 40;

export async function watchMoves(deps: Deps): Promise<Verdicts> {
  const { drain, kill } = deps;
  if (drain === undefined && kill === undefined) return {};
  const wanted = [drain, kill].filter((worker) => worker !== undefined);
  const names = await namesOf(deps, wanted);
  const nameOf = (tag: string): string => names.get(tag as WorkerTag) ?? "another worker";
  const drained =
    drain === undefined ? undefined : await watchDrain(deps, drain, names).catch(notDrained);
  const killed = kill === undefined ? undefined : await watchKill(deps, kill, names);
  return {
    ...(drained && { drain: judgeDrain(unlessInterrupted(deps, drained), nameOf) }),
    ...(killed && { kill: judgeKill(unlessInterrupted(deps, killed), nameOf) }),
  };
}

/** What was seen until then says nothing about the edge. */
function unlessInterrupted({ signal }: Deps, watched: Watch): Watch {
  return signal.aborted ? notWatched("it was interrupted", "run verify again") : watched;
}

/** The dashboard refused the token, or what looks inside went away. */
function notDrained(error: unknown): Watch {
  if (!(error instanceof DashboardError || error instanceof EdgeError)) throw error;
  return notWatched(
    `the drain was not possible: ${error.message}`,
    "give --redis, or a token with the scopes read and drain",
  );
}

async function namesOf(deps: Deps, wanted: readonly string[]): Promise<WorkerNames> {
  const { token, http } = deps;
  const workers = workersOf(deps);
  const names = new Map(workers.flatMap(({ tag, id }) => (tag === undefined ? [] : [[tag, id]])));
  if (names.size > 0 || token === undefined) return names;
  // Where a session goes to is not known before.
  const all = [...wanted, ...workers.map(({ id }) => id)];
  return nameWorkers(http, openDashboard(http, token), all).catch(() => new Map());
}

async function watchDrain(deps: Deps, worker: string, names: WorkerNames): Promise<Watch> {
  const { store, token, patient } = deps;
  const useControls = <T>(use: (controls: Controls) => Promise<T>): Promise<T> | undefined => {
    if (store !== undefined) return store.withStore((opened) => use(storeControls(opened)));
    return token === undefined ? undefined : use(openDashboard(patient, token).controls);
  };
  const state = await useControls((controls) => controls.stateOf(worker));
  if (state === undefined) return noWorker(deps, worker);
  if (state !== "up") {
    return notWatched(`worker ${worker} is ${state}`, `\`ct-edge resume ${worker}\` first`);
  }
  const place = await openAt(deps, worker, names);
  if ("outcome" in place) return place;
  const { session, tag } = place;
  try {
    deps.onProgress(`draining ${worker}`);
    deps.cleanup.add(async () => {
      const answer = await useControls((controls) => controls.resume(worker));
      if (answer !== "done") throw new CommandError(answer ?? "there is no worker to resume");
    });
    const answer = await useControls((controls) => controls.drain(worker));
    if (answer !== "done") {
      return notWatched(`the drain was refused: ${answer}`, "a token needs the scope drain");
    }
    return await watchMove(session, tag, { ...movesOf(deps), waitMs: DRAIN_WAIT_MS });
  } finally {
    await session.close();
  }
}

async function watchKill(deps: Deps, worker: string, names: WorkerNames): Promise<Watch> {
  const place = await openAt(deps, worker, names);
  if ("outcome" in place) return place;
  const { session, tag } = place;
  try {
    for (const line of killInstructions(worker)) deps.onProgress(line);
    return await watchMove(session, tag, { ...movesOf(deps), waitMs: KILL_WAIT_MS });
  } finally {
    await session.close();
  }
}

function killInstructions(worker: string): readonly string[] {
  return [
    `two people talk in a session on ${worker}; kill it now, in another terminal:`,
    "  on one machine:  kill -9 PID           (`ct-edge ps` has the pid)",
    `  in compose:      docker kill ${worker}`,
    `  on Kubernetes:   kubectl delete pod ${worker} --grace-period=0 --force`,
    `waiting for up to ${KILL_WAIT_MS / 1000} s; Ctrl-C ends the session`,
  ];
}

// --- the session ---

/** Opens a session on the worker; or why there is none. */
async function openAt(
  deps: Deps,
  worker: string,
  names: WorkerNames,
): Promise<{ session: OpenSession; tag: WorkerTag } | Watch> {
  const { userToken, target } = deps;
  if (userToken === undefined) {
    return notWatched("nobody could sign in to open a session", "see the finding about sign-in");
  }
  const tag = [...names].find(([, name]) => name === worker)?.[0];
  if (tag === undefined) return noWorker(deps, worker);
  const key = await keyFor(deps, tag);
  if (key === undefined) {
    return notWatched(`no key leads to ${worker}`, "`ct-edge list`: is it up?");
  }
  try {
    const session = await openSession(`${target.baseUrl}/k/${key}`, {
      http: deps.patient,
      userToken,
      signal: deps.signal,
      patience: deps.patience,
      upgrades: true,
      onCleanup: (undo) => deps.cleanup.add(undo),
    });
    await Promise.all([session.host.upgraded(), session.guest.upgraded()]);
    return { session, tag };
  } catch (error) {
    if (error instanceof StepError) {
      return notWatched(`${error.step}: ${error.message}`, "see the findings about sessions");
    }
    throw error;
  }
}

async function keyFor({ http, keyed }: Deps, wanted: WorkerTag): Promise<string | undefined> {
  const known = keyPerWorker(keyed).get(wanted);
  if (known !== undefined) return known;
  for (let tried = 0; tried < MAX_TRIES; tried++) {
    const key = newSessionId();
    const handshake = await pollHandshake(http, { prefix: `/k/${key}` });
    if (handshake.outcome === "open" && handshake.tag === wanted) return key;
  }
  return undefined;
}

function movesOf({ http, signal }: Deps) {
  return {
    signal,
    async ownerOf(sessionId: string): Promise<WorkerTag | undefined> {
      const handshake = await pollHandshake(http, { headers: { ctstickiness: sessionId } });
      return handshake.outcome === "open" ? handshake.tag : undefined;
    },
  };
}

function noWorker(deps: Deps, worker: string): Watch {
  const { store, token } = deps;
  if (store === undefined && token === undefined) {
    return notWatched(
      "without means to look inside, workers have no names",
      "give --redis or --token",
    );
  }
  const ids = workersOf(deps).map(({ id }) => id);
  return notWatched(unknownWorker(worker, ids), "give the id of one of them");
}

function workersOf({ inside }: Deps): readonly InsideProcess[] {
  const processes = inside.outcome === "read" ? inside.inside.processes : [];
  return processes.filter(({ kind }) => kind === "worker");
}

function notWatched(why: string, cure: string): Watch {
  return { outcome: "not watched", why, cure };
}

/**
 * What happens to sessions when a worker is added, drained or lost, decided by the same functions as in balancers and
 * workers. Pure.
 */
import { type Candidate, chooseByKey } from "../../balancer/routing/candidates.ts";
import {
  type Loaded,
  onTime,
  pickLeastLoaded,
  withinLoadCap,
} from "../../balancer/routing/placement.ts";
import type { WorkerStatus } from "../../balancer/upstreams/health.ts";
import type { SessionId, SessionKey, WorkerId } from "../../shared/base/ids.ts";
import { createHashRing, type HashRing, type RingPlace } from "../../shared/membership/ring.ts";
import { sign } from "../../shared/settings/secret.ts";
import type { WorkerRecord } from "../../shared/store/member.ts";
import { chooseSuccessor, paceMs } from "../../worker/session-moves/drain.ts";
import { maxToMean } from "./rebalance-plan.ts";

export type Change =
  | { readonly kind: "add"; readonly count: number }
  /** Gracefully: its sessions are handed over, then it ends. */
  | { readonly kind: "remove"; readonly worker: WorkerId }
  /** It ends at once, and is not started again. */
  | { readonly kind: "crash"; readonly worker: WorkerId };

/** The current state of the edge. */
export interface Snapshot {
  readonly workers: readonly WorkerRecord[];
  /** Without closed ones. */
  readonly sessions: readonly KnownSession[];
  /** As balancers see it; `healthy` when no balancer reports it. */
  readonly statusOf: (worker: WorkerId) => WorkerStatus;
  /** Only called for the sessions of a worker that is removed or lost. */
  readonly placeOf: (key: SessionKey) => RingPlace;
  readonly drain: { readonly delayMs: number; readonly timeoutMs: number };
}

export interface KnownSession {
  readonly id: SessionId;
  readonly alias?: SessionKey;
  /** The owner, or the successor of a released session. */
  readonly holder: WorkerId;
  readonly peers: number;
  /** Peers that have a connection now. */
  readonly connections: number;
}

export type Simulation = ReturnType<typeof simulate>;

export interface Move {
  readonly session: SessionId;
  readonly from: WorkerId;
  /**
   * One worker; two when some clients come with the key that the session was created with and that key leads elsewhere: the
   * worker that is asked first gets it. Empty: no worker can take it, or (`by: "reaper"`) the elected worker does.
   */
  readonly to: readonly WorkerId[];
  /** `drain`: handed over. `clients`: a reconnecting client moves it. `reaper`: it has no clients that could. */
  readonly by: "drain" | "clients" | "reaper";
  readonly peers: number;
  readonly connections: number;
}

export type Outlook = ReturnType<typeof outlook>[number];

/** `after` is null when it is gone then, `before` when it is new. */
interface BeforeAfter {
  readonly before: number | null;
  readonly after: number | null;
}

export function simulate(change: Change, snapshot: Snapshot) {
  const before = snapshot.workers;
  const after = membersAfter(change, before);
  const alive = new Set(before.map(({ id }) => id));
  const held = snapshot.sessions.filter(({ holder }) => alive.has(holder));
  const moves = movesOf(change, snapshot, held, after);
  return {
    moves,
    /** Sessions that are served and stay where they are. */
    stay: held.length - moves.length,
    /** Sessions whose owner is gone already: they get a new one with or without the change. */
    adrift: snapshot.sessions.length - held.length,
    reconnects: reconnectsOf(change, moves, snapshot),
    workers: outlook(change, snapshot, after, moves),
    /** Sessions of the fullest worker to the mean, without workers that drain or are gone; 0 without sessions. */
    maxToMean: {
      before: unevenness(before, (worker) => worker.load.sessions),
      after: unevenness(after, (worker) => loadAfter(worker, moves).sessions),
    },
  };
}

function membersAfter(change: Change, before: readonly WorkerRecord[]): readonly WorkerRecord[] {
  if (change.kind === "add") return [...before, ...newWorkers(before, change.count)];
  return before.filter(({ id }) => id !== change.worker);
}

const NUMBERED = /^(.*?)(\d+)$/;

/** The numbering continues after the last numbered worker. */
function newWorkers(before: readonly WorkerRecord[], count: number): WorkerRecord[] {
  const named = before.flatMap(({ id }) => {
    const [, name, number] = NUMBERED.exec(id) ?? [];
    return name === undefined ? [] : [{ name, number: Number(number) }];
  });
  const last = named.sort((a, b) => a.number - b.number).at(-1) ?? { name: "new-", number: 0 };
  return Array.from({ length: count }, (_, i) => ({
    ...EMPTY_WORKER,
    id: `${last.name}${last.number + 1 + i}` as WorkerId,
  }));
}

const EMPTY_WORKER = {
  kind: "worker",
  incarnation: "" as WorkerRecord["incarnation"],
  url: "",
  statusUrl: "",
  version: "",
  zone: "",
  weight: 1,
  state: "up",
  load: { sessions: 0, connections: 0, lagMs: 0 },
  ringFingerprint: "",
  secretFingerprint: "",
} satisfies Omit<WorkerRecord, "id">;

// --- moves ---

function movesOf(
  change: Change,
  snapshot: Snapshot,
  held: readonly KnownSession[],
  after: readonly WorkerRecord[],
): Move[] {
  // A worker that ends stays in the ring until its lease expires.
  const hashRing = createHashRing(change.kind === "add" ? after : snapshot.workers);
  const byId = new Map(after.map((worker) => [worker.id, worker]));
  const candidates = (key: SessionKey): readonly WorkerId[] =>
    hashRing.candidates(snapshot.placeOf(key));
  const see = (id: WorkerId): Candidate | undefined => {
    const worker = byId.get(id);
    return worker && { status: snapshot.statusOf(id), state: worker.state };
  };

  /** The choice of a balancer for a client of the session that comes with `key`. */
  function chosenFor(key: SessionKey, { holder }: KnownSession): WorkerId | undefined {
    const known = { record: "owner", owner: holder } as const;
    return chooseByKey(known, () => candidates(key), see).worker;
  }

  function moveOf(session: KnownSession): Move | undefined {
    const { id, alias, holder, peers, connections } = session;
    const move = { session: id, from: holder, peers, connections };
    const isItsWorker = change.kind !== "add" && holder === change.worker;
    if (change.kind === "remove" && isItsWorker) {
      const view = { ring: { candidates }, worker: (other: WorkerId) => byId.get(other) };
      const { version } = snapshot.workers.find((worker) => worker.id === holder) ?? {};
      const successor = chooseSuccessor(id, new Set([change.worker]), view, version);
      return { ...move, to: successor === undefined ? [] : [successor.id], by: "drain" };
    }
    if (!isItsWorker) {
      // A session whose holder is failing moves because of that, not because of the change.
      const isSettled = see(holder)?.status === "healthy";
      if (!isSettled || chosenFor(id, session) === holder) return undefined;
    }
    if (connections === 0) return { ...move, to: [], by: "reaper" };
    const keys = alias === undefined ? [id] : [id, alias];
    const to = new Set(keys.flatMap((key) => chosenFor(key, session) ?? []));
    return { ...move, to: [...to], by: "clients" };
  }

  return held.flatMap((session) => moveOf(session) ?? []);
}

// --- reconnects ---

/** Clients reconnect 0.5 to 1.5 s after they lost their connection (socket.io: 1 s ± 50 %). */
const FIRST_BACK_OFF_MS = 1500;

/** `perSecond`: the peak; a drain is paced with jitter. `withinMs`: until the last client has left and reconnected. */
function reconnectsOf(change: Change, moves: readonly Move[], snapshot: Snapshot) {
  const connections = moves.reduce((sum, move) => sum + move.connections, 0);
  if (connections === 0) return { connections, perSecond: 0, withinMs: 0 };
  if (change.kind !== "remove") {
    return { connections, perSecond: connections, withinMs: FIRST_BACK_OFF_MS };
  }
  const { delayMs, timeoutMs } = snapshot.drain;
  const times: number[] = [];
  let atMs = 0;
  for (let left = moves.length; left > 0; left--) {
    times.push(atMs);
    atMs += paceMs(left, timeoutMs - atMs);
  }
  return {
    connections,
    // For any order of the sessions: as many as begin within a second, those with the most connections.
    perSecond: mostIn(mostWithin(times, 1000), moves),
    withinMs: Math.round(delayMs + (times.at(-1) ?? 0) + FIRST_BACK_OFF_MS),
  };
}

/** The most of the ascending `times` that lie within `spanMs`. */
function mostWithin(times: readonly number[], spanMs: number): number {
  let from = 0;
  let most = 0;
  for (const [i, time] of times.entries()) {
    while (time - (times[from] ?? time) >= spanMs) from++;
    most = Math.max(most, i - from + 1);
  }
  return most;
}

function mostIn(count: number, moves: readonly Move[]): number {
  const sorted = moves.map(({ connections }) => connections).sort((a, b) => b - a);
  return sorted.slice(0, count).reduce((sum, connections) => sum + connections, 0);
}

// --- load ---

function outlook(
  change: Change,
  snapshot: Snapshot,
  after: readonly WorkerRecord[],
  moves: readonly Move[],
) {
  const { workers: before, statusOf } = snapshot;
  const loaded = after.map((worker) => ({ ...worker, load: loadAfter(worker, moves) }));
  const keys = [before, after].map((workers) => sharesOf(createHashRing(workers)));
  const next = [before, loaded].map((workers) => nextSessions(workers, statusOf));
  const all = change.kind === "add" ? after : before;
  return all.map(({ id }) => {
    const was = before.find((worker) => worker.id === id);
    const is = loaded.find((worker) => worker.id === id);
    const pair = ([old, now]: readonly ReadonlyMap<WorkerId, number>[]): BeforeAfter => ({
      before: was === undefined ? null : (old?.get(id) ?? 0),
      after: is === undefined ? null : (now?.get(id) ?? 0),
    });
    return {
      id,
      sessions: { before: was?.load.sessions ?? null, after: is?.load.sessions ?? null },
      connections: { before: was?.load.connections ?? null, after: is?.load.connections ?? null },
      /** Share of the keys without a session that the ring maps to it, 0 to 1. */
      keys: pair(keys),
      /** How many of the next 100 new sessions without a key it gets. */
      next: pair(next),
    };
  });
}

/** Includes the sessions that move to it; of two possible workers the first counts. */
function loadAfter({ id, load }: WorkerRecord, moves: readonly Move[]): WorkerRecord["load"] {
  const got = moves.filter(({ to }) => to[0] === id);
  return {
    ...load,
    sessions: load.sessions + got.length,
    connections: load.connections + got.reduce((sum, move) => sum + move.connections, 0),
  };
}

/** Keys per share: accurate to about half a percent. */
const SAMPLES = 10_000;
const SAMPLE_KEY = Buffer.alloc(32);

/** The share of all keys that a ring maps to each worker, which does not depend on the ring key. */
function sharesOf(hashRing: HashRing): ReadonlyMap<WorkerId, number> {
  const counts = new Map<WorkerId, number>();
  for (let i = 0; i < SAMPLES; i++) {
    const worker = hashRing.first(sign(SAMPLE_KEY, String(i)) as RingPlace);
    if (worker !== undefined) counts.set(worker, (counts.get(worker) ?? 0) + 1);
  }
  return new Map([...counts].map(([worker, count]) => [worker, count / SAMPLES]));
}

const NEXT_SESSIONS = 100;

/** How many of the next new sessions without a key each worker gets, by the balancers' own function. */
function nextSessions(
  workers: readonly WorkerRecord[],
  statusOf: (worker: WorkerId) => WorkerStatus,
): ReadonlyMap<WorkerId, number> {
  const counts = new Map<WorkerId, number>();
  const random = steadyRandom();
  const open = workers.filter(({ id, state }) => state === "up" && statusOf(id) === "healthy");
  const candidates = open.map((record) => ({ id: record.id, record, inFlight: 0, ...record.load }));
  for (let i = 0; i < NEXT_SESSIONS; i++) {
    const chosen = pickLeastLoaded(
      withinLoadCap<Loaded & { id: WorkerId; sessions: number }>(onTime(candidates)),
      random,
    );
    if (chosen === undefined) break;
    chosen.sessions++;
    counts.set(chosen.id, (counts.get(chosen.id) ?? 0) + 1);
  }
  return counts;
}

/** 0 to below 1, the same sequence in each simulation, so that results are reproducible. */
function steadyRandom(): () => number {
  let count = 0;
  return () =>
    Buffer.from(sign(SAMPLE_KEY, `draw ${count++}`), "base64url").readUInt32BE() / 2 ** 32;
}

/** `maxToMean` of the workers that do not drain. */
function unevenness(
  workers: readonly WorkerRecord[],
  sessionsOf: (worker: WorkerRecord) => number,
): number {
  return maxToMean(workers.filter(({ state }) => state !== "draining").map(sessionsOf)) ?? 0;
}

/**
 * Prepares the peers of a session for another owner. WebSockets that can be moved are frozen, and go on there; all other clients
 * are asked to reconnect. Afterwards everything that was sent is relayed, and nothing more is.
 */

import { type Clock, sleep } from "../../../shared/base/clock.ts";
import { counted } from "../../../shared/base/counted.ts";
import type { Log } from "../../../shared/logs/log.ts";
import type { Counters } from "../../../shared/metrics/metrics.ts";
import type { Connection, MoveObstacle, Peer } from "./peer.ts";

interface Deps {
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  /** Its id, as logs may show it. */
  readonly session: string;
}

/** What became of the connections that were open. */
export interface MoveOutcome {
  /** WebSockets that go on at the next owner. */
  readonly kept: number;
  /** Clients that have to reconnect there, by why. */
  readonly reconnecting: ReadonlyMap<MoveObstacle, number>;
}

type Connections = ReadonlyMap<Peer, Connection>;
type NoteObstacle = (obstacle: MoveObstacle) => void;

/**
 * Grace period for clients to close after a migrate request; then they are disconnected, and input that was not read yet
 * is lost. The other peers wait that long: a longer pause is better than a lost message.
 */
const MIGRATE_GRACE_MS = 3000;
const MIGRATE_POLL_MS = 5;

/** `obstacle`: why none can go on at the next owner, if that is so. `Peer.thaw` undoes it for those that were frozen. */
export async function prepareMove(
  peers: readonly Peer[],
  obstacle: MoveObstacle | undefined,
  deps: Deps,
): Promise<MoveOutcome> {
  const reconnecting = new Map<MoveObstacle, number>();
  const note: NoteObstacle = (why) => {
    reconnecting.set(why, (reconnecting.get(why) ?? 0) + 1);
    deps.counters.count("worker.resume.given", why);
  };
  const movable = obstacle === undefined ? findMovable(peers) : new Map<Peer, Connection>();
  const others = peers.filter((peer) => !movable.has(peer));
  for (const { connection } of others) {
    if (connection !== undefined) note(obstacle ?? (await obstacleTo(connection)));
  }
  await migrate(others, deps);
  if (movable.size === 0) return { kept: 0, reconnecting };
  const frozen = await freezeAll(movable, note, deps);
  await migrate(
    [...movable.keys()].filter((peer) => !frozen.has(peer)),
    deps,
  );
  return { kept: frozen.size, reconnecting };
}

/**
 * As `prepareMove`, for a worker that stops and finds the session again when it is back: clients whose WebSockets cannot go on are
 * not asked to reconnect, because there is nowhere to go yet.
 */
export async function prepareRestart(
  peers: readonly Peer[],
  deps: Pick<Deps, "counters">,
): Promise<void> {
  const note: NoteObstacle = (why) => deps.counters.count("worker.resume.given", why);
  await freezeAll(findMovable(peers), note, deps);
}

/** For the session's history, behind the cause of the move: empty when no client was connected. */
export function moveText({ kept, reconnecting }: MoveOutcome): string {
  const fallen = [...reconnecting.values()].reduce((sum, count) => sum + count, 0);
  const all = kept + fallen;
  if (all === 0) return "";
  const connections = counted(all, "connection");
  if (fallen === 0) return `, ${connections} kept open`;
  const reasons = [...reconnecting].sort(([, a], [, b]) => b - a);
  const why = reasons.map(([reason, count]) => `${reason} ${count}`).join(", ");
  return `, ${kept} of ${connections} kept open, ${fallen} had to reconnect (${why})`;
}

function findMovable(peers: readonly Peer[]): Connections {
  const movable = new Map<Peer, Connection>();
  for (const peer of peers) {
    const { connection } = peer;
    if (connection?.isMovable === true && !connection.isMigrating) movable.set(peer, connection);
  }
  return movable;
}

async function freezeAll(
  movable: Connections,
  note: NoteObstacle,
  { counters }: Pick<Deps, "counters">,
): Promise<Connections> {
  const stopped = await eachOf(movable, note, (connection) => connection.stopInput());
  // Only now, because what some have sent leaves over the others.
  const frozen = await eachOf(stopped, note, (connection) => connection.freeze());
  counters.count("worker.resume.given", "open", frozen.size);
  return frozen;
}

/** Of one that `findMovable` has left out. */
async function obstacleTo(connection: Connection): Promise<MoveObstacle> {
  return (connection.isMigrating ? undefined : await connection.stopInput()) ?? "gone";
}

/** Those for which `action` has found no obstacle; the others go on. */
async function eachOf(
  connections: Connections,
  note: NoteObstacle,
  action: (connection: Connection) => Promise<MoveObstacle | undefined>,
): Promise<Connections> {
  const done = new Map<Peer, Connection>();
  const all = [...connections].map(async ([peer, connection]) => {
    const obstacle = await action(connection);
    if (obstacle === undefined) {
      done.set(peer, connection);
    } else {
      connection.thaw();
      note(obstacle);
    }
  });
  await Promise.all(all);
  return done;
}

async function migrate(peers: readonly Peer[], { clock, log, session }: Deps): Promise<void> {
  for (const peer of peers) peer.migrate();
  const untilMs = clock.nowMs() + MIGRATE_GRACE_MS;
  const connected = (): readonly Peer[] => peers.filter(({ isConnected }) => isConnected);
  while (connected().length > 0 && clock.nowMs() < untilMs) await sleep(clock, MIGRATE_POLL_MS);
  const late = connected();
  if (late.length > 0) {
    log.info(
      { session, clients: late.length },
      "disconnecting clients that did not follow a migrate request in time",
    );
  }
  for (const peer of late) peer.disconnect();
}

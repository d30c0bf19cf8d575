/**
 * Prepares the peers of a session for another owner. WebSockets that can be moved are frozen, and go on there; all other clients
 * are asked to reconnect. Afterwards everything that was sent is relayed, and nothing more is.
 */
import { type Clock, sleep } from "../../../shared/base/clock.ts";
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

type Connections = ReadonlyMap<Peer, Connection>;

/**
 * Grace period for clients to close after a migrate request; then they are disconnected, and input that was not read yet
 * is lost. The other peers wait that long: a longer pause is better than a lost message.
 */
const MIGRATE_GRACE_MS = 3000;
const MIGRATE_POLL_MS = 5;

/** `keepOpen`: whether the next owner can go on with WebSockets. `Peer.thaw` undoes it for those. */
export async function prepareMove(
  peers: readonly Peer[],
  keepOpen: boolean,
  deps: Deps,
): Promise<void> {
  const movable = keepOpen ? findMovable(peers) : new Map<Peer, Connection>();
  await migrate(
    peers.filter((peer) => !movable.has(peer)),
    deps,
  );
  if (movable.size === 0) return;
  const stopped = await eachOf(movable, deps, (connection) => connection.stopInput());
  // Only now, because what some have sent leaves over the others.
  const frozen = await eachOf(stopped, deps, (connection) => connection.freeze());
  deps.counters.count("worker.resume.given", "open", frozen.size);
  await migrate(
    [...movable.keys()].filter((peer) => !frozen.has(peer)),
    deps,
  );
}

function findMovable(peers: readonly Peer[]): Connections {
  const movable = new Map<Peer, Connection>();
  for (const peer of peers) {
    const connection = peer.movable;
    if (connection !== undefined && !connection.isMigrating) movable.set(peer, connection);
  }
  return movable;
}

/** Those for which `action` has found no obstacle; the others go on. */
async function eachOf(
  connections: Connections,
  { counters }: Pick<Deps, "counters">,
  action: (connection: Connection) => Promise<MoveObstacle | undefined>,
): Promise<Connections> {
  const done = new Map<Peer, Connection>();
  const all = [...connections].map(async ([peer, connection]) => {
    const obstacle = await action(connection);
    if (obstacle === undefined) {
      done.set(peer, connection);
    } else {
      connection.thaw();
      counters.count("worker.resume.given", obstacle);
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

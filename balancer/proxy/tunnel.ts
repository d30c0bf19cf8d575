/**
 * Upgraded connections: both halves of each until their end, and how many of them end together, when a worker dies, a
 * session moves or the balancer shuts down. Bytes are copied, frames are not parsed.
 */
import type { Clock, Timer } from "../../shared/base/clock.ts";
import type { SessionKey } from "../../shared/base/ids.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { DetachedConnection } from "../downstream/exchange-contract.ts";
import type { Connection, ConnectionHandler, Piece } from "../transport/transport.ts";
import type { MigrateRequests } from "../upstreams/migrate-clients.ts";
import type { Upstream } from "../upstreams/upstream.ts";

export interface Tunnels {
  /** Joins both sides. `head` is the 101 for the client, `rest` what the worker sent behind its own. */
  open(tunnel: {
    client: DetachedConnection;
    worker: Connection;
    upstream: Upstream;
    /** Of the request that opened it. */
    requestId: string;
    head: string;
    rest: Buffer;
    /** The session that the worker marked it with. */
    session: { readonly id: SessionKey; readonly epoch: number } | undefined;
  }): void;
  /**
   * Ends the tunnels of a session that continues in a higher epoch, except those to `at`, its present worker, which ends
   * them itself where needed.
   */
  endMoved(session: SessionKey, epoch: number, at: Upstream | undefined): void;
  /** Ends all of them by FIN, at once. */
  endAll(): void;
  /**
   * Ends all of them, spread over `spreadMs`. Workers are asked to migrate their clients; those that are still open `graceMs`
   * later, or whose worker cannot migrate them, are ended by FIN, and what they still send is relayed.
   */
  migrateAll(time: { readonly spreadMs: number; readonly graceMs: number }): void;
  /** Writes access log entries of the open ones: the process exits now. */
  reportOpen(): void;
  readonly size: number;
}

/** Time for both sides to close after our FIN. */
const END_MS = 2000;
/**
 * Many tunnels that end at a time end in steps: their clients reconnect at once, and a worker that takes over must not get
 * all of them in one moment. All have ended after `MAX_STEPS` steps, within a second.
 */
const STEP_MS = 50;
const MIN_PER_STEP = 25;
const MAX_STEPS = 20;

export function createTunnels(deps: {
  clock: Clock;
  /** 0 to below 1. */
  random: () => number;
  migrateRequests: MigrateRequests;
  log: Log;
}): Tunnels {
  const { clock, log } = deps;
  const all = new Set<Tunnel>();
  const bySession = new Map<SessionKey, Set<Tunnel>>();
  /** Due to end, oldest first. */
  let ending: Tunnel[] = [];
  let perStep = MIN_PER_STEP;
  let nextStep: Timer | undefined;
  /** Set during a graceful shutdown. */
  let nextMigration: Timer | undefined;
  /** Workers without migrate support; each is logged once. */
  const cannotMigrate = new Set<Upstream>();

  function add(tunnel: Tunnel): void {
    all.add(tunnel);
    if (tunnel.session === undefined) return;
    const tunnels = bySession.get(tunnel.session.id) ?? new Set();
    bySession.set(tunnel.session.id, tunnels.add(tunnel));
  }

  function remove(tunnel: Tunnel): void {
    all.delete(tunnel);
    if (tunnel.session === undefined) return;
    const tunnels = bySession.get(tunnel.session.id);
    tunnels?.delete(tunnel);
    if (tunnels?.size === 0) bySession.delete(tunnel.session.id);
  }

  function endSoon(tunnel: Tunnel): void {
    ending.push(tunnel);
    perStep = Math.max(perStep, Math.ceil(ending.length / MAX_STEPS));
    nextStep ??= clock.after(0, step);
  }

  function step(): void {
    for (const tunnel of ending.splice(0, perStep)) tunnel.end(clock);
    if (ending.length === 0) perStep = MIN_PER_STEP;
    nextStep = ending.length === 0 ? undefined : clock.after(STEP_MS, step);
  }

  /**
   * Migrates those of `leaving` that are due; the first `done` were before. The last step takes all that were opened
   * meanwhile.
   */
  function migrateDue(leaving: readonly Tunnel[], done: number, time: Spread): void {
    const share = time.spreadMs > 0 ? (clock.nowMs() - time.beganMs) / time.spreadMs : 1;
    const isLast = share >= 1;
    const due = Math.ceil(leaving.length * share);
    migrate(isLast ? all : leaving.slice(done, due), time.graceMs);
    const nextMs = STEP_MS * (0.5 + deps.random());
    nextMigration = clock.after(nextMs, () => migrateDue(leaving, isLast ? done : due, time));
  }

  function migrate(tunnels: Iterable<Tunnel>, graceMs: number): void {
    const due = [...tunnels].filter((tunnel) => !tunnel.isMigrating);
    for (const tunnel of due) tunnel.isMigrating = true;
    for (const [upstream, group] of groupByWorker(due)) {
      const end = (): void => {
        for (const tunnel of group) if (all.has(tunnel)) tunnel.endAtClient(clock);
      };
      const ids = group.map(({ requestId }) => requestId);
      deps.migrateRequests(upstream, ids).then(
        () => clock.after(graceMs, end),
        (error: unknown) => {
          if (!cannotMigrate.has(upstream))
            log.info(
              { err: error, worker: upstream.id },
              "worker cannot migrate its clients; closing their connections",
            );
          cannotMigrate.add(upstream);
          end();
        },
      );
    }
  }

  return {
    open({ client, worker, upstream, requestId, head, rest, session }) {
      const tunnel = new Tunnel({ client, worker, upstream, requestId, session }, () => {
        upstream.inFlight--;
        stopWatching();
        remove(tunnel);
      });
      upstream.inFlight++;
      const stopWatching = upstream.onDown(() => endSoon(tunnel));
      add(tunnel);
      tunnel.begin(head, rest, client);
    },
    endMoved(session, epoch, at) {
      for (const tunnel of bySession.get(session) ?? []) {
        if (tunnel.upstream === at || (tunnel.session?.epoch ?? epoch) >= epoch) continue;
        endSoon(tunnel);
      }
    },
    migrateAll(time) {
      migrateDue([...all], 0, { beganMs: clock.nowMs(), ...time });
    },
    endAll() {
      nextMigration?.cancel();
      nextStep?.cancel();
      ending = [];
      for (const tunnel of [...all]) tunnel.end(clock);
    },
    reportOpen() {
      for (const tunnel of all) tunnel.report();
    },
    get size() {
      return all.size;
    },
  };
}

function groupByWorker(tunnels: readonly Tunnel[]): ReadonlyMap<Upstream, readonly Tunnel[]> {
  const byWorker = new Map<Upstream, Tunnel[]>();
  for (const tunnel of tunnels) {
    const group = byWorker.get(tunnel.upstream);
    if (group === undefined) byWorker.set(tunnel.upstream, [tunnel]);
    else group.push(tunnel);
  }
  return byWorker;
}

/** The time over which many tunnels end. */
interface Spread {
  readonly beganMs: number;
  readonly spreadMs: number;
  readonly graceMs: number;
}

class Tunnel {
  readonly upstream: Upstream;
  readonly requestId: string;
  readonly session: { readonly id: SessionKey; readonly epoch: number } | undefined;
  /** Whether its worker has been asked to migrate its client. */
  isMigrating = false;
  readonly #client: Connection;
  readonly #worker: Connection;
  readonly #onOver: () => void;
  readonly #onServed: (bodyBytes: number) => void;
  #openSides = 2;
  #bytesToClient = 0;
  #reported = false;
  #isEnding = false;

  constructor(
    tunnel: Pick<Tunnel, "upstream" | "requestId" | "session"> & {
      client: DetachedConnection;
      worker: Connection;
    },
    onOver: () => void,
  ) {
    const { connection: client, onServed } = tunnel.client;
    const { worker } = tunnel;
    this.#client = client;
    this.#onServed = onServed;
    this.#worker = worker;
    this.upstream = tunnel.upstream;
    this.requestId = tunnel.requestId;
    this.session = tunnel.session;
    this.#onOver = onOver;
    client.handler = new Half(this, client, worker);
    worker.handler = new Half(this, worker, client);
  }

  /** Sends what both sides have sent so far. */
  begin(head: string, rest: Buffer, client: DetachedConnection): void {
    this.#bytesToClient = rest.length;
    const first: Piece[] = rest.length > 0 ? [head, rest] : [head];
    // It may stay open for days and never write again.
    this.#client.setOptions();
    if (!this.#client.write(first)) this.#worker.pause();
    const more = client.early.length === 0 || this.#worker.write([client.early]);
    if (client.ended) this.#worker.end();
    // The connection may be paused because much was buffered.
    if (more) this.#client.resume();
    else this.#client.pause();
  }

  /** Sends FIN to both sides, and closes what is still open some time later. */
  end(clock: Clock): void {
    this.endAtClient(clock);
    this.#worker.end();
  }

  /**
   * Sends FIN to the client. What it sends until it notices is still relayed: the worker's side ends with the client's, or
   * some time later.
   */
  endAtClient(clock: Clock): void {
    if (this.#isEnding) return;
    this.#isEnding = true;
    this.#client.end();
    this.#worker.resume();
    clock.after(END_MS, () => {
      this.#client.destroy();
      this.#worker.destroy();
    });
  }

  /** Writes its access log entry, once. */
  report(): void {
    if (this.#reported) return;
    this.#reported = true;
    this.#onServed(this.#bytesToClient);
  }

  /** Bytes of one side have come for the other one. */
  relay(bytes: Buffer, from: Connection, to: Connection): void {
    const isForClient = to === this.#client;
    if (isForClient) this.#bytesToClient += bytes.length;
    // After the FIN the client gets nothing more, but a paused worker's side could not end.
    if (!to.write([bytes]) && !(this.#isEnding && isForClient)) from.pause();
  }

  onSideClosed(): void {
    this.#openSides--;
    if (this.#openSides > 0) return;
    this.report();
    this.#onOver();
  }
}

/** One direction of a tunnel. */
class Half implements ConnectionHandler {
  readonly #tunnel: Tunnel;
  readonly #from: Connection;
  readonly #to: Connection;

  constructor(tunnel: Tunnel, from: Connection, to: Connection) {
    this.#tunnel = tunnel;
    this.#from = from;
    this.#to = to;
  }

  onData(bytes: Buffer): void {
    this.#tunnel.relay(bytes, this.#from, this.#to);
  }

  onEnd(): void {
    this.#to.end();
  }

  onDrain(): void {
    this.#to.resume();
  }

  onClose(error: Error | undefined): void {
    if (error === undefined) this.#to.end();
    else this.#to.reset();
    this.#tunnel.onSideClosed();
  }
}

/**
 * The story of one upgraded connection: which requests may become one, whether the worker really agreed, and both halves
 * until their end. Bytes are copied, frames are not parsed.
 */
import type { Clock, Timer } from "../../shared/base/clock.ts";
import type { SessionKey } from "../../shared/base/ids.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { Connection, ConnectionHandler, Piece } from "../transport/transport.ts";
import type { MigrateRequests } from "../upstreams/migrate.ts";
import type { Upstream } from "../upstreams/upstream.ts";
import type { DetachedConnection } from "./contract.ts";

export interface Tunnels {
  /** Joins both sides. `answer` is the head that the client is sent, `rest` what the worker sent behind it. */
  open(tunnel: {
    client: DetachedConnection;
    worker: Connection;
    upstream: Upstream;
    /** Of the request that opened it. */
    requestId: string;
    answer: string;
    rest: Buffer;
    /** The session that the worker marked it with. */
    session: { readonly id: SessionKey; readonly epoch: number } | undefined;
  }): void;
  /**
   * Ends the tunnels of a session that lives on in a higher epoch, but for those to `at`, which is where it lives now: that
   * worker knows itself what becomes of them.
   */
  endMoved(session: SessionKey, epoch: number, at: Upstream | undefined): void;
  /** Ends all of them by FIN, at once. */
  endAll(): void;
  /**
   * Ends all of them, one after the other within `spreadMs`. Workers are asked to let go of their clients; those that have
   * not gone `graceMs` later, or whose worker does not do that, are ended by FIN, and what they still send is relayed.
   */
  letAllGo(time: { readonly spreadMs: number; readonly graceMs: number }): void;
  /** Writes the lines of those that are open into the access log: the process ends now. */
  reportOpen(): void;
  readonly size: number;
}

/** Time for both sides to end after they were told to. */
const END_MS = 2000;
/**
 * Of many tunnels that end at a time, some in each step: their clients come back together, and a worker that takes over
 * shall not meet them all in one moment. All have ended after `MAX_STEPS` steps, within a second.
 */
const STEP_MS = 50;
const MIN_PER_STEP = 25;
const MAX_STEPS = 20;

export function createTunnels(needs: {
  clock: Clock;
  /** 0 to below 1. */
  random: () => number;
  migrateRequests: MigrateRequests;
  log: Log;
}): Tunnels {
  const { clock, log } = needs;
  const all = new Set<Tunnel>();
  const bySession = new Map<SessionKey, Set<Tunnel>>();
  /** Told to end, those that have waited longest first. */
  let ending: Tunnel[] = [];
  let perStep = MIN_PER_STEP;
  let nextStep: Timer | undefined;
  /** The balancer leaves. */
  let nextMigration: Timer | undefined;
  /** Workers that did not take its word; said once of each. */
  const deaf = new Set<Upstream>();

  function remember(tunnel: Tunnel): void {
    all.add(tunnel);
    if (tunnel.session === undefined) return;
    const tunnels = bySession.get(tunnel.session.id) ?? new Set();
    bySession.set(tunnel.session.id, tunnels.add(tunnel));
  }

  function forget(tunnel: Tunnel): void {
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

  /** Ends those whose turn it is, `ended` were before them; with the last ones all that were opened meanwhile. */
  function requestMigration(leaving: readonly Tunnel[], ended: number, time: Spread): void {
    const share = time.spreadMs > 0 ? (clock.nowMs() - time.beganMs) / time.spreadMs : 1;
    const isLast = share >= 1;
    const due = Math.ceil(leaving.length * share);
    letGo(isLast ? all : leaving.slice(ended, due), time.graceMs);
    const nextMs = STEP_MS * (0.5 + needs.random());
    nextMigration = clock.after(nextMs, () =>
      requestMigration(leaving, isLast ? ended : due, time),
    );
  }

  function letGo(tunnels: Iterable<Tunnel>, graceMs: number): void {
    const byWorker = new Map<Upstream, Tunnel[]>();
    for (const tunnel of tunnels) {
      if (tunnel.isLetGo) continue;
      tunnel.isLetGo = true;
      const group = byWorker.get(tunnel.upstream);
      if (group === undefined) byWorker.set(tunnel.upstream, [tunnel]);
      else group.push(tunnel);
    }
    for (const [upstream, group] of byWorker) {
      const end = (): void => {
        for (const tunnel of group) if (all.has(tunnel)) tunnel.endAtClient(clock);
      };
      const ids = group.map(({ requestId }) => requestId);
      needs.migrateRequests(upstream, ids).then(
        () => clock.after(graceMs, end),
        (error: unknown) => {
          if (!deaf.has(upstream))
            log.info(
              { err: error, worker: upstream.id },
              "it does not let go of its clients; they are ended by FIN",
            );
          deaf.add(upstream);
          end();
        },
      );
    }
  }

  return {
    open({ client, worker, upstream, requestId, answer, rest, session }) {
      const tunnel = new Tunnel({ client, worker, upstream, requestId, session }, () => {
        upstream.inFlight--;
        stopWatching();
        forget(tunnel);
      });
      upstream.inFlight++;
      const stopWatching = upstream.onDead(() => endSoon(tunnel));
      remember(tunnel);
      tunnel.begin(answer, rest, client);
    },
    endMoved(session, epoch, at) {
      for (const tunnel of bySession.get(session) ?? []) {
        if (tunnel.upstream === at || (tunnel.session?.epoch ?? epoch) >= epoch) continue;
        endSoon(tunnel);
      }
    },
    letAllGo(time) {
      requestMigration([...all], 0, { beganMs: clock.nowMs(), ...time });
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

/** A time over which many tunnels end. */
interface Spread {
  readonly beganMs: number;
  readonly spreadMs: number;
  readonly graceMs: number;
}

class Tunnel {
  readonly upstream: Upstream;
  readonly requestId: string;
  readonly session: { readonly id: SessionKey; readonly epoch: number } | undefined;
  /** Whether it is its turn because the balancer leaves. */
  isLetGo = false;
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
    client.handler = this.#copy(client, worker, () => {});
    worker.handler = this.#copy(worker, client, (bytes) => {
      this.#bytesToClient += bytes;
    });
  }

  /** Sends what is there already. */
  begin(answer: string, rest: Buffer, client: DetachedConnection): void {
    this.#bytesToClient = rest.length;
    const first: Piece[] = rest.length > 0 ? [answer, rest] : [answer];
    if (!this.#client.write(first)) this.#worker.pause();
    const more = client.early.length === 0 || this.#worker.write([client.early]);
    if (client.ended) this.#worker.end();
    // It may have been paused because much was held.
    if (more) this.#client.resume();
    else this.#client.pause();
  }

  /** Tells both sides that it is over, and closes what is still open some time later. */
  end(clock: Clock): void {
    this.endAtClient(clock);
    this.#worker.end();
  }

  /**
   * Tells the client that it is over. What it has sent before it hears of it is still relayed: the worker's side ends with
   * the client's, or some time later.
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

  /** Its line in the access log: one, at its end. */
  report(): void {
    if (this.#reported) return;
    this.#reported = true;
    this.#onServed(this.#bytesToClient);
  }

  #copy(from: Connection, to: Connection, count: (bytes: number) => void): ConnectionHandler {
    return {
      onData: (bytes) => {
        count(bytes.length);
        // After its end the client gets nothing more, but the end of the worker's side must be noticed.
        if (!to.write([bytes]) && !(this.#isEnding && to === this.#client)) from.pause();
      },
      onEnd: () => to.end(),
      onDrain: () => to.resume(),
      onClose: (error) => {
        if (error === undefined) to.end();
        else to.reset();
        this.#openSides--;
        if (this.#openSides > 0) return;
        this.report();
        this.#onOver();
      },
    };
  }
}

/**
 * Where a balancer has its workers from: the store, which also knows whose a session is, or a fixed list and nothing else.
 */
import { type Clock, sleep } from "../../shared/base/clock.ts";
import { type Incarnation, newIncarnation, type WorkerId } from "../../shared/base/ids.ts";
import {
  createLogStream,
  type LogStream,
  type LogStreamName,
} from "../../shared/cluster/log-stream.ts";
import { publishStatus, type View } from "../../shared/cluster/status-reports.ts";
import type { CommandAnswer, EdgeCommand } from "../../shared/control/command.ts";
import { type CommandListener, listenForCommands } from "../../shared/control/command-listener.ts";
import type { Log } from "../../shared/logs/log.ts";
import { createLease } from "../../shared/membership/lease.ts";
import {
  createMemberVerification,
  type RefusedMember,
} from "../../shared/membership/member-verification.ts";
import { reachableUrl } from "../../shared/membership/reach.ts";
import { createMembershipView } from "../../shared/membership/view.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import { addressProof, edgeProof } from "../../shared/net/edge-headers.ts";
import { connectStore, storeReached } from "../../shared/process/connect-store.ts";
import { required } from "../../shared/process/program.ts";
import { VERSION } from "../../shared/process/version.ts";
import { SettingError, type Settings } from "../../shared/settings/read-settings.ts";
import { deriveKeys, PUBLIC_RING_KEY } from "../../shared/settings/secret.ts";
import type { WorkerRecord } from "../../shared/store/member.ts";
import type { Store, StoreHealth } from "../../shared/store/store.ts";
import type { MembershipView, Router } from "../routing/router.ts";
import { createMigrateRequests, type MigrateRequests } from "../upstreams/migrate.ts";
import { createEdgeProbe, type Probe, trafficProbe } from "../upstreams/probe.ts";
import { askWorkersForMembers } from "./members-from-workers.ts";
import {
  createSnapshotFile,
  MAX_KEPT_OWNERS,
  type SavedOwner,
  type SnapshotFile,
  type SnapshotKeeper,
  startSnapshotKeeper,
} from "./snapshot.ts";
import { createStaticDiscovery } from "./static-discovery.ts";

export interface Discovery {
  readonly view: MembershipView;
  readonly sessions: Pick<Store, "findSession">;
  /** `x-ct-edge` for a worker; undefined without a secret. */
  readonly prove: (worker: WorkerRecord) => string | undefined;
  readonly probe: Probe;
  readonly migrateRequests: MigrateRequests;
  /** A worker has proved that it lives another life than its record says. */
  readonly onOtherIncarnation: (id: WorkerId, life: Incarnation) => void;
  /** Whether workers have leases, and say in their records how busy they are. */
  readonly isLeased: boolean;
  /** Undefined: there is none. */
  readonly storeHealth: () => StoreHealth | undefined;
  /** Calls `listener` when the store is away or back. */
  readonly onStoreHealth: (listener: () => void) => void;
  readonly refused: () => readonly RefusedMember[];
  /**
   * A way for lines of this balancer to operators elsewhere. Undefined where there is no store, or one of this machine:
   * its dashboard reads the files.
   */
  openLogStream(stream: LogStreamName): LogStream | undefined;
  /**
   * Reads who is there: from the store, or, when that does not say it within `FIRST_VIEW_MS`, from the snapshot of an
   * earlier life. Resolves with the owners of sessions that the snapshot knows.
   */
  start(): Promise<Iterable<SavedOwner>>;
  /** Whether the members are those of a snapshot, because the store has not been reached yet. */
  readonly isRecalled: boolean;
  /** Keeps the snapshot up to date from now on, until `close`. */
  keep(owners: Pick<Router, "newestOwners" | "ownersRevision">): void;
  /** Makes this balancer a member, as soon as there is a store, until `close`. */
  announce(at: {
    readonly statusBind: string;
    readonly statusPort: number;
    /** How it sees the edge, asked every few seconds. */
    readonly describe: () => View;
    /** Does what an operator asks of it. */
    readonly handleCommand: (command: EdgeCommand) => Promise<CommandAnswer> | CommandAnswer;
  }): void;
  close(): Promise<void>;
}

/** How long the ports stay closed for the first look at who is there. */
const FIRST_VIEW_MS = 1000;

interface Deps {
  readonly settings: Settings;
  readonly id: WorkerId;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
}

/** Throws `SettingError`. */
export function createDiscovery(deps: Deps): Discovery {
  return deps.settings.workers.length > 0 ? createListDiscovery(deps) : createStoreDiscovery(deps);
}

// --- from the store ---

function createStoreDiscovery(deps: Deps): Discovery {
  const { settings, id, clock, log, counters } = deps;
  const keys = deriveKeys(required(settings.secret, "CT_SECRET", "balancer"));
  const store = connectStore({ settings, name: id, clock, log, counters });
  const admission = createMemberVerification({
    networks: settings.workerNetworks,
    secretFingerprint: keys.fingerprint,
    store,
    counters,
    log,
  });
  const view = createMembershipView({ store, clock, log, ringKey: keys.ring, admission });
  const snapshot = snapshotFile(settings, log);
  let keeper: SnapshotKeeper | undefined;
  const prove = (worker: WorkerRecord): string =>
    edgeProof(keys.edge, worker.id, worker.incarnation);
  const fromWorkers = askWorkersForMembers({
    self: id,
    clock,
    edgeKey: keys.edge,
    isAway: () => store.health.state !== "up",
    workers: () => view.workers,
    prove,
    onMembers: (workers) => view.hearMembers(admission.admit(workers)),
  });
  const incarnation = newIncarnation();
  let statusUrl = "";
  let told: { close(): void } | undefined;
  const logStreams: LogStream[] = [];
  let commandListener: CommandListener | undefined;
  const lease = createLease({
    store,
    clock,
    log,
    describe: () => ({
      kind: "balancer",
      id,
      incarnation,
      statusUrl,
      version: VERSION,
      ringFingerprint: view.ring.fingerprint,
      secretFingerprint: keys.fingerprint,
    }),
    // Its name is random, so nobody can have the same.
    onReplaced: () => {},
  });

  return {
    view,
    migrateRequests: createMigrateRequests(id),
    sessions: store,
    prove,
    probe: createEdgeProbe({ id, storeHealth: () => store.health, edgeKey: keys.edge }),
    onOtherIncarnation(worker, life) {
      // A store that is there says so itself within a second, with all that is in the new record.
      if (store.health.state !== "up") view.hear(worker, life);
    },
    isLeased: true,
    storeHealth: () => store.health,
    onStoreHealth: (listener) => void store.onHealth(listener),
    refused: () => admission.refused,
    openLogStream(stream) {
      if (settings.storeSocket !== undefined) return undefined;
      const opened = createLogStream({ store, stream, source: id, clock, counters });
      logStreams.push(opened);
      return opened;
    },
    async start() {
      await Promise.race([view.start(), sleep(clock, FIRST_VIEW_MS)]);
      if (view.fresh) return [];
      const recalled = await snapshot?.read();
      if (recalled === undefined || view.fresh) return [];
      view.recall(admission.admit(recalled.workers));
      log.warn(
        { workers: view.workers.length },
        "the store is away; the members are those that were seen last",
      );
      return recalled.owners;
    },
    get isRecalled() {
      return !view.fresh && view.workers.length > 0;
    },
    keep(owners) {
      if (snapshot === undefined) return;
      keeper = startSnapshotKeeper({
        file: snapshot,
        clock,
        source: {
          workers: () => view.workers,
          owners: () => owners.newestOwners(MAX_KEPT_OWNERS),
          ownersRevision: () => owners.ownersRevision,
        },
      });
    },
    announce({ statusBind, statusPort, describe, handleCommand }) {
      // It keeps no traffic waiting: with the store away it goes on trying.
      void storeReached(store).then(() => {
        const { localAddress } = store;
        statusUrl = reachableUrl({ bind: statusBind, port: statusPort, localAddress });
        told = publishStatus({ store, clock, log, self: id, describe });
        commandListener = listenForCommands({ store, clock, log, self: id, handleCommand });
        return lease.start();
      });
    },
    async close() {
      await Promise.all([lease.close(), keeper?.close()]);
      told?.close();
      commandListener?.close();
      fromWorkers.close();
      view.close();
      await Promise.all(logStreams.map((stream) => stream.close()));
      await store.close();
    },
  };
}

/** An embedded store lives and ends with the workers, so it is never away alone. */
function snapshotFile(settings: Settings, log: Log): SnapshotFile | undefined {
  const { redisUrl, redisPrefix, storeSocket, dataDir } = settings;
  if (storeSocket !== undefined || redisUrl === undefined) return undefined;
  return createSnapshotFile({ dataDir, storeName: `${redisUrl}\n${redisPrefix}`, log });
}

// --- from a list ---

function createListDiscovery({ settings, id, log }: Deps): Discovery {
  if (settings.storeSocket !== undefined || settings.redisUrl !== undefined) {
    const store = settings.storeSocket === undefined ? "CT_REDIS_URL" : "CT_STORE_SOCKET";
    throw new SettingError(
      `CT_WORKERS and ${store} are both set; a balancer has its workers from one of them, take the other away`,
    );
  }
  const keys = settings.secret === undefined ? undefined : deriveKeys(settings.secret);
  const view = createStaticDiscovery(settings.workers, keys?.ring ?? PUBLIC_RING_KEY);
  log.info({ workers: view.workers.length, ring: view.ring.fingerprint }, "the workers are fixed");
  if (keys === undefined) {
    log.warn(
      {},
      "CT_SECRET is not set: workers are not told that a balancer vouches for a request, and anybody can tell which worker a key leads to",
    );
  }
  return {
    view,
    migrateRequests: createMigrateRequests(id),
    sessions: { findSession: async () => undefined },
    prove: (worker) => (keys === undefined ? undefined : addressProof(keys.edge, worker.id)),
    probe: trafficProbe,
    onOtherIncarnation() {},
    isLeased: false,
    storeHealth: () => undefined,
    onStoreHealth() {},
    refused: () => [],
    openLogStream: () => undefined,
    start: async () => [],
    isRecalled: false,
    keep() {},
    announce() {},
    async close() {},
  };
}

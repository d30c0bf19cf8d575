/**
 * Where a balancer gets its workers: from the store, which also names the owners of sessions, or from a fixed list.
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
import { createMembershipView } from "../../shared/membership/view.ts";
import { reachableUrl } from "../../shared/membership/worker-address.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import { addressProof, edgeProof } from "../../shared/net/edge-headers.ts";
import { connectStore, storeReached } from "../../shared/process/connect-store.ts";
import { required } from "../../shared/process/program.ts";
import { VERSION } from "../../shared/process/version.ts";
import {
  checkSecrets,
  createKeyring,
  logSwitch,
  type PurposeKeys,
} from "../../shared/settings/keyring.ts";
import { SettingError, type Settings } from "../../shared/settings/read-settings.ts";
import { deriveKeys, PUBLIC_RING_KEY } from "../../shared/settings/secret.ts";
import type { BalancerRecord, MemberRecord, WorkerRecord } from "../../shared/store/member.ts";
import type { Store, StoreHealth } from "../../shared/store/store.ts";
import type { MembershipView, Router } from "../routing/router.ts";
import { createLinkTargets, type LinkTargets } from "../upstreams/link-target.ts";
import { createMigrateRequests, type MigrateRequests } from "../upstreams/migrate-clients.ts";
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
import { storeNameOf } from "./store-files.ts";

export interface Discovery {
  readonly view: MembershipView;
  readonly sessions: Pick<Store, "findSession">;
  /** `x-ct-edge` for a worker; undefined without a secret. */
  readonly prove: (worker: WorkerRecord) => string | undefined;
  /** Verifies tokens; none are accepted without a secret. */
  readonly tokenKeys: Pick<PurposeKeys, "accepted">;
  readonly probe: Probe;
  readonly migrateRequests: MigrateRequests;
  readonly linkTarget: LinkTargets;
  /** Called when a worker has proved that it is another incarnation than its record says. */
  readonly onOtherIncarnation: (id: WorkerId, incarnation: Incarnation) => void;
  /** Whether workers have leases, and records that carry their load. */
  readonly isLeased: boolean;
  /** The store itself, and the key of what balancers share there; undefined without a store. */
  readonly storeAccess: { readonly store: Store; readonly acmeKeys: PurposeKeys } | undefined;
  /** Undefined without a store. */
  readonly storeHealth: () => StoreHealth | undefined;
  /** Calls `listener` when the store goes away or comes back. */
  readonly onStoreHealth: (listener: () => void) => void;
  readonly refused: () => readonly RefusedMember[];
  /**
   * Streams log lines of this balancer to operators on other machines. Undefined without a store, and with one of this
   * machine, whose dashboard reads the files.
   */
  openLogStream(stream: LogStreamName): LogStream | undefined;
  /**
   * Reads the members from the store, or, if it does not respond within `FIRST_VIEW_MS`, from the snapshot of an earlier
   * run. Resolves with the session owners of that snapshot.
   */
  start(): Promise<Iterable<SavedOwner>>;
  /** Whether the members come from a snapshot, because the store has not been reached yet. */
  readonly isRecalled: boolean;
  /** Whether the last read of the store found all members. */
  readonly isSettled: boolean;
  /** The other balancers, and this one; none with a fixed list. */
  readonly balancers: () => readonly BalancerRecord[];
  /** Keeps the snapshot up to date until `close`. */
  keep(owners: Pick<Router, "newestOwners" | "ownersRevision">): void;
  /** Makes this balancer a member, as soon as the store is reached, until `close`. */
  announce(at: {
    readonly statusBind: string;
    readonly statusPort: number;
    /** How many workers it finds are wanted, for its record. */
    readonly wanted: () => number | undefined;
    /** Its view of the edge, called every few seconds. */
    readonly describe: () => View;
    /** Executes an operator's command. */
    readonly handleCommand: (command: EdgeCommand) => Promise<CommandAnswer> | CommandAnswer;
  }): void;
  close(): Promise<void>;
}

/** How long the ports stay closed while the members are read for the first time. */
const FIRST_VIEW_MS = 1000;

/** Where the workers come from, and whom to trust. */
type DiscoverySettings = Pick<
  Settings,
  | "workers"
  | "workerNetworks"
  | "secret"
  | "secretPrevious"
  | "storeSocket"
  | "redisUrl"
  | "redisCa"
  | "redisPrefix"
  | "dataDir"
  | "link"
>;

interface Deps {
  readonly settings: DiscoverySettings;
  readonly id: WorkerId;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
}

/** Throws `SettingError`. */
export function createDiscovery(deps: Deps): Discovery {
  checkSecrets(deps.settings);
  return deps.settings.workers.length > 0 ? createFixedDiscovery(deps) : createStoreDiscovery(deps);
}

// --- from the store ---

function createStoreDiscovery(deps: Deps): Discovery {
  const { settings, id, clock, log, counters } = deps;
  const keyring = createKeyring(
    {
      secret: required(settings.secret, "CT_SECRET", "balancer"),
      previous: settings.secretPrevious,
    },
    (isNew) => logSwitch(log, isNew),
  );
  const store = connectStore({ settings, name: id, clock, log, counters });
  const verification = createMemberVerification({
    networks: settings.workerNetworks,
    secretFingerprints: keyring.fingerprints,
    store,
    counters,
    log,
  });
  const ring = { ringKeyFor: keyring.ringKeyFor, admission: verification };
  const view = createMembershipView({ store, clock, log, ...ring });
  counters.gauge("balancer.rings", () => countRings([...view.workers, ...view.balancers]));
  counters.gauge("balancer.members_ignored", () => verification.refused.length);
  const file = snapshotFile(settings, log);
  let keeper: SnapshotKeeper | undefined;
  const prove = (worker: WorkerRecord): string =>
    edgeProof(keyring.edgeKeyFor(worker), worker.id, worker.incarnation);
  const fromWorkers = askWorkersForMembers({
    self: id,
    clock,
    edgeKeys: keyring.edge,
    isAway: () => store.health.state !== "up",
    workers: () => view.workers,
    prove,
    onMembers: (workers) => view.hearMembers(verification.admit(workers)),
  });
  const incarnation = newIncarnation();
  let statusUrl = "";
  let wanted: () => number | undefined = () => undefined;
  let statusReports: { close(): void } | undefined;
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
      wanted: wanted(),
      ringFingerprint: view.ring.fingerprint,
      ...keyring.known,
    }),
    // Its name is random, so no other process can have it.
    onReplaced: () => {},
  });

  return {
    view,
    migrateRequests: createMigrateRequests(id),
    sessions: store,
    prove,
    tokenKeys: keyring.token,
    linkTarget: createLinkTargets({
      isOn: settings.link,
      edgeKeys: keyring.edge,
      self: { id, incarnation },
      prove,
    }),
    probe: createEdgeProbe({ id, storeHealth: () => store.health, edgeKeys: keyring.edge }),
    onOtherIncarnation(worker, other) {
      // While the store is up, it delivers the complete new record within a second.
      if (store.health.state !== "up") view.hear(worker, other);
    },
    isLeased: true,
    storeAccess: { store, acmeKeys: keyring.acme },
    storeHealth: () => store.health,
    onStoreHealth: (listener) => void store.onHealth(listener),
    refused: () => verification.refused,
    openLogStream(stream) {
      if (settings.storeSocket !== undefined) return undefined;
      const opened = createLogStream({ store, stream, source: id, clock, counters });
      logStreams.push(opened);
      return opened;
    },
    async start() {
      await Promise.race([view.start(), sleep(clock, FIRST_VIEW_MS)]);
      if (view.fresh) return [];
      const saved = await file?.read();
      if (saved === undefined || view.fresh) return [];
      view.recall(verification.admit(saved.workers));
      log.warn(
        { workers: view.workers.length },
        "the store is away; starting with the workers of the last snapshot",
      );
      return saved.owners;
    },
    get isRecalled() {
      return !view.fresh && view.workers.length > 0;
    },
    get isSettled() {
      return view.settled;
    },
    balancers: () => view.balancers,
    keep(owners) {
      if (file === undefined) return;
      keeper = startSnapshotKeeper({
        file,
        clock,
        source: {
          workers: () => view.workers,
          owners: () => owners.newestOwners(MAX_KEPT_OWNERS),
          ownersRevision: () => owners.ownersRevision,
        },
      });
    },
    announce({ statusBind, statusPort, wanted: find, describe, handleCommand }) {
      wanted = find;
      // Traffic does not wait for this: while the store is away, it keeps trying.
      void storeReached(store).then(() => {
        const { localAddress } = store;
        statusUrl = reachableUrl({ bind: statusBind, port: statusPort, localAddress });
        const common = { store, clock, log, self: id };
        statusReports = publishStatus({ ...common, store: store.deferred, describe });
        commandListener = listenForCommands({ ...common, handleCommand });
        return lease.start();
      });
    },
    async close() {
      await Promise.all([lease.close(), keeper?.close()]);
      statusReports?.close();
      commandListener?.close();
      fromWorkers.close();
      view.close();
      await Promise.all(logStreams.map((stream) => stream.close()));
      await store.close();
    },
  };
}

/** Undefined with an embedded store: it runs and stops with the workers, so it is never away alone. */
function snapshotFile(settings: DiscoverySettings, log: Log): SnapshotFile | undefined {
  const { redisUrl, storeSocket, dataDir } = settings;
  if (storeSocket !== undefined || redisUrl === undefined) return undefined;
  return createSnapshotFile({ dataDir, storeName: storeNameOf(settings), log });
}

/** Different rings among those that members have published; at least the one of this process. */
function countRings(members: readonly Pick<MemberRecord, "ringFingerprint">[]): number {
  const rings = new Set(members.map(({ ringFingerprint }) => ringFingerprint));
  rings.delete("");
  return Math.max(1, rings.size);
}

// --- from a list ---

function createFixedDiscovery({ settings, id, log }: Deps): Discovery {
  if (settings.storeSocket !== undefined || settings.redisUrl !== undefined) {
    const store = settings.storeSocket === undefined ? "CT_REDIS_URL" : "CT_STORE_SOCKET";
    throw new SettingError(
      `CT_WORKERS and ${store} are both set; a balancer gets its workers from one of them, unset the other`,
    );
  }
  // Its workers may know only the previous secret, and there is no record to tell.
  const secret = settings.secretPrevious ?? settings.secret;
  const keys = secret === undefined ? undefined : deriveKeys(secret);
  const view = createStaticDiscovery(settings.workers, keys?.ring ?? PUBLIC_RING_KEY);
  log.info(
    { workers: view.workers.length, ring: view.ring.fingerprint },
    "workers are a fixed list",
  );
  if (keys === undefined) {
    log.warn(
      {},
      "CT_SECRET is not set: workers cannot verify that a request came through this balancer, and any client can predict which worker a key leads to; set CT_SECRET, as on the workers",
    );
  }
  return {
    view,
    migrateRequests: createMigrateRequests(id),
    sessions: { findSession: async () => undefined },
    prove: (worker) => (keys === undefined ? undefined : addressProof(keys.edge, worker.id)),
    tokenKeys: { accepted: keys === undefined ? [] : [keys.token] },
    linkTarget: () => "unsupported",
    probe: trafficProbe,
    onOtherIncarnation() {},
    isLeased: false,
    storeAccess: undefined,
    storeHealth: () => undefined,
    onStoreHealth() {},
    refused: () => [],
    openLogStream: () => undefined,
    start: async () => [],
    isRecalled: false,
    isSettled: true,
    balancers: () => [],
    keep() {},
    announce() {},
    async close() {},
  };
}

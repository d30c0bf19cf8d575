#!/usr/bin/env node
/**
 * `ct-worker`: reads the settings, builds the parts, starts them and stops them.
 */
import { hostname } from "node:os";
import { systemClock } from "../shared/base/clock.ts";
import { isWorkerId, newIncarnation, type WorkerId } from "../shared/base/ids.ts";
import { workerTag } from "../shared/base/tag.ts";
import { createLogStream, createProgramSink } from "../shared/cluster/log-stream.ts";
import { publishStatus } from "../shared/cluster/status-reports.ts";
import { listenForCommands } from "../shared/control/command-listener.ts";
import { createLog, type Log } from "../shared/logs/log.ts";
import { createLeaderElection } from "../shared/membership/leader-election.ts";
import { createLease } from "../shared/membership/lease.ts";
import { createMemberVerification } from "../shared/membership/member-verification.ts";
import { defaultBind, workerStatusUrl, workerUrl } from "../shared/membership/reach.ts";
import { createMembershipView, type MembershipView } from "../shared/membership/view.ts";
import { createCounters } from "../shared/metrics/metrics.ts";
import { connectStore, isStoreLocal, storeReached } from "../shared/process/connect-store.ts";
import {
  endOnBugs,
  fail,
  onPeerExit,
  openPort,
  reportReady,
  required,
  type StopRequest,
  sendToEdge,
  stopOnRequest,
} from "../shared/process/program.ts";
import { createShutdown } from "../shared/process/shutdown.ts";
import { releaseStartGarbage } from "../shared/process/start-garbage.ts";
import { openStatusPort } from "../shared/process/status-port.ts";
import { findLicense, logLicense } from "../shared/settings/license-file.ts";
import { readSettings, SettingError, type Settings } from "../shared/settings/read-settings.ts";
import { deriveKeys } from "../shared/settings/secret.ts";
import type { WorkerRecord } from "../shared/store/member.ts";
import { StoreAwayError } from "../shared/store/store.ts";
import { createApi } from "./api/api.ts";
import { createBalancerAuth } from "./balancers/balancer-auth.ts";
import { createOutageReports } from "./balancers/outage-reports.ts";
import { openClients } from "./clients/clients.ts";
import { workerProgram } from "./command-line.ts";
import { openDashboard } from "./dashboard/dashboard.ts";
import { type CommandHandler, createCommandHandler } from "./drain/command-handler.ts";
import { type DrainNeeds, drainsFirst, startDrain } from "./drain/drain.ts";
import { takeOverFrom } from "./drain/failover.ts";
import { createHandovers, sendPendingMessages, sendResume } from "./drain/handover.ts";
import { countIdle, migrateIdleSessions } from "./drain/move-idle.ts";
import { createOrigins } from "./http/origins.ts";
import { basePathOf } from "./http/routes.ts";
import { createLicenseCheck } from "./login/license-check.ts";
import { createTokens } from "./login/tokens.ts";
import { createCredentials } from "./operators/credentials.ts";
import { createWorkerServer } from "./server/server.ts";
import { createFence } from "./sessions/fence.ts";
import { createOwnerProbe, createOwnerProbes } from "./sessions/owner-probe.ts";
import { createHandoverInbox } from "./sessions/pending-messages.ts";
import { startReaper } from "./sessions/reaper.ts";
import { createRegistry, type Registry } from "./sessions/registry.ts";
import { attachSockets } from "./sessions/transport/socket.ts";
import { createVersionCheck } from "./sessions/wire/protocol.ts";
import { measureWorker } from "./usage/measurements.ts";
import { describeView, describeWorker, statusOf, type Vitals } from "./usage/status.ts";

const STATUS_PORT_DISTANCE = 1000;
const MAX_PORT = 65_535;
/** The edge gives its processes 2 s to end. */
const STOP_DEADLINE_MS = 1700;

await workerProgram(run).parseAsync();

async function run(flags: Record<string, unknown>): Promise<void> {
  try {
    await startWorker(readSettings({ role: "worker", env: process.env, flags }));
  } catch (error) {
    fail(error);
  }
}

async function startWorker(settings: Settings): Promise<void> {
  const clock = systemClock;
  const counters = createCounters();
  const id = chooseId(settings.workerId);
  const sink = createProgramSink(process.stdout, counters);
  const format = { name: id, level: settings.logLevel, format: settings.logFormat };
  const log = createLog({ ...format, sink });
  // For what must not get into the store: the one password that is ever shown.
  const ownLog = createLog({ ...format, sink: process.stdout });
  endOnBugs(log);
  const shutdown = createShutdown({
    clock,
    report: (part, problem) => log.error({ part, problem }, "a part could not be stopped"),
  });
  let phase: ReturnType<Vitals["phase"]> = "starting";
  const stop = async (status: number): Promise<never> => {
    phase = "stopping";
    await shutdown.run(STOP_DEADLINE_MS);
    process.exit(status);
  };
  /** Set when there is something to hand over. */
  let handOver: HandOverAtEnd | undefined;
  stopOnRequest(async (request, { urgent, edgeStops }) => {
    log.info({ why: request.why }, "stopping");
    const atEnd = handOver;
    if (atEnd?.isWanted(request)) {
      phase = "stopping";
      const cutShort = edgeStops.then((later) =>
        atEnd.isWanted(later) ? new Promise(() => {}) : later,
      );
      await Promise.race([atEnd.run(), urgent, cutShort]);
    }
    await stop(0);
  });

  const keys = deriveKeys(required(settings.secret, "CT_SECRET", "worker"));
  const self = { id, incarnation: newIncarnation(), secretFingerprint: keys.fingerprint };

  const store = connectStore({ settings, name: id, clock, log, counters });
  shutdown.add("store", () => store.close());
  // With a store of this machine the edge gathers the lines of all processes in one file.
  if (settings.storeSocket === undefined) {
    const stream = createLogStream({ store, stream: "log-server", source: id, clock, counters });
    sink.shareWith(stream);
    shutdown.add("log", () => stream.close());
  }
  const admission = createMemberVerification({
    networks: settings.workerNetworks,
    secretFingerprint: keys.fingerprint,
    store,
    counters,
    log,
  });
  const view = createMembershipView({ store, clock, log, ringKey: keys.ring, admission });
  shutdown.add("membership", () => view.close());

  const outageReports = createOutageReports(clock);
  const fence = createFence({
    clock,
    isStoreAwayForAll: () => outageReports.isStoreAwayForAll,
    onShut: () => registry.fence(),
  });
  shutdown.add("fence", () => fence.close());
  const owners = createOwnerProbes({
    clock,
    worker: (other) => view.worker(other),
    membersRead: () => (view.fresh ? undefined : nextChange(view)),
    probe: createOwnerProbe({
      self: self.id,
      edgeKey: keys.edge,
      storeHealth: () => store.health,
    }),
  });
  const tag = workerTag(self.id, self.incarnation);
  const tokens = createTokens({ key: keys.token, clock, store });
  const handoverInbox = createHandoverInbox({ clock });
  const registry: Registry = createRegistry({
    store,
    clock,
    log,
    counters,
    tokens,
    relayKey: keys.relay,
    settings,
    acceptsVersion: createVersionCheck([settings.protocolVersion, ...settings.protocolAccepted]),
    self,
    ring: () => view.ring,
    fence,
    owners,
    handoverInbox,
  });
  onPeerExit((workerId) => {
    owners.noteExit(workerId);
    void takeOverFrom(workerId, { self: id, store, registry, view, log });
  });
  const sockets = attachSockets({ registry, tokens, counters, log, clock, fence, settings, tag });
  const serverUrl = readServerUrl(settings.serverUrl);
  const origins = createOrigins({
    serverOrigin: serverUrl?.origin,
    allowedOrigins: settings.corsAllowedOrigins,
  });
  let urls = { url: "", statusUrl: "" };
  const balancerAuth = createBalancerAuth({
    edgeKey: keys.edge,
    self,
    urlOf: (other) => (other === self.id ? urls.url : view.worker(other)?.url),
  });
  const license = findLicense(settings);
  // An edge with a store of its own says it once for all its workers.
  if (settings.storeSocket === undefined) logLicense(license, rootLog(settings), clock.wallMs());
  const people = (): number =>
    view.workers
      .filter((worker) => worker.id !== self.id)
      .reduce((sum, { load }) => sum + load.connections, registry.load.connections);
  const credentials = createCredentials({ settings, store, clock, log: ownLog, counters });
  const clients = openClients({ settings, id, store, clock, log, counters });
  if (clients !== undefined) shutdown.add("clients", () => clients.close());
  const measurements = measureWorker({
    settings,
    self,
    store,
    view,
    registry,
    waitingPolls: () => api.waitingPolls,
    peopleKey: keys.people,
    counters,
    clock,
    log,
  });
  shutdown.add("metrics", () => measurements.close());
  const leadership = createLeaderElection("reaper", { store, clock, log, holder: id });
  shutdown.add("leadership", () => leadership.close());
  const dashboard = openDashboard({
    settings,
    self,
    leadership,
    store,
    clusterSeries: () => measurements.clusterSeries(),
    downloads: clients?.downloads,
    license,
    clock,
    log,
  });
  shutdown.add("dashboard", () => dashboard.close());
  const api = await createApi({
    nameOwner: balancerAuth.nameOwner,
    store,
    tokens,
    registry,
    origins,
    credentials,
    clients,
    metricsPage: settings.prometheusEnabled ? measurements.clusterPage : undefined,
    dashboard,
    clock,
    log,
    counters,
    settings,
    tag,
    license: createLicenseCheck({ found: license, people, clock }),
  });
  const server = createWorkerServer({
    api,
    sockets,
    registry,
    origins,
    balancerAuth,
    outageReports,
    members: { edgeKey: keys.edge, view, store },
    fence,
    handovers: createHandovers({ handoverInbox, registry, isOpen: () => standing.state === "up" }),
    basePath: basePathOf(serverUrl),
    maxHeadBytes: settings.maxHeadBytes,
    clock,
    log,
    counters,
  });

  // The port comes first, because the record names it. What arrives before the sessions are recovered is served: a session
  // that is asked for is taken up then.
  const bind = settings.workerBind ?? defaultBind(isStoreLocal(settings));
  const statusBind = settings.statusBind ?? defaultBind(isStoreLocal(settings));
  const port = await openPort("CT_WORKER_PORT", settings.workerPort, () =>
    server.listen(settings.workerPort, bind),
  );
  const vitals: Vitals = {
    self,
    urls: () => urls,
    refused: () => admission.refused,
    phase: () => phase,
    store,
    ring: () => view.ring,
    state: () => standing.state,
    load: () => ({ ...registry.load, lagMs: measurements.lag.meanMs }),
    sessionIds: () => registry.sessionIds,
    waitingPolls: () => api.waitingPolls,
    counters,
    clusterSeries: measurements.clusterSeries,
  };
  const wantedStatusPort = settings.statusPort ?? statusPortBeside(settings.workerPort);
  const status = await openPort("CT_STATUS_PORT", wantedStatusPort, () =>
    openStatusPort({ host: statusBind, port: wantedStatusPort, source: statusOf(vitals) }),
  );
  const statusPort = status.port;
  shutdown.add("status", () => status.close());

  const ending = new Set<WorkerId>();
  const takesSessions = (other: WorkerRecord): boolean =>
    other.id !== self.id && other.state === "up" && !ending.has(other.id);
  const drainNeeds: DrainNeeds = {
    self: self.id,
    ending,
    registry,
    view,
    clock,
    log,
    counters,
    sendPendingMessages: (to, sessionId, pendingMessages) =>
      sendPendingMessages(keys.edge, to, sessionId, pendingMessages),
    sendResume: (to, sessionId) => sendResume(keys.edge, to, sessionId),
    delayMs: settings.drainDelayMs,
    timeoutMs: settings.drainTimeoutMs,
    random: Math.random,
  };
  const standing: CommandHandler = createCommandHandler({
    registry,
    refresh: () => lease.refresh(),
    hasSuccessor: () => view.workers.some(takesSessions),
    startDrain: () => startDrain(drainNeeds),
    migrateIdleSessions: (gift, isWanted) => migrateIdleSessions(drainNeeds, gift, isWanted),
    countIdle: (idleMs) => countIdle(registry, idleMs),
    log,
  });
  const lease = createLease({
    store,
    clock,
    log,
    describe: () => describeWorker(vitals),
    onHeartbeat: (heartbeat) => {
      if (!fence.noteHeartbeat(heartbeat)) return;
      void registry.confirm();
      tokens.reassertRevoked().catch((error: unknown) => {
        // A store that is away is told with the beat after its return.
        if (!(error instanceof StoreAwayError))
          log.error({ err: error }, "revoked tokens could not be written again");
      });
    },
    onReplaced: () => void stop(1),
  });
  shutdown.add("lease", () => lease.close());
  // Before the lease ends: while peers are connected here, nobody else may take their sessions over.
  shutdown.add("traffic", async () => {
    // Whoever looks at the dashboard asks again, and is answered by another worker.
    dashboard.feed.close();
    const stopped = server.close();
    api.releasePolls();
    await sockets.close();
    await registry.close();
    await stopped;
    await api.close();
  });

  await storeReached(store);
  const { localAddress } = store;
  urls = {
    url: workerUrl({ workerUrl: settings.workerUrl, bind, port, localAddress }),
    statusUrl: workerStatusUrl({ bind: statusBind, port: statusPort, localAddress }),
  };
  releaseStartGarbage();
  // The record goes first, so that the first ring has this worker in it: it mints ids that the ring gives back to it.
  await lease.start();
  await view.start();
  await registry.recover();
  const commandListener = listenForCommands({
    store,
    clock,
    log,
    self: self.id,
    handleCommand: (command) => standing.handleCommand(command),
  });
  shutdown.add("commands", () => commandListener.close());
  const told = publishStatus({
    store,
    clock,
    log,
    self: self.id,
    describe: () => describeView(registry, measurements.statsd),
  });
  shutdown.add("view", () => told.close());
  const reaper = startReaper({ store, clock, log, self: self.id, registry, leadership });
  shutdown.add("reaper", () => reaper.close());
  await credentials.start();
  // It may have been asked to stop meanwhile.
  if (phase !== "starting") return;
  phase = "running";
  handOver = {
    isWanted(request) {
      for (const id of request.ending) ending.add(id);
      return drainsFirst(request, {
        isStoreEmbedded: settings.storeSocket !== undefined,
        hasSuccessor: view.workers.some(takesSessions),
      });
    },
    async run() {
      sendToEdge({ type: "draining", sessions: registry.load.sessions });
      // Long polls are repeated, and answered elsewhere once their session is there.
      api.shortenPolls();
      sendToEdge({ type: "drained", left: await standing.drain() });
    },
  };
  log.info({ port, statusPort }, "listening");
  reportReady({ port, statusPort });
}

interface HandOverAtEnd {
  /** Whether sessions are handed over first when the worker is asked to end so. */
  isWanted(request: StopRequest): boolean;
  /** Resolves when it is over. */
  run(): Promise<void>;
}

function nextChange(view: Pick<MembershipView, "onChange">): Promise<void> {
  return new Promise((resolve) => {
    const stop = view.onChange(() => {
      stop();
      resolve();
    });
  });
}

/** For the lines that operators know by the name of the whole. */
function rootLog({ logLevel, logFormat }: Pick<Settings, "logLevel" | "logFormat">): Log {
  return createLog({ name: "root", level: logLevel, format: logFormat, sink: process.stdout });
}

// --- what the settings mean ---

function chooseId(workerId: string | undefined): WorkerId {
  const id = workerId ?? hostname();
  if (isWorkerId(id)) return id;
  throw new SettingError(
    `CT_WORKER_ID is not set, and the host name ${JSON.stringify(id)} cannot stand for it; set it to 1 to 64 of A-Z a-z 0-9 . _ -`,
  );
}

function readServerUrl(text: string | undefined): URL | undefined {
  if (text === undefined) return undefined;
  if (URL.canParse(text)) return new URL(text);
  throw new SettingError(`CT_SERVER_URL=${JSON.stringify(text)} is not allowed; its port is none`);
}

function statusPortBeside(workerPort: number): number {
  const port = workerPort + STATUS_PORT_DISTANCE;
  return workerPort === 0 || port > MAX_PORT ? 0 : port;
}

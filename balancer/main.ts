#!/usr/bin/env node
/**
 * `ct-balancer`: reads the settings, builds the parts, starts them and stops them.
 */
import { hostname } from "node:os";
import { startAutoscale } from "../shared/autoscale/start.ts";
import { type Clock, systemClock } from "../shared/base/clock.ts";
import { randomAlphanumerics, type WorkerId } from "../shared/base/ids.ts";
import { createProgramSink } from "../shared/cluster/log-stream.ts";
import { createLog, type Log } from "../shared/logs/log.ts";
import { defaultBind } from "../shared/membership/worker-address.ts";
import { watchLoopLag } from "../shared/metrics/loop-lag.ts";
import { type Counters, createCounters } from "../shared/metrics/metrics.ts";
import { startPublisher } from "../shared/metrics/statsd/publisher.ts";
import { BALANCER_STATUS_PORT } from "../shared/net/ports.ts";
import { isStoreLocal } from "../shared/process/connect-store.ts";
import type { StopScope } from "../shared/process/edge-channel.ts";
import { releaseStartGarbage } from "../shared/process/free-start-memory.ts";
import { measureProcess } from "../shared/process/process-metrics.ts";
import {
  endOnBugs,
  fail,
  openPort,
  portsReleased,
  releasePortsOnRequest,
  reportReady,
  stopOnRequest,
  watchEdgeReadiness,
} from "../shared/process/program.ts";
import { notifyStopping } from "../shared/process/service-manager.ts";
import { createShutdown, type Shutdown } from "../shared/process/shutdown.ts";
import {
  openStatusPort,
  type StatusPort,
  type StatusSource,
} from "../shared/process/status-port.ts";
import { VERSION } from "../shared/process/version.ts";
import { readSettings, type Settings, slice } from "../shared/settings/read-settings.ts";
import { startAcme, wantedCertificate } from "./acme/start.ts";
import { checkSettings } from "./admin/check.ts";
import { balancerProgram } from "./admin/command-line.ts";
import { handleCommand } from "./admin/commands.ts";
import { describeAcme, describeView, statusOf } from "./admin/status.ts";
import { expiresInMs } from "./certificates/certificates.ts";
import { CurrentCertificates } from "./certificates/current-certificates.ts";
import { createDiscovery, type Discovery } from "./discovery/discovery.ts";
import { CLIENT_TIMEOUTS } from "./downstream/client-deadline.ts";
import type { DownstreamLimits } from "./downstream/served-client.ts";
import { readTrustedProxies, type TrustedProxies } from "./http1/forwarding.ts";
import { DEFAULT_HTTP_LIMITS } from "./http1/limits.ts";
import { createRequestLog, type RequestLog } from "./logs/request-log.ts";
import { connectionLimit, readDescriptorLimit } from "./server/connection-limit.ts";
import { startDataPath } from "./server/data-path.ts";
import type { Listener } from "./server/listener.ts";
import { processName, startProcesses } from "./server/processes.ts";
import { warmUp } from "./server/warm-up.ts";
import { type DirectReads, findDirectReads } from "./transport/accepted-reads.ts";
import { createNetTransport } from "./transport/net.ts";

const DEFAULT_PORT = 1080;
/** The edge gives its processes 2 s to end. */
const STOP_DEADLINE_MS = 1500;

await balancerProgram({ run, check: runCheck }).parseAsync();

async function run(flags: Record<string, unknown>): Promise<void> {
  try {
    const settings = readSettings({ role: "balancer", env: process.env, flags });
    const isOneOfSeveral = settings.processNumber !== undefined;
    if (settings.processes === 1 || isOneOfSeveral) await startBalancer(settings);
    else await startProcesses(settings, settings.statusPort ?? BALANCER_STATUS_PORT);
  } catch (error) {
    fail(error);
  }
}

/** Ends with status 0 when a balancer would start, else with 1 and a line on standard error for each problem. */
async function runCheck(flags: Record<string, unknown>): Promise<void> {
  try {
    const settings = readSettings({ role: "balancer", env: process.env, flags });
    const statusPort = settings.statusPort ?? BALANCER_STATUS_PORT;
    const nowMs = systemClock.wallMs();
    const report = await checkSettings(settings, { env: process.env, nowMs, statusPort });
    process.stdout.write(`ct-balancer ${VERSION} would use\n${report.lines.join("\n")}\n`);
    for (const warning of report.warnings) process.stderr.write(`warning: ${warning}\n`);
    for (const problem of report.problems) process.stderr.write(`${problem}\n`);
    process.exitCode = report.problems.length > 0 ? 1 : 0;
  } catch (error) {
    fail(error);
  }
}

async function startBalancer(settings: Settings): Promise<void> {
  const clock = systemClock;
  const counters = createCounters();
  const id = `balancer-${randomAlphanumerics(8)}` as WorkerId;
  const sink = createProgramSink(process.stdout, counters);
  const log = createLog({
    name: nameInLogs(settings),
    level: settings.logLevel,
    format: settings.logFormat,
    sink,
  });
  endOnBugs(log);
  const shutdown = createShutdown({
    clock,
    report: (part, problem) => log.error({ part, problem }, "a part failed to stop"),
  });
  const clients: Clients = { drain: undefined, hasSuccessor: false };
  drainBeforeStop({ clients, shutdown, settings, log });

  const certificates = new CurrentCertificates(settings, { clock, log });
  const wanted = wantedCertificate(settings);
  const trusted = readTrustedProxies(settings);
  const discovery = createDiscovery({ settings, id, clock, log, counters });
  shutdown.add("membership", () => discovery.close());
  const programStream = discovery.openLogStream("log-server");
  if (programStream !== undefined) sink.shareWith(programStream);
  const requestLog = openRequestLog(settings, { discovery, trusted, clock, log, counters });
  // Runs before the part "membership", which closes the streams.
  shutdown.add("access log", () => requestLog.flush());
  reopenOnHangUp(requestLog, certificates, log);
  // Before the ports open: a client that comes right after a start must not get "no worker".
  const savedOwners = await discovery.start();
  const acme = startAcme({
    ...{ wanted, settings, id, discovery, clock, log, counters },
    onCertificates: (obtained) => certificates.useObtained(obtained),
  });
  if (acme !== undefined) {
    shutdown.add("acme", () => acme.close());
    await acme.start();
  }

  const reportBug = (error: unknown): void =>
    log.error({ err: error }, "a connection failed inside the balancer");
  releaseStartGarbage();
  const directReads = settings.fastReads ? await chooseReads(log) : undefined;
  const transport = createNetTransport({ reportBug, directReads });
  const limits = downstreamLimits(settings);
  const dataPath = await startDataPath({
    bind: settings.bind,
    port: settings.port,
    tlsPort: settings.tlsPort,
    isShared: settings.processNumber !== undefined,
    tlsHandshakeTimeoutMs: settings.headerTimeoutMs,
    maxConnections: allowedConnections(settings.maxConnections, log),
    addressLimits: {
      isDryRun: settings.limitDryRun,
      limits: {
        connections: settings.limitConnections,
        handshakes: settings.limitHandshakes,
        requests: settings.limitRequests,
        logins: settings.limitLogins,
        creates: settings.limitCreates,
      },
    },
    maxRequestsPerWorker: settings.maxRequestsPerWorker,
    connectTimeoutMs: settings.connectTimeoutMs,
    limits,
    savedOwners,
    async beforePortsOpen() {
      const { isLeased } = discovery;
      const timeMs = settings.warmUpMs;
      await warmUp({ transport, reportBug, isLeased, trusted, limits, timeMs, clock, log });
      await portsReleased();
    },
    transport,
    reportBug,
    discovery,
    clock,
    log,
    counters,
    requestLog,
    trusted,
    takesProxyHeaders: settings.proxyProtocol,
    certificates: certificates.current,
    challenges: acme?.challenges,
  });
  shutdown.add("traffic", () => dataPath.close());
  clients.drain = () => {
    // Another balancer orders certificates from now on.
    void acme?.close();
    // New clients reach the successor already: this process must not announce that it wants none.
    const delayMs = clients.hasSuccessor ? 0 : settings.drainDelayMs;
    return dataPath.shutDown({ delayMs, timeoutMs: settings.drainTimeoutMs });
  };
  const watch = certificates.follow(dataPath.listener);
  shutdown.add("certificates", () => watch.close());
  counters.gauge("balancer.certificate_expires_in_ms", () =>
    expiresInMs(certificates.inFiles, clock.wallMs()),
  );
  // Workers that do not reach the store either continue as soon as they hear that it is away for all.
  discovery.onStoreHealth(() => {
    for (const upstream of dataPath.router.upstreams) upstream.probeSoon();
  });
  discovery.keep(dataPath.router);
  measureProcess({
    counters,
    lag: watchLoopLag(clock),
    storeHealth: () => discovery.storeHealth(),
  });
  // Not a part of the shutdown: the last requests are logged after the traffic has ended.
  process.once("exit", () => {
    dataPath.tunnels.reportOpen();
    requestLog.close();
  });

  const statusBind = settings.statusBind ?? defaultBind(isStoreLocal(settings));
  const scaling = startAutoscale({
    settings,
    clock,
    counters,
    workers: () => discovery.view.workers,
    balancers: () => discovery.balancers(),
    unknownBecause: () => whyUnknown(discovery),
  });
  shutdown.add("autoscale", () => scaling.close());
  const status = await openStatus(
    { host: statusBind, port: settings.statusPort ?? BALANCER_STATUS_PORT },
    {
      ...statusOf({ dataPath, discovery, counters, clock, edge: watchEdgeReadiness() }),
      pages: { "/autoscale": scaling.page },
    },
  );
  shutdown.add("status", () => status.close());
  releasePortsOnRequest(() => {
    log.info("ports released to the successor of this process");
    clients.hasSuccessor = true;
    dataPath.listener.close();
    void status.close();
  });

  const publisher = startPublisher({
    settings,
    source: { role: "balancer", id: nameInMetrics(settings) },
    scopes: ["balancer", "process"],
    series: async () => ({ series: counters.series() }),
    clock,
    log,
  });
  if (publisher !== undefined) shutdown.add("metrics", () => publisher.close());

  discovery.announce({
    statusBind,
    statusPort: status.port,
    wanted: scaling.wanted,
    describe: () =>
      describeView(dataPath, {
        ...{ clock, counters, publisher },
        certificates: certificates.inFiles,
        acme: acme && describeAcme(acme, clock),
      }),
    handleCommand: (command) =>
      handleCommand(command, { router: dataPath.router, discovery, clock, acme }),
  });
  // Stops first: the other parts wait for what they have deferred.
  shutdown.add("deferred store operations", () => discovery.storeAccess?.store.stopDeferring());
  reportListening(dataPath.listener, status.port, log);
  acme?.join();
}

/** What a graceful stop depends on; set while the balancer starts and runs. */
interface Clients {
  /** Undefined until there may be clients. */
  drain: (() => Promise<void>) | undefined;
  /** Whether another process has taken over the ports. */
  hasSuccessor: boolean;
}

/** Drains the clients to other balancers before the parts stop, unless no other takes them or the stop is urgent. */
function drainBeforeStop(deps: {
  readonly clients: Readonly<Clients>;
  readonly shutdown: Shutdown;
  readonly settings: Pick<Settings, "storeSocket" | "drainDelayMs" | "drainTimeoutMs">;
  readonly log: Log;
}): void {
  const { storeSocket, drainDelayMs, drainTimeoutMs } = deps.settings;
  // In an edge with a store of its own that stops as a whole no other balancer takes the clients.
  const hasOthers = (scope: StopScope): boolean => scope === "process" || storeSocket === undefined;
  stopOnRequest(async (request, { urgent, edgeStops }) => {
    notifyStopping(drainDelayMs + drainTimeoutMs + STOP_DEADLINE_MS);
    deps.log.info({ why: request.why }, "stopping");
    if (hasOthers(request.scope) && deps.clients.drain !== undefined) {
      const cutShort = edgeStops.then(({ scope }) =>
        hasOthers(scope) ? new Promise(() => {}) : scope,
      );
      await Promise.race([deps.clients.drain(), urgent, cutShort]);
    }
    await deps.shutdown.run(STOP_DEADLINE_MS);
    process.exit(0);
  });
}

// --- files that may change ---

/** access.log and error.log, in files, in the store, or both. */
function openRequestLog(
  settings: Settings,
  deps: {
    readonly discovery: Pick<Discovery, "openLogStream">;
    readonly trusted: TrustedProxies;
    readonly clock: Clock;
    readonly log: Log;
    readonly counters: Counters;
  },
): RequestLog {
  const { discovery, ...rest } = deps;
  return createRequestLog({
    files: logFiles(settings),
    streams: {
      access: discovery.openLogStream("log-access"),
      error: discovery.openLogStream("log-error"),
    },
    ...rest,
  });
}

/** From the moment on at which the logs are open: a rotation does not wait for the start. */
function reopenOnHangUp(requestLog: RequestLog, certificates: CurrentCertificates, log: Log): void {
  process.on("SIGHUP", () => {
    log.info({}, "SIGHUP: reopening the logs");
    requestLog.reopen();
    certificates.reloadFiles();
  });
}

// --- ports ---

function openStatus(
  at: { readonly host: string; readonly port: number },
  source: StatusSource,
): Promise<StatusPort> {
  return openPort("CT_STATUS_PORT", at.port, () => openStatusPort({ ...at, source }));
}

/** Undefined: by `data` events, which every Node has. */
async function chooseReads(log: Log): Promise<DirectReads | undefined> {
  try {
    return await findDirectReads();
  } catch (err) {
    log.info({ node: process.version, err }, "CT_FAST_READS does not work here; reading as usual");
    return undefined;
  }
}

/** Why the load of the workers is not known; undefined when it is. */
function whyUnknown(discovery: Discovery): string | undefined {
  const store = discovery.storeHealth();
  if (store === undefined) return "the workers are a fixed list";
  if (store.state === "away") return `the store is away: ${store.reason}`;
  if (discovery.isRecalled) return "the workers are those of the last snapshot";
  return discovery.isSettled ? undefined : "the members have not been read completely yet";
}

function reportListening(listener: Listener, statusPort: number, log: Log): void {
  const { host, httpPort, tlsPort } = listener;
  const ports = { httpPort, ...(tlsPort !== undefined && { tlsPort }), statusPort };
  log.info({ host, ...ports }, "listening");
  reportReady(ports);
}

// --- settings of the parts ---

/** As many connections as CT_MAX_CONNECTIONS says, or as few as the descriptors of this process allow. */
function allowedConnections(configured: number | undefined, log: Log): number {
  const descriptors = readDescriptorLimit();
  const maxConnections = connectionLimit(configured, descriptors);
  if (maxConnections < (configured ?? 0)) {
    log.warn(
      { maxConnections, descriptors },
      "CT_MAX_CONNECTIONS is more than ulimit -n allows; raise ulimit -n",
    );
  }
  return maxConnections;
}

function downstreamLimits(settings: Settings): DownstreamLimits {
  const names = ["maxHeadBytes", "maxTargetBytes", ...CLIENT_TIMEOUTS] as const;
  return { ...DEFAULT_HTTP_LIMITS, ...slice(settings, names) };
}

/** Where access.log and error.log go; without CT_LOG_DIR there are none. */
function logFiles({ logDir, logMaxBytes, logMaxFiles, processNumber }: Settings) {
  if (logDir === undefined) return undefined;
  const limits = { maxBytes: logMaxBytes, maxFiles: logMaxFiles };
  return { folder: logDir, limits, processNumber };
}

/** Name of this balancer in metrics: stable over restarts, unique among the balancers of a machine. */
function nameInMetrics({ port, processNumber }: Settings): string {
  const name = port === DEFAULT_PORT ? hostname() : `${hostname()}-${port}`;
  return processNumber === undefined ? name : `${name}-${processNumber}`;
}

function nameInLogs({ processNumber }: Settings): string {
  return processNumber === undefined ? "balancer" : processName(processNumber);
}

#!/usr/bin/env node
/**
 * `ct-balancer`: reads the settings, builds the parts, starts them and stops them.
 */
import { hostname } from "node:os";
import { systemClock } from "../shared/base/clock.ts";
import { randomAlphanumerics, type WorkerId } from "../shared/base/ids.ts";
import { createProgramSink } from "../shared/cluster/log-stream.ts";
import { createLog } from "../shared/logs/log.ts";
import { defaultBind } from "../shared/membership/reach.ts";
import { watchLoopLag } from "../shared/metrics/loop-lag.ts";
import { createCounters } from "../shared/metrics/metrics.ts";
import { startPublisher } from "../shared/metrics/statsd/publisher.ts";
import { isStoreLocal } from "../shared/process/connect-store.ts";
import type { StopScope } from "../shared/process/edge-channel.ts";
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
import { createShutdown } from "../shared/process/shutdown.ts";
import { releaseStartGarbage } from "../shared/process/start-garbage.ts";
import { openStatusPort } from "../shared/process/status-port.ts";
import { VERSION } from "../shared/process/version.ts";
import { readSettings, type Settings } from "../shared/settings/read-settings.ts";
import { checkSettings } from "./admin/check.ts";
import { balancerProgram } from "./admin/command-line.ts";
import { handleCommand } from "./admin/commands.ts";
import { describeView, statusOf } from "./admin/status.ts";
import { createDiscovery } from "./discovery/discovery.ts";
import { createTrustedProxies } from "./http1/forwarding.ts";
import { createRequestLog } from "./logs/request-log.ts";
import { loadCertificates, warnOfExpiry, watchCertificates } from "./server/certificates.ts";
import { connectionLimit, readDescriptorLimit } from "./server/connection-limit.ts";
import { startDataPath } from "./server/data-path.ts";
import { createNetTransport } from "./transport/net.ts";

const DEFAULT_STATUS_PORT = 1081;
const DEFAULT_PORT = 1080;
/** The edge gives its processes 2 s to end. */
const STOP_DEADLINE_MS = 1500;

await balancerProgram({ run, check: runCheck }).parseAsync();

async function run(flags: Record<string, unknown>): Promise<void> {
  try {
    await startBalancer(readSettings({ role: "balancer", env: process.env, flags }));
  } catch (error) {
    fail(error);
  }
}

/** Ends with status 0 when a balancer would start, else with 1 and a line on standard error for each problem. */
async function runCheck(flags: Record<string, unknown>): Promise<void> {
  try {
    const settings = readSettings({ role: "balancer", env: process.env, flags });
    const statusPort = settings.statusPort ?? DEFAULT_STATUS_PORT;
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
    name: "balancer",
    level: settings.logLevel,
    format: settings.logFormat,
    sink,
  });
  endOnBugs(log);
  const shutdown = createShutdown({
    clock,
    report: (part, problem) => log.error({ part, problem }, "a part could not be stopped"),
  });
  /** Set when there may be clients. */
  let leaveFirst: (() => Promise<void>) | undefined;
  stopOnRequest(async (request, { urgent, edgeStops }) => {
    log.info({ why: request.why }, "stopping");
    // In an edge with a store of its own that stops as a whole no other balancer takes the clients.
    const hasOthers = (scope: StopScope): boolean =>
      scope === "process" || settings.storeSocket === undefined;
    if (hasOthers(request.scope) && leaveFirst !== undefined) {
      const cutShort = edgeStops.then(({ scope }) =>
        hasOthers(scope) ? new Promise(() => {}) : scope,
      );
      await Promise.race([leaveFirst(), urgent, cutShort]);
    }
    await shutdown.run(STOP_DEADLINE_MS);
    process.exit(0);
  });

  const certificateFiles = { cert: settings.tlsCert, key: settings.tlsKey };
  let certificates = loadCertificates(certificateFiles);
  warnOfExpiry(certificates, clock.wallMs(), log);
  const trusted = createTrustedProxies(settings.trustedProxies);

  const members = createDiscovery({ settings, id, clock, log, counters });
  shutdown.add("membership", () => members.close());
  const programStream = members.openLogStream("log-server");
  if (programStream !== undefined) sink.shareWith(programStream);
  const requestLog = createRequestLog({
    files: logFiles(settings),
    streams: {
      access: members.openLogStream("log-access"),
      error: members.openLogStream("log-error"),
    },
    trusted,
    clock,
    log,
    counters,
  });
  // A client that comes right after a start shall not be told that there is no worker.
  const knownOwners = await members.start();

  const descriptors = readDescriptorLimit();
  const maxConnections = connectionLimit(settings.maxConnections, descriptors);
  if (maxConnections < (settings.maxConnections ?? 0)) {
    log.warn({ maxConnections, descriptors }, "CT_MAX_CONNECTIONS is more than ulimit -n allows");
  }

  const reportBug = (error: unknown): void =>
    log.error({ err: error }, "a connection failed inside the balancer");
  releaseStartGarbage();
  const dataPath = await startDataPath({
    ...settings,
    maxConnections,
    knownOwners,
    portsReleased,
    transport: createNetTransport({ reportBug }),
    reportBug,
    members,
    clock,
    log,
    counters,
    requestLog,
    trusted,
    certificates,
    limits: settings,
  });
  shutdown.add("traffic", () => dataPath.close());
  let hasSuccessor = false;
  leaveFirst = () => {
    // New clients reach the successor already: nobody must be given time to see that this process wants none.
    const delayMs = hasSuccessor ? 0 : settings.drainDelayMs;
    return dataPath.shutDown({ delayMs, timeoutMs: settings.drainTimeoutMs });
  };
  const certificateWatch = watchCertificates({
    files: certificateFiles,
    use(fresh) {
      certificates = fresh;
      dataPath.listener.useCertificates(fresh);
    },
    clock,
    log,
  });
  shutdown.add("certificates", () => certificateWatch.close());
  process.on("SIGHUP", () => {
    log.info({}, "SIGHUP: the logs are opened anew");
    requestLog.reopen();
    if (certificates.length > 0) certificateWatch.reload();
  });
  // Workers that do not reach the store either go on as soon as they hear that it is away for all.
  members.onStoreHealth(() => {
    for (const upstream of dataPath.directory.upstreams) upstream.askSoon();
  });
  members.keep(dataPath.directory);
  measureProcess({ counters, lag: watchLoopLag(clock), storeHealth: () => members.storeHealth() });
  // Not a part to be shut down: what the last requests have to say comes after the traffic has ended.
  process.once("exit", () => {
    dataPath.tunnels.reportOpen();
    requestLog.close();
  });

  const edge = watchEdgeReadiness();
  const statusPort = settings.statusPort ?? DEFAULT_STATUS_PORT;
  const statusBind = settings.statusBind ?? defaultBind(isStoreLocal(settings));
  const status = await openPort("CT_STATUS_PORT", statusPort, () =>
    openStatusPort({
      host: statusBind,
      port: statusPort,
      source: statusOf({ dataPath, members, counters, clock, edge }),
    }),
  );
  shutdown.add("status", () => status.close());
  releasePortsOnRequest(() => {
    log.info("the ports are released to the process that takes its place");
    hasSuccessor = true;
    dataPath.listener.close();
    void status.close();
  });

  const publisher = startPublisher({
    settings,
    source: { role: "balancer", id: balancerName(settings.port) },
    scopes: ["balancer", "process"],
    series: async () => ({ series: counters.series() }),
    clock,
    log,
  });
  if (publisher !== undefined) shutdown.add("metrics", () => publisher.close());

  members.announce({
    statusBind,
    statusPort: status.port,
    describe: () => describeView(dataPath, { clock, certificates, publisher }),
    handleCommand: (command) =>
      handleCommand(command, { directory: dataPath.directory, members, clock }),
  });

  const { host, httpPort, tlsPort } = dataPath.listener;
  const ports = {
    httpPort,
    ...(tlsPort !== undefined && { tlsPort }),
    statusPort: status.port,
  };
  log.info({ host, ...ports }, "listening");
  reportReady(ports);
}

/** Where access.log and error.log go; alone, a balancer writes none unless it is told where. */
function logFiles({ logDir, logMaxBytes, logMaxFiles }: Settings) {
  if (logDir === undefined) return undefined;
  return { folder: logDir, limits: { maxBytes: logMaxBytes, maxFiles: logMaxFiles } };
}

/** Its name in metrics: the same after a restart, and another one for each balancer of a machine. */
function balancerName(port: number): string {
  return port === DEFAULT_PORT ? hostname() : `${hostname()}-${port}`;
}

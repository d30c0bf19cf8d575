/**
 * `ct-edge start`: the edge on one machine. Reads the settings, starts the store, the balancer and the workers, reports when
 * they answer, and stops them together. `startEdge` shows the whole order.
 */
import { hostname } from "node:os";
import { dirname, join, resolve } from "node:path";
import { systemClock } from "../../shared/base/clock.ts";
import type { Progress } from "../../shared/children/child.ts";
import {
  createLogStream,
  createSharedSink,
  type SharedSink,
} from "../../shared/cluster/log-stream.ts";
import { createLog, type Log } from "../../shared/logs/log.ts";
import { type Counters, createCounters } from "../../shared/metrics/metrics.ts";
import { startPublisher } from "../../shared/metrics/statsd/publisher.ts";
import { localUrl } from "../../shared/process/ask-status-port.ts";
import { connectStore } from "../../shared/process/connect-store.ts";
import { notifyReady, notifyStopping } from "../../shared/process/service-manager.ts";
import { createShutdown, type Shutdown } from "../../shared/process/shutdown.ts";
import { VERSION } from "../../shared/process/version.ts";
import { identityProviders } from "../../shared/settings/identity-providers.ts";
import { findLicense, logLicense } from "../../shared/settings/license-file.ts";
import { configuredCredentials } from "../../shared/settings/operator-credentials.ts";
import {
  readSettings,
  type Settings,
  unknownSettings,
} from "../../shared/settings/read-settings.ts";
import { removeSocket } from "../../shared/store/embedded/data-dir.ts";
import { holdDataDir, startStoreServer } from "../../shared/store/embedded/server.ts";
import { clientsFolder } from "../../worker/clients/clients.ts";
import { type ControlRequest, type EdgeState, openControl } from "../control/control.ts";
import { endRunningEdge } from "../control/control-client.ts";
import { readEdgeFile, removeEdgeFile, writeEdgeFile } from "../control/edge-file.ts";
import { fail } from "../output/errors.ts";
import { watchParents } from "../process/parents.ts";
import { linkLogs, listProcess } from "../process/process-list.ts";
import { readStat } from "../process/process-stat.ts";
import { waitUntilAnswers } from "../process/readiness.ts";
import { Supervisor, stopTimes } from "../process/supervisor.ts";
import { keepCertificate } from "./certificate.ts";
import { checkEdgeSettings, checkPorts, EDGE_DEFAULTS } from "./edge-settings.ts";
import { LineWriter, openLogFile } from "./line-writer.ts";
import { findPluginSources } from "./plugin-sources.ts";
import { keepSecret } from "./secret-file.ts";
import { type Running, summarize } from "./summary.ts";

/**
 * Ctrl-C is answered within 3 s; this leaves room for the exit itself. With a shared store the time for workers to hand
 * their sessions over is added.
 */
const STOP_DEADLINE_MS = 2700;
const DROPPED_LINES_PERIOD_MS = 10_000;

/** Starts the edge with the parsed options of the command line. Ends the process when the start fails. */
export async function runEdge(flags: Record<string, unknown>): Promise<void> {
  const counters = createCounters();
  // The reader of standard output may be gone; server.log has the lines too.
  process.stdout.on("error", () => {});
  const lines = new LineWriter({ terminal: process.stdout, clock: systemClock });
  process.once("exit", () => lines.close());
  try {
    await startEdge(readEdgeSettings(flags), {
      counters,
      lines,
      replacesRunning: flags["replace"] === true,
    });
  } catch (error) {
    fail(error);
  }
}

/** What all parts of the edge's own process use. */
interface EdgeContext {
  readonly counters: Counters;
  readonly lines: LineWriter;
  readonly sink: SharedSink;
  readonly log: Log;
  readonly shutdown: Shutdown;
}

const clock = systemClock;

async function startEdge(
  given: Settings,
  {
    counters,
    lines,
    replacesRunning,
  }: Pick<EdgeContext, "counters" | "lines"> & { readonly replacesRunning: boolean },
): Promise<void> {
  const sink = createSharedSink(lines);
  const log = createLog({ name: "root", level: given.logLevel, format: given.logFormat, sink });
  const shutdown = createShutdown({
    clock,
    report: (part, problem) => log.error({ part, problem }, "a part could not be stopped"),
  });
  const context: EdgeContext = { counters, lines, sink, log, shutdown };
  let isStopping = false;
  let reload = (): void => {};
  const stop = onSignals(
    async (why) => {
      isStopping = true;
      notifyStopping(stopDeadlineMs(given));
      log.info({ why }, "stopping");
      await shutdown.run(stopDeadlineMs(given));
      log.info({}, "stopped");
      await lines.flush();
      process.exit(0);
    },
    () => reload(),
  );
  shutdown.add(
    "parents",
    watchParents({ clock, env: process.env, onGone: () => stop("npm ended") }),
  );

  const dataDir = resolve(given.dataDir);
  // The file of an edge that runs, or ended without a graceful stop.
  const hasClients = readEdgeFile(dataDir) !== undefined;
  if (replacesRunning) await endRunningEdge(dataDir, clock);
  const leftBehind = readEdgeFile(dataDir);
  const claimDataDir = given.redisUrl === undefined ? startStoreServer : holdDataDir;
  const store = await claimDataDir({ dataDir, clock, log, counters });
  shutdown.add("store", () => store.close());
  shareLog(given, context);
  startEdgeMetrics(given, context);
  const logFile = openLogFile({ settings: given, dataDir, lines });
  for (const name of unknownSettings(process.env)) {
    log.warn({ variable: name }, "this variable is not a setting of this program");
  }
  reportDroppedLines(logFile, context);

  const license = findLicense(given);
  // The workers of a shared store log it themselves.
  if (given.redisUrl === undefined) logLicense(license, log, clock.wallMs());
  const settings = await completeSettings(given, { dataDir, logDir: dirname(logFile) });
  // The data directory is claimed, so the edge that left this file behind has ended.
  if (leftBehind !== undefined) removeSocket(leftBehind.controlSocket);
  const startedMs = clock.nowMs();
  const control = await openControl({
    dataDir,
    clock,
    log,
    serve: (request, progress) =>
      serveRequest(request, progress, { supervisor, settings, logFile, startedMs, reload, stop }),
  });
  shutdown.add("control", () => control.close());
  const supervisor = new Supervisor({
    settings,
    storeSocket: given.redisUrl === undefined ? store.socketPath : undefined,
    clock,
    log,
    lines,
    counters,
    onReady: writeFiles,
  });
  shutdown.add("processes", async () => {
    await supervisor.stop();
    removeEdgeFile(dataDir);
  });
  writeFiles();
  reload = () => {
    log.info({}, "reloading certificates and reopening logs");
    try {
      openLogFile({ settings: given, dataDir, lines });
    } catch (error) {
      log.error({ err: error }, "server.log could not be reopened; the old file is still written");
    }
    supervisor.reload();
  };
  const pluginSources = findPluginSources(settings, clock);
  try {
    await supervisor.start({ hasClients });
    const selfSigned = isSelfSigned(given) ? settings.tlsCert[0] : undefined;
    const running = describeRunning(settings, supervisor, {
      selfSigned,
      logFile,
      pluginSources: await pluginSources,
    });
    await waitUntilAnswers({ baseUrl: localUrl(settings.bind, running.httpPort), clock });
    reportAvailable(running, log);
  } catch (error) {
    // A stop during the start makes the start fail; then the stop ends the process.
    if (isStopping) return;
    await shutdown.run(STOP_DEADLINE_MS);
    throw error;
  }

  /** edge.json and the links to the logs. */
  function writeFiles(): void {
    const names = [supervisor.balancer, ...supervisor.workers].map(({ name }) => name);
    linkLogs(join(dataDir, "forever"), logFile, names);
    writeEdgeFile(dataDir, {
      pid: process.pid,
      started: readStat(process.pid)?.started,
      controlSocket: control.socketPath,
      ...describeProcesses(supervisor),
    });
  }
}

// --- requests of operators ---

interface ControlDeps {
  readonly supervisor: Supervisor;
  readonly settings: Settings;
  readonly logFile: string;
  readonly startedMs: number;
  readonly reload: () => void;
  readonly stop: (why: string) => void;
}

/** Does what is requested. Returns the state of the edge then. */
async function serveRequest(
  request: ControlRequest,
  progress: Progress,
  { supervisor, settings, logFile, startedMs, reload, stop }: ControlDeps,
): Promise<EdgeState> {
  switch (request.command) {
    case "restart":
      await supervisor.restart(request.name, progress);
      break;
    case "scale":
      checkPorts({ ...settings, workerCount: request.workers });
      await supervisor.scale(request.workers, progress);
      break;
    case "reload":
      reload();
      break;
    case "stop":
      // After the response has been written.
      setImmediate(() => stop("an operator"));
      break;
    case "ps":
  }
  const { dataDir } = settings;
  const all = [supervisor.balancer, ...supervisor.workers];
  return {
    pid: process.pid,
    version: VERSION,
    uptimeMs: Math.round(clock.nowMs() - startedMs),
    dataDir,
    logFile,
    processes: all.map((child) => listProcess(child, join(dataDir, "forever"))),
  };
}

// --- logs and metrics ---

/** With a shared store, operators of all machines see the lines of this process; its children share theirs themselves. */
function shareLog(settings: Settings, { sink, log, counters, shutdown }: EdgeContext): void {
  if (settings.redisUrl === undefined) return;
  const source = settings.workerId ?? hostname();
  const store = connectStore({ settings, name: `edge-${source}`, clock, log, counters });
  const stream = createLogStream({ store, stream: "log-server", source, clock, counters });
  sink.shareWith(stream);
  shutdown.add("shared log", async () => {
    await stream.close();
    await store.close();
  });
}

function startEdgeMetrics(settings: Settings, { log, counters, shutdown }: EdgeContext): void {
  const publisher = startPublisher({
    settings,
    source: { role: "edge", id: hostname() },
    scopes: ["edge", "process"],
    series: async () => ({ series: counters.series() }),
    clock,
    log,
  });
  if (publisher !== undefined) shutdown.add("metrics", () => publisher.close());
}

function reportDroppedLines(
  logFile: string,
  { lines, log, counters, shutdown }: EdgeContext,
): void {
  const timer = clock.every(DROPPED_LINES_PERIOD_MS, () => {
    const dropped = lines.takeDropped();
    if (dropped === 0) return;
    counters.count("log.lines_dropped", "", dropped);
    const err = lines.lastProblem();
    log.warn({ dropped, file: logFile, err }, "log lines were dropped; check its disk");
  });
  shutdown.add("dropped lines", () => timer.cancel());
}

// --- settings ---

function readEdgeSettings(flags: Record<string, unknown>): Settings {
  const settings = readSettings({
    role: "edge",
    env: process.env,
    flags,
    defaults: EDGE_DEFAULTS,
  });
  checkEdgeSettings(settings, hostname());
  return settings;
}

function stopDeadlineMs(settings: Settings): number {
  if (settings.redisUrl === undefined) return STOP_DEADLINE_MS;
  const { deadlineMs, handoverMs } = stopTimes(settings);
  return deadlineMs + handoverMs + STOP_DEADLINE_MS;
}

/** Adds what the edge makes itself: absolute folders, secret, certificate. */
async function completeSettings(
  given: Settings,
  { dataDir, logDir }: { dataDir: string; logDir: string },
): Promise<Settings> {
  const secret = given.secret ?? keepSecret(dataDir);
  const { serverUrl } = given;
  const made = isSelfSigned(given)
    ? await keepCertificate({ dataDir, serverUrl, nowMs: systemClock.wallMs() })
    : undefined;
  return {
    ...given,
    dataDir,
    logDir,
    secret,
    ...(made && { tlsCert: [made.cert], tlsKey: [made.key] }),
  };
}

/** Whether the edge makes a certificate itself: there is none, and none is obtained. */
function isSelfSigned({ tlsCert, acmeDomains }: Settings): boolean {
  return tlsCert.length === 0 && acmeDomains.length === 0;
}

/** Where people find the edge: the authority has verified that the name leads here. */
function urlOf([domain]: readonly string[]): string | undefined {
  return domain === undefined ? undefined : `https://${domain}`;
}

// --- what runs ---

/** For the summary. */
function describeRunning(
  settings: Settings,
  { balancer, workers }: Supervisor,
  more: Pick<Running, "selfSigned" | "logFile" | "pluginSources">,
): Running {
  return {
    version: VERSION,
    bind: settings.bind,
    httpPort: balancer.ready?.httpPort ?? 0,
    tlsPort: balancer.ready?.tlsPort ?? 0,
    serverUrl: settings.serverUrl ?? urlOf(settings.acmeDomains),
    workers: workers.map(({ name, ready }) => ({ id: name, port: ready?.port ?? 0 })),
    isShared: settings.redisUrl !== undefined,
    identityProviders: labelsOf(identityProviders(settings)),
    loginSimple: settings.loginSimple,
    loginApiKey: settings.loginApiKey !== undefined,
    dashboard: configuredCredentials(settings),
    clientsDir: clientsFolder(settings),
    dataDir: settings.dataDir,
    ...more,
  };
}

/** The workers have checked the settings. */
function labelsOf(providers: ReturnType<typeof identityProviders>): readonly string[] {
  return typeof providers === "string" ? [] : providers.map(({ label }) => label);
}

function reportAvailable(running: Running, log: Log): void {
  // Operators' scripts wait for exactly this line.
  log.info(
    `CodeTogether On-Premises services now available on port ${running.httpPort} (HTTP) and ${running.tlsPort} (SSL)`,
  );
  process.stdout.write(summarize(running));
  notifyReady(`available on port ${running.httpPort} (HTTP) and ${running.tlsPort} (SSL)`);
}

/** For programs: pids and ports. */
function describeProcesses(supervisor: Supervisor): Record<string, unknown> {
  const { balancer, workers } = supervisor;
  return {
    httpPort: balancer.ready?.httpPort,
    tlsPort: balancer.ready?.tlsPort,
    statusPort: balancer.ready?.statusPort,
    balancer: { pid: balancer.pid },
    workers: workers.map(({ name, pid, ready }) => ({
      id: name,
      pid,
      port: ready?.port,
      statusPort: ready?.statusPort,
    })),
  };
}

/**
 * Calls `stop` at the first SIGINT or SIGTERM; a second one ends the process at once. Returns a function that does the same.
 * SIGHUP calls `reload`; on a terminal it means that the terminal has closed, and stops.
 */
function onSignals(
  stop: (why: string) => Promise<void>,
  reload: () => void,
): (why: string) => void {
  let isStopping = false;
  const once = (why: string): void => {
    if (isStopping) process.exit(1);
    isStopping = true;
    stop(why).catch(fail);
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, once);
  process.on("SIGHUP", () => (process.stdin.isTTY ? once("SIGHUP") : reload()));
  return once;
}

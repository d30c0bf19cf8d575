/**
 * `ct-edge start`: the edge on one machine. Reads the settings, starts the store, the balancer and the workers, tells when
 * they answer, and stops them together.
 */

import { hostname } from "node:os";
import { dirname, join, resolve } from "node:path";
import { systemClock } from "../../shared/base/clock.ts";
import { createLogStream, createSharedSink } from "../../shared/cluster/log-stream.ts";
import { createLog } from "../../shared/logs/log.ts";
import { createCounters } from "../../shared/metrics/metrics.ts";
import { startPublisher } from "../../shared/metrics/statsd/publisher.ts";
import { isWildcard } from "../../shared/net/networks.ts";
import { connectStore } from "../../shared/process/connect-store.ts";
import { createShutdown } from "../../shared/process/shutdown.ts";
import { VERSION } from "../../shared/process/version.ts";
import { findLicense, logLicense } from "../../shared/settings/license-file.ts";
import { configuredCredentials } from "../../shared/settings/operator-credentials.ts";
import {
  readSettings,
  type Settings,
  unknownSettings,
} from "../../shared/settings/read-settings.ts";
import { removeSocket } from "../../shared/store/embedded/data-dir.ts";
import { holdDataDir, startStoreServer } from "../../shared/store/embedded/server.ts";
import { type ControlRequest, type EdgeState, openControl } from "../control/control.ts";
import { endRunningEdge } from "../control/control-client.ts";
import { readEdgeFile, removeEdgeFile, writeEdgeFile } from "../control/edge-file.ts";
import { fail } from "../output/errors.ts";
import type { Progress } from "../process/child.ts";
import { watchParents } from "../process/parents.ts";
import { linkLogs, listProcess } from "../process/process-list.ts";
import { readStat } from "../process/process-stat.ts";
import { waitUntilAnswers } from "../process/readiness.ts";
import { Supervisor, stopTimes } from "../process/supervisor.ts";
import { keepCertificate } from "./certificate.ts";
import { checkEdgeSettings, checkPorts, EDGE_DEFAULTS } from "./edge-settings.ts";
import { createLineWriter } from "./line-writer.ts";
import { openLogFile } from "./log-file.ts";
import { keepSecret } from "./secret-file.ts";
import { summarize } from "./summary.ts";

/**
 * Ctrl-C is answered within 3 s; this leaves room for the exit itself. With a store that others share, the time in which
 * workers hand their sessions over is added.
 */
const STOP_DEADLINE_MS = 2700;
const DROPPED_LINES_PERIOD_MS = 10_000;

/** Starts the edge with the parsed options of the command line. Ends the process when the start fails. */
export async function runEdge(flags: Record<string, unknown>): Promise<void> {
  const clock = systemClock;
  const counters = createCounters();
  // Whoever read standard output may be gone; the lines are in server.log too.
  process.stdout.on("error", () => {});
  const lines = createLineWriter({ terminal: process.stdout, clock });
  process.once("exit", () => lines.close());
  try {
    await startEdge(readEdgeSettings(flags));
  } catch (error) {
    fail(error);
  }

  async function startEdge(given: Settings): Promise<void> {
    const sink = createSharedSink(lines);
    const log = createLog({
      name: "root",
      level: given.logLevel,
      format: given.logFormat,
      sink,
    });
    const shutdown = createShutdown({
      clock,
      report: (part, problem) => log.error({ part, problem }, "a part could not be stopped"),
    });
    let stopping = false;
    let reloadOnHangUp = (): void => {};
    const stop = onSignals(
      async (why) => {
        stopping = true;
        log.info({ why }, "stopping");
        await shutdown.run(stopDeadlineMs(given));
        log.info({}, "stopped");
        await lines.flush();
        process.exit(0);
      },
      () => reloadOnHangUp(),
    );
    shutdown.add(
      "parents",
      watchParents({ clock, env: process.env, onGone: () => stop("npm ended") }),
    );

    const dataDir = resolve(given.dataDir);
    if (flags["replace"] === true) await endRunningEdge(dataDir, clock);
    // Whoever left it behind is gone, when the store can be opened.
    const before = readEdgeFile(dataDir);
    const start = given.redisUrl === undefined ? startStoreServer : holdDataDir;
    const store = await start({ dataDir, clock, log, counters });
    shutdown.add("store", () => store.close());
    shareLog(given);
    startEdgeMetrics(given);
    const logFile = openLogFile({ settings: given, dataDir, lines });
    for (const name of unknownSettings(process.env)) {
      log.warn({ variable: name }, "this variable is not a setting of this program");
    }
    reportDroppedLines();

    const license = findLicense(given);
    // Workers of a shared store say it themselves.
    if (given.redisUrl === undefined) logLicense(license, log, clock.wallMs());
    const settings = await completeSettings(given, { dataDir, logDir: dirname(logFile) });
    if (before !== undefined) removeSocket(before.controlSocket);
    const startedMs = clock.nowMs();
    const control = await openControl({ dataDir, clock, log, serve });
    shutdown.add("control", () => control.close());
    const supervisor = new Supervisor({
      settings,
      storeSocket: given.redisUrl === undefined ? store.socketPath : undefined,
      clock,
      log,
      lines,
      counters,
      onReady: describe,
    });
    shutdown.add("processes", async () => {
      await supervisor.stop();
      removeEdgeFile(dataDir);
    });
    describe();
    reloadOnHangUp = () => {
      log.info({}, "SIGHUP: certificates and logs are opened anew");
      reopenLog();
      supervisor.reload();
    };
    try {
      await supervisor.start();
      const { httpPort = 0, tlsPort = 0 } = supervisor.balancer.ready ?? {};
      await waitUntilAnswers({ baseUrl: localUrl(settings.bind, httpPort), clock });
      // The words that operators' scripts wait for.
      log.info(
        `CodeTogether On-Premises services now available on port ${httpPort} (HTTP) and ${tlsPort} (SSL)`,
      );
      process.stdout.write(
        summarize({
          version: VERSION,
          bind: settings.bind,
          httpPort,
          tlsPort,
          selfSigned: given.tlsCert.length === 0 ? settings.tlsCert[0] : undefined,
          serverUrl: settings.serverUrl,
          workers: supervisor.workers.map(({ name, ready }) => ({
            id: name,
            port: ready?.port ?? 0,
          })),
          isShared: settings.redisUrl !== undefined,
          loginSimple: settings.loginSimple,
          loginApiKey: settings.loginApiKey !== undefined,
          dashboard: configuredCredentials(settings),
          dataDir,
          logFile,
        }),
      );
    } catch (error) {
      // A stop in the middle of the start makes the start fail; the stop has the last word.
      if (stopping) return;
      await shutdown.run(STOP_DEADLINE_MS);
      throw error;
    }

    function reopenLog(): void {
      try {
        openLogFile({ settings: given, dataDir, lines });
      } catch (error) {
        // The file of before is written on.
        log.error({ err: error }, "server.log could not be opened anew");
      }
    }

    function describe(): void {
      const logs = join(dataDir, "forever");
      linkLogs(logs, logFile, [
        supervisor.balancer.name,
        ...supervisor.workers.map(({ name }) => name),
      ]);
      writeEdgeFile(dataDir, {
        pid: process.pid,
        started: readStat(process.pid)?.started,
        controlSocket: control.socketPath,
        ...describeProcesses(supervisor),
      });
    }

    async function serve(request: ControlRequest, progress: Progress): Promise<EdgeState> {
      switch (request.command) {
        case "restart":
          await supervisor.restart(request.name, progress);
          break;
        case "scale":
          checkPorts({ ...settings, workerCount: request.workers });
          await supervisor.scale(request.workers, progress);
          break;
        case "reload":
          reloadOnHangUp();
          break;
        case "stop":
          // Not before the answer is on its way.
          setImmediate(() => stop("an operator"));
          break;
        case "ps":
      }
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

    /** What is said here of processes is for operators of all machines; the lines of the processes are shared by them. */
    function shareLog(settings: Settings): void {
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

    function startEdgeMetrics(settings: Settings): void {
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

    function reportDroppedLines(): void {
      const timer = clock.every(DROPPED_LINES_PERIOD_MS, () => {
        const dropped = lines.takeDropped();
        if (dropped === 0) return;
        counters.count("log.lines_dropped", "", dropped);
        const err = lines.lastProblem();
        log.warn({ dropped, file: logFile, err }, "log lines were dropped; check its disk");
      });
      shutdown.add("dropped lines", () => timer.cancel());
    }
  }
}

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

/** The settings with what the edge makes itself: absolute folders, secret, certificate. */
async function completeSettings(
  given: Settings,
  { dataDir, logDir }: { dataDir: string; logDir: string },
): Promise<Settings> {
  const secret = given.secret ?? keepSecret(dataDir);
  const { serverUrl } = given;
  const made =
    given.tlsCert.length === 0
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

/** What runs, for programs: pids and ports. */
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
 * Calls `stop` at the first signal that asks for an end; a second one ends at once. Returns the same as a function. SIGHUP
 * means that certificates and logs are to be opened anew, unless it says that the terminal has closed.
 */
function onSignals(
  stop: (why: string) => Promise<void>,
  reload: () => void,
): (why: string) => void {
  let stopping = false;
  const once = (why: string): void => {
    if (stopping) process.exit(1);
    stopping = true;
    stop(why).catch(fail);
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, once);
  process.on("SIGHUP", () => (process.stdin.isTTY ? once("SIGHUP") : reload()));
  return once;
}

function localUrl(bind: string | undefined, port: number): string {
  const host = bind === undefined || isWildcard(bind) ? "127.0.0.1" : bind;
  return `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
}

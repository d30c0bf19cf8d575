#!/usr/bin/env node
/**
 * `ct-balancer`: reads the settings, builds the parts, starts them and stops them.
 */
import { Command } from "commander";
import { systemClock } from "../shared/clock.ts";
import { readSettings, SettingError, type Settings, settingOptions } from "../shared/config.ts";
import { describeError, EdgeError, errorCode } from "../shared/errors.ts";
import { newIncarnation, randomAlphanumerics, type WorkerId } from "../shared/ids.ts";
import { createLog } from "../shared/log.ts";
import { createLease } from "../shared/membership/lease.ts";
import { createMembershipView } from "../shared/membership/view.ts";
import { createCounters } from "../shared/metrics.ts";
import { deriveKeys } from "../shared/secret.ts";
import { createShutdown } from "../shared/shutdown.ts";
import { connectEmbeddedStore } from "../shared/store/embedded/client.ts";
import { VERSION } from "../shared/version.ts";
import { startDataPath } from "./data-path.ts";
import { createTrustedProxies } from "./headers.ts";
import { openStatusPort } from "./status.ts";
import { loadCertificate } from "./tls.ts";
import { createNetTransport } from "./transport/net.ts";

const DEFAULT_STATUS_PORT = 1081;
/** The status port carries no secrets, but is nobody's business outside. */
const STATUS_HOST = "127.0.0.1";
/** The edge gives its processes 2 s to end. */
const STOP_DEADLINE_MS = 1500;

const program = new Command("ct-balancer")
  .description("Routes each request to the worker that hosts its session.")
  .version(VERSION)
  .allowExcessArguments(false)
  .action(run);
for (const option of settingOptions("balancer")) program.addOption(option);
await program.parseAsync();

async function run(flags: Record<string, unknown>): Promise<void> {
  try {
    await startBalancer(readSettings({ role: "balancer", env: process.env, flags }));
  } catch (error) {
    fail(error);
  }
}

async function startBalancer(settings: Settings): Promise<void> {
  const clock = systemClock;
  const counters = createCounters();
  // Whoever read standard output may be gone.
  process.stdout.on("error", () => {});
  const log = createLog({
    name: "balancer",
    level: settings.logLevel,
    format: settings.logFormat,
    sink: process.stdout,
  });
  const shutdown = createShutdown({
    clock,
    report: (part, problem) => log.error({ part, problem }, "a part could not be stopped"),
  });
  stopOnRequest(async (why) => {
    log.info({ why }, "stopping");
    await shutdown.run(STOP_DEADLINE_MS);
    process.exit(0);
  });

  const keys = deriveKeys(required(settings.secret, "CT_SECRET"));
  const socketPath = required(settings.storeSocket, "CT_STORE_SOCKET");
  const certificate = loadCertificate({ cert: settings.tlsCert, key: settings.tlsKey });
  const trusted = createTrustedProxies(settings.trustedProxies);

  const store = connectEmbeddedStore({ socketPath, clock, log });
  shutdown.add("store", () => store.close());
  const view = createMembershipView({ store, clock, log, ringKey: keys.ring });
  shutdown.add("membership", () => view.close());

  const reportBug = (error: unknown): void =>
    log.error({ err: error }, "a connection failed inside the balancer");
  const naming = createPortNaming();
  const dataPath = await startDataPath({
    ...settings,
    transport: createNetTransport({ reportBug }),
    reportBug,
    view,
    store,
    clock,
    log,
    counters,
    edgeKey: keys.edge,
    trusted,
    certificate,
    limits: settings,
    onPort: (setting, port) => naming.note(setting, port),
  }).catch((error: unknown) => naming.explain(error));
  shutdown.add("traffic", () => dataPath.close());

  const { listener, directory, tunnels } = dataPath;
  const statusPort = settings.statusPort ?? DEFAULT_STATUS_PORT;
  naming.note("CT_STATUS_PORT", statusPort);
  const status = await openStatusPort({
    host: STATUS_HOST,
    port: statusPort,
    source: {
      notReady: () => (directory.usable > 0 ? [] : ["no worker takes new sessions"]),
      view: () => ({
        role: "balancer",
        version: VERSION,
        store: store.health,
        ring: view.ring.fingerprint,
        connections: listener.connections,
        tunnels: tunnels.size,
        workers: directory.upstreams.map((upstream) => ({
          ...upstream.record,
          suspect: upstream.isSuspect,
          inFlight: upstream.inFlight,
        })),
        counters: counters.snapshot(),
      }),
    },
  }).catch((error: unknown) => naming.explain(error));
  shutdown.add("status", () => status.close());

  const incarnation = newIncarnation();
  const id = `balancer-${randomAlphanumerics(8)}` as WorkerId;
  const lease = createLease({
    store,
    clock,
    log,
    describe: () => ({
      kind: "balancer",
      id,
      incarnation,
      statusUrl: `http://${STATUS_HOST}:${status.port}`,
      version: VERSION,
      ringFingerprint: view.ring.fingerprint,
    }),
    // Its name is random, so nobody can have the same.
    onReplaced: () => log.error({}, "another balancer has the same name"),
  });
  shutdown.add("lease", () => lease.close());
  // Neither keeps traffic waiting: with the store away they go on trying.
  void view.start();
  void lease.start();

  const ports = { httpPort: listener.httpPort, tlsPort: listener.tlsPort, statusPort: status.port };
  log.info(ports, "listening");
  process.send?.({ type: "ready", ...ports });
}

/** A part that only an edge or an operator can give. */
function required(value: string | undefined, name: string): string {
  if (value !== undefined) return value;
  throw new SettingError(`${name} is not set; start the balancer through ct-edge, or set it`);
}

/** Remembers which port is being opened, so that a failure can name its setting. */
function createPortNaming() {
  let setting = "";
  let port = 0;
  return {
    note(nextSetting: string, nextPort: number): void {
      setting = nextSetting;
      port = nextPort;
    },
    explain(error: unknown): never {
      const code = errorCode(error);
      if (code === "EADDRINUSE") {
        throw new SettingError(
          `${setting}=${port}: already in use by another program; stop it or set ${setting} to another port`,
        );
      }
      if (code === "EACCES") {
        throw new SettingError(
          `${setting}=${port}: this user may not open it; set ${setting} to a port above 1023`,
        );
      }
      throw error;
    },
  };
}

/**
 * Calls `stop` once. A process that the edge started ends when the edge says so or is gone; Ctrl-C reaches the whole
 * process group, and then it waits for the edge, which stops it in order.
 */
function stopOnRequest(stop: (why: string) => Promise<void>): void {
  let stopping = false;
  const once = (why: string): void => {
    if (stopping) return;
    stopping = true;
    stop(why).catch((error: unknown) => fail(error));
  };
  const isChild = process.channel !== undefined;
  process.on("SIGTERM", () => once("SIGTERM"));
  process.on("SIGINT", () => {
    if (!isChild) once("SIGINT");
  });
  if (!isChild) return;
  process.on("disconnect", () => once("the edge is gone"));
  process.on("message", (message) => {
    if (typeof message === "object" && message !== null && "type" in message) {
      if (message.type === "stop") once("the edge stops");
    }
  });
}

/** Ends the process with one line for the operator. */
function fail(error: unknown): void {
  const message = error instanceof EdgeError ? error.message : describeStack(error);
  process.stderr.write(`${message}\n`);
  process.exitCode = 1;
  if (process.send === undefined) process.exit(1);
  process.send({ type: "failed", message }, () => process.exit(1));
}

/** An error that is not ours is a bug or the system's: its stack helps. */
function describeStack(error: unknown): string {
  return error instanceof Error && error.stack !== undefined ? error.stack : describeError(error);
}

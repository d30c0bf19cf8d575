#!/usr/bin/env node
/**
 * `ct-worker`: reads the settings, opens the parts (start/) in the order in which they need each other, and announces the
 * worker. The parts close in the reverse order.
 */
import { systemClock } from "../shared/base/clock.ts";
import { keepingAlive } from "../shared/base/keep-alive.ts";
import { localUrl } from "../shared/process/ask-status-port.ts";
import { storeReached } from "../shared/process/connect-store.ts";
import { releaseStartGarbage } from "../shared/process/free-start-memory.ts";
import { fail, reportReady } from "../shared/process/program.ts";
import { readSettings, type Settings } from "../shared/settings/read-settings.ts";
import { workerProgram } from "./command-line.ts";
import { openActivity } from "./start/activity.ts";
import { createAddresses } from "./start/addresses.ts";
import { prepareDrain } from "./start/drain.ts";
import { openIdentity } from "./start/identity.ts";
import { openMember } from "./start/member.ts";
import { readOptions, readPorts } from "./start/options.ts";
import { openPluginsAndDashboard } from "./start/plugins-and-dashboard.ts";
import { openPolicy } from "./start/policy.ts";
import { openProcess } from "./start/process.ts";
import { startServer } from "./start/server.ts";
import { openSessions } from "./start/sessions.ts";
import { openMembership } from "./start/store-and-membership.ts";
import { openUsage } from "./start/usage.ts";
import { openWebhooks } from "./start/webhooks.ts";

await workerProgram({ run, empty }).parseAsync();

async function run(flags: Record<string, unknown>): Promise<void> {
  try {
    await startWorker(readSettings({ role: "worker", env: process.env, flags }));
  } catch (error) {
    fail(error);
  }
}

/** Of the worker that runs with the same settings. */
async function empty(flags: Record<string, unknown>): Promise<void> {
  try {
    const { timeout, ...settingFlags } = flags;
    const settings = readSettings({ role: "worker", env: process.env, flags: settingFlags });
    const { statusBind, statusPort } = readPorts(settings);
    // Only this command needs it.
    const { emptyWorker } = await import("./empty.ts");
    const options = { timeoutMs: Number(timeout) * 1000, clock: systemClock };
    await keepingAlive(() => emptyWorker(localUrl(statusBind, statusPort), options));
  } catch (error) {
    fail(error);
  }
}

async function startWorker(settings: Settings): Promise<void> {
  const options = readOptions(settings);
  const worker = openProcess(options);
  const membership = openMembership(worker, options);
  const { store, view } = membership;
  const webhooks = await openWebhooks(worker, membership, options.webhooks);
  const { activity, auditState } = await openActivity(
    worker,
    membership,
    options,
    webhooks?.outbox,
  );
  const policy = await openPolicy(worker, membership, activity, options.policy);
  const usage = openUsage(worker, membership);
  const sessions = openSessions(
    worker,
    membership,
    policy.access,
    activity,
    usage.sessionUsage,
    options.sessions,
  );
  const { registry } = sessions;
  const operators = openPluginsAndDashboard(worker, membership, registry, usage, policy, options);
  const identity = openIdentity(
    worker,
    membership,
    sessions,
    activity,
    operators.leadership,
    operators.dashboard.feed,
    options.identity,
  );
  const addresses = createAddresses(options.ports);
  const drain = prepareDrain(
    worker,
    {
      membership,
      registry,
      writeRecord: () => member.lease.refresh(),
      shortenPolls: () => server.shortenPolls(),
    },
    options,
  );
  const { commandHandler } = drain;
  const parts = {
    membership,
    policy,
    webhooks,
    activity,
    auditState,
    sessions,
    operators,
    identity,
    addresses,
    commandHandler,
  };
  const server = await startServer(worker, parts, options);
  const { port, waitingPolls } = server;
  const { restarts } = options;
  const member = await openMember(worker, { ...parts, drain, waitingPolls, restarts }, options);
  const { statusPort } = member;
  // Closes before the lease: while peers are connected here, no other worker may take their sessions over.
  worker.shutdown.add("traffic", () => server.close());
  // The other parts wait for what they have deferred.
  worker.shutdown.add("deferred store operations", () => store.stopDeferring());

  await storeReached(store);
  addresses.resolve({ port, statusPort, localAddress: store.localAddress });
  releaseStartGarbage();
  // The record goes first, so that this worker's own ring has it from the start and the ids it mints lead back to it.
  await member.lease.start();
  await view.start();
  await registry.recover();
  member.startDuties();
  await operators.credentials.start();
  if (!worker.setRunning(drain.beforeStop)) return;
  worker.log.info({ port, statusPort }, "listening");
  reportReady({ port, statusPort });
}

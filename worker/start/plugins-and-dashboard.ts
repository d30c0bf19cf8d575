/** Opens the parts for operators and for users who set up their IDE: plugins, measurements, the dashboard and its password. */
import { createLeaderElection } from "../../shared/membership/leader-election.ts";
import { findLicense, logLicense } from "../../shared/settings/license-file.ts";
import { openClients } from "../clients/clients.ts";
import { openDashboard } from "../dashboard/dashboard.ts";
import { createCredentials } from "../operators/credentials.ts";
import type { Registry } from "../sessions/registry.ts";
import { measureWorker } from "../usage/measurements.ts";
import type { WorkerOptions } from "./options.ts";
import type { PolicyParts } from "./policy.ts";
import type { WorkerProcess } from "./process.ts";
import type { Membership } from "./store-and-membership.ts";
import type { UsageParts } from "./usage.ts";

export type OperatorParts = ReturnType<typeof openPluginsAndDashboard>;

export function openPluginsAndDashboard(
  worker: WorkerProcess,
  { store, view }: Membership,
  registry: Registry,
  usage: Pick<UsageParts, "hashOf" | "recentPeople">,
  policy: Pick<PolicyParts, "file">,
  options: Pick<
    WorkerOptions,
    "license" | "credentials" | "clients" | "dashboard" | "metrics" | "isStoreEmbedded"
  >,
) {
  const { self, clock, log, counters, shutdown } = worker;
  const license = findLicense(options.license);
  // An edge with an embedded store logs it once for all its workers.
  if (!options.isStoreEmbedded) logLicense(license, worker.rootLog, clock.wallMs());
  const credentials = createCredentials({
    settings: options.credentials,
    tokens: options.credentials.tokens,
    store,
    clock,
    log: worker.localLog,
    counters,
  });
  const clients = openClients({
    settings: options.clients,
    id: self.id,
    store,
    clock,
    log,
    counters,
  });
  if (clients !== undefined) shutdown.add("clients", () => clients.close());
  const measurements = measureWorker({
    settings: options.metrics,
    self,
    store,
    view,
    registry,
    ...usage,
    counters,
    clock,
    log,
  });
  shutdown.add("metrics", () => measurements.close());
  const leadership = createLeaderElection("reaper", { store, clock, log, holder: self.id });
  shutdown.add("leadership", () => leadership.close());
  const dashboard = openDashboard({
    settings: options.dashboard,
    self,
    leadership,
    store,
    clusterUsage: measurements.clusterUsage,
    deferredUsage: measurements.deferredUsage,
    downloads: clients?.downloads,
    policy: policy.file,
    license,
    clock,
    log,
  });
  shutdown.add("dashboard", () => dashboard.close());
  return {
    license,
    credentials,
    clients,
    measurements,
    /** The leader does the work that one worker does for all: the dashboard's history, removing abandoned sessions. */
    leadership,
    dashboard,
  };
}

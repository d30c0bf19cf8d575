/**
 * The clients area of a worker: the catalog of plugins in its folder, the companion extension, and the download counts.
 */
import { join, resolve } from "node:path";
import type { Clock } from "../../shared/base/clock.ts";
import type { WorkerId } from "../../shared/base/ids.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import type { Settings, Slice } from "../../shared/settings/read-settings.ts";
import type { Store } from "../../shared/store/store.ts";
import { createCatalog } from "./catalog.ts";
import { createCompanion } from "./companion/companion.ts";
import { createDownloads } from "./downloads.ts";

/** In the data directory: what was read from the archives. */
export const INDEX_FILE = "clients-index.json";
/** In the data directory: the generated extension. */
const COMPANION_FOLDER = "companion";
/** The workers of a one-machine edge share a folder and a log: this one logs the problems. */
const LOGGING_WORKER = "worker-1";

export const CLIENT_SETTINGS = [
  "noClients",
  "clientsDir",
  "dataDir",
  "storeSocket",
  "serverUrl",
] as const;

export type Clients = NonNullable<ReturnType<typeof openClients>>;

/** Undefined when the area is turned off (CT_NOCLIENTS). */
export function openClients(deps: {
  readonly settings: Slice<typeof CLIENT_SETTINGS>;
  readonly id: WorkerId;
  readonly store: Pick<Store, "addToCounters" | "readCounters" | "put" | "timeMs">;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
}) {
  const { settings, clock, log } = deps;
  if (settings.noClients) return undefined;
  const companion = createCompanion({
    serverUrl: settings.serverUrl,
    folder: resolve(settings.dataDir, COMPANION_FOLDER),
    store: deps.store,
    clock,
    log,
  });
  const catalog = createCatalog({
    companion,
    folder: clientsFolder(settings),
    indexFile: resolve(settings.dataDir, INDEX_FILE),
    logsProblems: settings.storeSocket === undefined || deps.id === LOGGING_WORKER,
    clock,
    log,
  });
  const downloads = createDownloads(deps);
  return {
    catalog,
    companion,
    downloads,
    async close(): Promise<void> {
      await Promise.all([catalog.close(), companion.close(), downloads.close()]);
    },
  };
}

export function clientsFolder(settings: Pick<Settings, "clientsDir" | "dataDir">): string {
  return resolve(settings.clientsDir ?? join(settings.dataDir, "clients"));
}

/**
 * The clients area of a worker: the catalog of what its folder offers, and the count of what is downloaded.
 */
import { join, resolve } from "node:path";
import type { Clock } from "../../shared/base/clock.ts";
import type { WorkerId } from "../../shared/base/ids.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import type { Settings } from "../../shared/settings/read-settings.ts";
import type { Store } from "../../shared/store/store.ts";
import { type Catalog, createCatalog } from "./catalog.ts";
import { createDownloads, type Downloads } from "./downloads.ts";

export interface Clients {
  readonly catalog: Catalog;
  readonly downloads: Downloads;
  close(): Promise<void>;
}

/** Name of the file in the data directory that remembers what was read of archives. */
const INDEX_FILE = "clients-index.json";
/** Of the workers that one machine's edge starts, and that share a folder and a log, this one speaks of the files. */
const FIRST_WORKER = "worker-1";

/** Undefined when the operator has turned the area off. */
export function openClients(needs: {
  readonly settings: Pick<Settings, "noClients" | "clientsDir" | "dataDir" | "storeSocket">;
  readonly id: WorkerId;
  readonly store: Pick<Store, "addToCounters" | "readCounters">;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
}): Clients | undefined {
  const { settings, clock, log } = needs;
  if (settings.noClients) return undefined;
  const catalog = createCatalog({
    folder: clientsFolder(settings),
    indexFile: resolve(settings.dataDir, INDEX_FILE),
    speaks: settings.storeSocket === undefined || needs.id === FIRST_WORKER,
    clock,
    log,
  });
  const downloads = createDownloads(needs);
  return {
    catalog,
    downloads,
    async close() {
      await Promise.all([catalog.close(), downloads.close()]);
    },
  };
}

/** Where operators put the plugins. */
export function clientsFolder(settings: Pick<Settings, "clientsDir" | "dataDir">): string {
  return resolve(settings.clientsDir ?? join(settings.dataDir, "clients"));
}

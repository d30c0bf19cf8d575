/**
 * For the summary: where to get Open Collaboration Tools for the IDEs for which this edge does not offer it.
 */
import { join } from "node:path";
import { type Clock, sleep } from "../../shared/base/clock.ts";
import type { Settings } from "../../shared/settings/read-settings.ts";
import { clientsFolder, INDEX_FILE } from "../../worker/clients/clients.ts";
import { createScanner, type Offer } from "../../worker/clients/formats/scan.ts";
import { readIndexFile } from "../../worker/clients/index-file.ts";
import { describeSource, missingPlugins } from "../../worker/clients/plugin-sources.ts";

/** A folder with very many new files takes longer: then the summary does without this. */
const TIMEOUT_MS = 1000;

/** One line per IDE. Empty when all are offered, with CT_NOCLIENTS, and when the folder cannot be read in time. */
export async function findPluginSources(
  settings: Pick<Settings, "noClients" | "clientsDir" | "dataDir">,
  clock: Clock,
): Promise<readonly string[]> {
  if (settings.noClients) return [];
  const offer = await Promise.race([
    readOffer(settings, clock).catch(() => undefined),
    sleep(clock, TIMEOUT_MS),
  ]);
  return offer === undefined ? [] : missingPlugins(offer).map(describeSource);
}

async function readOffer(
  settings: Pick<Settings, "clientsDir" | "dataDir">,
  clock: Clock,
): Promise<Offer> {
  // What the workers read in an earlier run.
  const { cached } = await readIndexFile(join(settings.dataDir, INDEX_FILE));
  // Far in the future, every file is old enough to be complete.
  const later = { wallMs: () => Number.MAX_SAFE_INTEGER, nowMs: () => clock.nowMs() };
  const folder = clientsFolder(settings);
  const { offer } = await createScanner({ folder, clock: later, cached }).scan();
  return offer;
}

/**
 * Download counts of the whole edge, kept in the store: per day (UTC), IDE, plugin and version, and as one total.
 */
import type { Clock } from "../../shared/base/clock.ts";
import { writeCsv } from "../../shared/base/csv.ts";
import { getOrAdd } from "../../shared/base/grouping.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import { createPendingCounts } from "../../shared/store/pending-counts.ts";
import type { Store } from "../../shared/store/store.ts";
import type { Ide } from "./formats/artifact.ts";

export type Downloads = ReturnType<typeof createDownloads>;

export interface DownloadCount {
  /** `2030-01-31`. */
  readonly day: string;
  readonly ide: string;
  readonly id: string;
  readonly version: string;
  readonly count: number;
}

export const TOTAL_DOWNLOADS = "downloads.total";
/** Prefix of the counters per version, over all days: `downloads.by/IDE/VERSION`. */
const BY_VERSION = "downloads.by/";
/** Further versions are counted as `other`, to bound the number of metric series. */
const MAX_VERSIONS = 200;
const OTHER = "other";
const PREFIX = "downloads/";
const TOTALS_AGE_MS = 60_000;
/** Counters that wait for the store; beyond this, new ones are dropped and only existing ones still grow. */
const MAX_WAITING = 10_000;
/** A counter name has at most 200 characters. */
const MAX_ID_CHARS = 110;
const MAX_VERSION_CHARS = 50;

export function createDownloads(deps: {
  readonly store: Pick<Store, "addToCounters" | "readCounters">;
  readonly clock: Clock;
  readonly counters: Counters;
  readonly log: Log;
}) {
  const { store, clock, counters, log } = deps;
  const pending = createPendingCounts({
    store,
    clock,
    log,
    what: "downloads",
    delayMs: 0,
    maxNames: MAX_WAITING,
  });
  /** Counters per version that exist, as far as this process knows. */
  const versionCounters = new Set<string>();
  let totals = new Map<string, Map<string, number>>();
  let totalsMs = Number.NEGATIVE_INFINITY;

  function versionCounter(ide: Ide, version: string): string {
    const own = `${BY_VERSION}${ide}/${version}`;
    if (!versionCounters.has(own) && versionCounters.size >= MAX_VERSIONS)
      return `${BY_VERSION}${ide}/${OTHER}`;
    versionCounters.add(own);
    return own;
  }

  /** All counts, sorted by day, IDE, plugin and version. Rejects with `StoreAwayError`. */
  async function read(): Promise<DownloadCount[]> {
    const all = await store.readCounters(PREFIX);
    const rows = Object.entries(all).flatMap(([name, count]) => parseName(name, count) ?? []);
    return rows.sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
  }

  async function refreshTotals(): Promise<void> {
    totalsMs = clock.nowMs();
    const fresh: typeof totals = new Map();
    for (const { ide, id, count } of await read()) {
      const ofIde = getOrAdd(fresh, ide, () => new Map<string, number>());
      ofIde.set(id, (ofIde.get(id) ?? 0) + count);
    }
    totals = fresh;
  }

  // Until this is read, the limit may be exceeded by a few.
  store.readCounters(BY_VERSION).then(
    (counted) => {
      for (const name of Object.keys(counted)) versionCounters.add(name);
    },
    () => {},
  );

  return {
    read,
    /**
     * Downloads by plugin id, over all days and versions. Returns the last read values at once, and reads them again when they
     * are older than a minute. Empty at first.
     */
    totals(ide: Ide): ReadonlyMap<string, number> {
      if (clock.nowMs() - totalsMs >= TOTALS_AGE_MS) {
        refreshTotals().catch((error: unknown) => {
          log.debug({ err: error }, "cannot read the download totals");
        });
      }
      return totals.get(ide) ?? new Map();
    },
    /** Counts one download. Never fails: during a store outage counts wait in memory and are written afterwards. */
    count(ide: Ide, id: string, version: string): void {
      counters.count("worker.downloads", ide);
      const day = new Date(clock.wallMs()).toISOString().slice(0, 10);
      const shortVersion = encode(version, MAX_VERSION_CHARS);
      const ofDay = [`${PREFIX}${day}`, ide, encode(id, MAX_ID_CHARS), shortVersion].join("/");
      pending.add({ [TOTAL_DOWNLOADS]: 1, [versionCounter(ide, shortVersion)]: 1, [ofDay]: 1 });
    },
    /** Writes the counts that are not yet in the store. */
    close: (): Promise<void> => pending.close(),
  };
}

/** Downloads per version, with the tag of the metric `downloads_by`: `IDE/VERSION`. Rejects with `StoreAwayError`. */
export async function readVersionTotals(
  store: Pick<Store, "readCounters">,
): Promise<readonly { readonly counter: string; readonly tag: string; readonly total: number }[]> {
  const counted = await store.readCounters(BY_VERSION);
  return Object.entries(counted).map(([counter, total]) => {
    const [, ide = "", version = ""] = counter.split("/");
    return { counter, tag: `${ide}/${decode(version)}`, total };
  });
}

function parseName(name: string, count: number): DownloadCount | undefined {
  const [, day, ide, id, version, more] = name.split("/");
  if (!day || !ide || !id || !version || more !== undefined) return undefined;
  return { day, ide, id: decode(id), version: decode(version), count };
}

function keyOf({ day, ide, id, version }: DownloadCount): string {
  return [day, ide, id, version].join("\n");
}

// --- counter names ---

/** Keeps letters, digits, dots and dashes; any other byte becomes `_XX`. Truncates to `maxChars`. */
function encode(text: string, maxChars: number): string {
  let encoded = "";
  for (const byte of Buffer.from(text)) {
    const char = String.fromCharCode(byte);
    const next = /[A-Za-z0-9.-]/.test(char)
      ? char
      : `_${byte.toString(16).toUpperCase().padStart(2, "0")}`;
    if (encoded.length + next.length > maxChars) break;
    encoded += next;
  }
  return encoded || "_";
}

function decode(name: string): string {
  const bytes = name.replace(/_([0-9A-F]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return Buffer.from(bytes, "latin1").toString("utf8");
}

// --- CSV ---

/** With a header line. Pure. */
export function downloadsCsv(rows: readonly DownloadCount[]): string {
  return writeCsv(
    ["day", "ide", "id", "version", "downloads"],
    rows.map(({ day, ide, id, version, count }) => [day, ide, id, version, count]),
  );
}

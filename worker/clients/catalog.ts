/**
 * The plugins that are offered now: scans the clients folder repeatedly, adds the companion extension, and logs each problem
 * once.
 */
import type { Clock } from "../../shared/base/clock.ts";
import { describeError } from "../../shared/base/errors.ts";
import { startRestingTask } from "../../shared/base/periodic-task.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { Companion } from "./companion/companion.ts";
import { withCompanion } from "./companion/package.ts";
import { createDigests, type Digests, digestKey } from "./digests.ts";
import type { ArtifactFile } from "./formats/artifact.ts";
import { createScanner, NOTHING, type Offer, type Scanner } from "./formats/scan.ts";
import { readIndexFile, writeIndexFile } from "./index-file.ts";

export type Catalog = ReturnType<typeof createCatalog>;

/** Pause between two scans. Polling, because file system notifications do not cross containers, network mounts and VMs. */
const SCAN_INTERVAL_MS = 2000;
/** The pause while a file is being written. */
const PENDING_INTERVAL_MS = 300;
/** A scan of very many files takes long; the pause is this many times as long, so that it uses at most 5 % of the time. */
const REST_FACTOR = 20;

export function createCatalog(deps: {
  readonly folder: string;
  /** Where the index is kept between two runs; undefined: it is not. */
  readonly indexFile?: string | undefined;
  /** Undefined: none is offered. */
  readonly companion?: Pick<Companion, "state" | "refresh">;
  /** Whether problems are logged; of several workers that share a folder and a log, one does. */
  readonly logsProblems: boolean;
  readonly clock: Clock;
  readonly log: Log;
}) {
  const { folder, indexFile, companion, clock, log } = deps;
  const logProblems = createProblemLog(deps);
  /** As scanned last, without the companion. */
  let scanned = NOTHING;
  let offer = NOTHING;
  let signature = "";
  let digests: Digests | undefined;
  let scanning: { close(): void } | undefined;
  let isClosed = false;
  /** Writes of the index, one after the other. */
  let saving = Promise.resolve();
  const opened = open();

  async function open(): Promise<void> {
    const index = await readIndexFile(indexFile);
    if (isClosed) return;
    const scanner = createScanner({ folder, clock, cached: index.cached });
    digests = createDigests({
      clock,
      cached: index.digests,
      onDone: () => {
        saving = saving.then(() => saveIndex(scanner));
      },
    });
    let restMs = await scanOnce(scanner);
    if (isClosed) return;
    scanning = startRestingTask({
      clock,
      restMs: () => restMs,
      work: async () => {
        restMs = await scanOnce(scanner);
      },
    });
  }

  /** Resolves with the pause before the next scan. */
  async function scanOnce(scanner: Scanner): Promise<number> {
    const startMs = clock.nowMs();
    try {
      const result = await scanner.scan();
      scanned = result.offer;
      publish();
      // Not awaited, because the store may be away. While files are being copied, the extension that the companion configures
      // may be among them.
      if (result.pending === 0) void addCompanion();
      const restMs = (clock.nowMs() - startMs) * REST_FACTOR;
      return Math.max(result.pending > 0 ? PENDING_INTERVAL_MS : SCAN_INTERVAL_MS, restMs);
    } catch (error) {
      logProblems(new Map([["", describeError(error)]]));
      return SCAN_INTERVAL_MS;
    }
  }

  async function addCompanion(): Promise<void> {
    const before = companion?.state;
    await companion?.refresh(scanned.vscode);
    if (companion?.state !== before && !isClosed) publish();
  }

  function publish(): void {
    const state = companion?.state;
    const found = withCompanion(scanned, state?.state === "ready" ? state.artifact : undefined);
    logProblems(new Map(found.problems.map(({ file, reason }) => [file, reason])));
    const next = signatureOf(found);
    if (next === signature) return;
    signature = next;
    offer = found;
    digests?.setFiles(downloadsOf(found));
    log[deps.logsProblems ? "info" : "debug"](
      {
        vscode: found.vscode.length,
        intellij: found.intellij.length,
        eclipse: found.eclipse?.features.length ?? 0,
        notOffered: found.problems.length,
      },
      "the offered plugins have changed",
    );
  }

  async function saveIndex({ cached }: Scanner): Promise<void> {
    if (indexFile === undefined) return;
    const digestEntries = downloadsOf(offer).flatMap((file) => {
      const digest = digests?.of(file);
      return digest === undefined ? [] : [[digestKey(file), digest] as const];
    });
    try {
      await writeIndexFile(indexFile, { cached, digests: new Map(digestEntries) });
    } catch (error) {
      log.debug(
        { err: error },
        "cannot write the clients index; the next start reads all plugin files again",
      );
    }
  }

  return {
    /** The same object until the next change. */
    get offer(): Offer {
      return offer;
    },
    /** Resolves after the first scan. */
    ready: (): Promise<void> => opened,
    /** SHA-256 in hexadecimal; undefined until it is computed. */
    digestOf: (file: ArtifactFile) => digests?.of(file),
    /** Resolves when the last write of the index has ended. */
    async close(): Promise<void> {
      isClosed = true;
      scanning?.close();
      digests?.close();
      await saving;
    },
  };
}

/** The files that have a digest. */
function downloadsOf({ vscode, intellij }: Offer): readonly ArtifactFile[] {
  return [...vscode, ...intellij].map(({ file }) => file);
}

/** Logs each problem once, and again if it comes back after it was solved. A problem of the folder itself has the file "". */
function createProblemLog(deps: {
  readonly folder: string;
  readonly logsProblems: boolean;
  readonly log: Log;
}): (problems: ReadonlyMap<string, string>) => void {
  const { folder, logsProblems, log } = deps;
  let logged = new Set<string>();
  return (problems) => {
    const current = new Set<string>();
    for (const [file, reason] of problems) {
      const key = `${file}\n${reason}`;
      current.add(key);
      if (logged.has(key)) continue;
      if (file === "") log.error({ folder, reason }, "cannot read the clients folder");
      else
        log[logsProblems ? "warn" : "debug"](
          { file, reason },
          // Files of a repository are served even when there are problems.
          file.startsWith("eclipse/")
            ? "problem in the Eclipse repository"
            : "a plugin file is not offered",
        );
    }
    logged = current;
  };
}

/** Identifies the contents of an offer: the same files in the same state have the same signature. */
function signatureOf({ vscode, intellij, eclipse, problems }: Offer): string {
  const files = [...vscode, ...intellij, ...(eclipse?.features ?? [])];
  return [
    ...files.map(({ file }) => digestKey(file)),
    eclipse?.folder,
    ...(eclipse?.bundles ?? []),
    ...problems.map(({ file, reason }) => `${file} ${reason}`),
  ].join("\n");
}

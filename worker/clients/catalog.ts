/**
 * What is offered now, always up to date: looks at the clients folder again and again, and says once of each file that is
 * not offered why.
 */
import { type Clock, sleep } from "../../shared/base/clock.ts";
import { describeError } from "../../shared/base/errors.ts";
import type { Log } from "../../shared/logs/log.ts";
import { createDigests, type Digests, digestKey } from "./digests.ts";
import type { ArtifactFile } from "./formats/artifact.ts";
import { createScanner, NOTHING, type Offer, type Scanner } from "./formats/scan.ts";
import { readIndexFile, writeIndexFile } from "./index-file.ts";

export interface Catalog {
  /** The same object until something changes. */
  readonly offer: Offer;
  /** Resolves when the first look is done. */
  ready(): Promise<void>;
  /** SHA-256 in hexadecimal; undefined while it is being worked out. */
  digestOf(file: ArtifactFile): string | undefined;
  /** Resolves when nothing is written any more. */
  close(): Promise<void>;
}

/**
 * Pauses between two looks. Not by notifications of the file system: they do not cross the borders of containers, networks
 * and virtual machines.
 */
const LOOK_MS = 2000;
/** While a file is still written, or has just been. */
const LOOK_AGAIN_MS = 300;
/** A look at very many files may take long: it must not be all that this process does. */
const REST_FACTOR = 20;

export function createCatalog(needs: {
  readonly folder: string;
  /** Where to remember what was read; undefined: nowhere. */
  readonly indexFile?: string | undefined;
  /** Whether problems are told in the log; where several workers share a folder, one of them does. */
  readonly speaks: boolean;
  readonly clock: Clock;
  readonly log: Log;
}): Catalog {
  const { folder, indexFile, clock, log } = needs;
  let offer = NOTHING;
  let signature = "";
  let digests: Digests | undefined;
  /** Files and reasons that were logged and still hold. */
  let spoken = new Set<string>();
  let isClosed = false;
  /** One at a time. */
  let remembering = Promise.resolve();
  const opened = open();

  async function open(): Promise<void> {
    const remembered =
      indexFile === undefined
        ? { known: new Map(), digests: new Map() }
        : await readIndexFile(indexFile);
    if (isClosed) return;
    const scanner = createScanner({ folder, clock, known: remembered.known });
    digests = createDigests({
      clock,
      known: remembered.digests,
      onDone: () => {
        remembering = remembering.then(() => remember(scanner));
      },
    });
    let wait = await look(scanner);
    const goOn = async (): Promise<void> => {
      while (!isClosed) {
        await sleep(clock, wait);
        if (!isClosed) wait = await look(scanner);
      }
    };
    goOn().catch((error: unknown) =>
      log.error({ err: error }, "stopped watching the clients folder"),
    );
  }

  /** How long to wait before the next look. */
  async function look(scanner: Scanner): Promise<number> {
    const startMs = clock.nowMs();
    try {
      const found = await scanner.scan();
      take(found.offer);
      const restMs = (clock.nowMs() - startMs) * REST_FACTOR;
      return Math.max(found.pending > 0 ? LOOK_AGAIN_MS : LOOK_MS, restMs);
    } catch (error) {
      speak(new Map([["", describeError(error)]]));
      return LOOK_MS;
    }
  }

  function take(found: Offer): void {
    speak(new Map(found.problems.map(({ file, reason }) => [file, reason])));
    const next = signatureOf(found);
    if (next === signature) return;
    signature = next;
    offer = found;
    const files = [...found.vscode, ...found.intellij].map(({ file }) => file);
    digests?.want(files);
    log[needs.speaks ? "info" : "debug"](
      {
        vscode: found.vscode.length,
        intellij: found.intellij.length,
        eclipse: found.eclipse?.features.length ?? 0,
        notOffered: found.problems.length,
      },
      "the offered plugins have changed",
    );
  }

  /** One line for each problem, again only when it was solved meanwhile. */
  function speak(problems: ReadonlyMap<string, string>): void {
    const now = new Set<string>();
    for (const [file, reason] of problems) {
      const key = `${file}\n${reason}`;
      now.add(key);
      if (spoken.has(key)) continue;
      if (file === "") log.error({ folder, reason }, "cannot read the clients folder");
      else
        log[needs.speaks ? "warn" : "debug"](
          { file, reason },
          // Its files are served as they are.
          file.startsWith("eclipse/")
            ? "problem in the Eclipse repository"
            : "a plugin file is not offered",
        );
    }
    spoken = now;
  }

  async function remember({ known }: Scanner): Promise<void> {
    if (indexFile === undefined) return;
    const all = [...offer.vscode, ...offer.intellij].flatMap(({ file }) => {
      const digest = digests?.of(file);
      return digest === undefined ? [] : [[digestKey(file), digest] as const];
    });
    try {
      await writeIndexFile(indexFile, { known, digests: new Map(all) });
    } catch (error) {
      // Nothing is lost by it but time at the next start.
      log.debug(
        { err: error },
        "cannot write the clients index; the next start reads all plugin files again",
      );
    }
  }

  return {
    get offer() {
      return offer;
    },
    ready: () => opened,
    digestOf: (file) => digests?.of(file),
    async close() {
      isClosed = true;
      digests?.close();
      await remembering;
    },
  };
}

/** Everything that an offer is made of: files in one state always say the same. */
function signatureOf({ vscode, intellij, eclipse, problems }: Offer): string {
  const files = [...vscode, ...intellij, ...(eclipse?.features ?? [])];
  return [
    ...files.map(({ file }) => digestKey(file)),
    eclipse?.folder,
    ...(eclipse?.bundles ?? []),
    ...problems.map(({ file, reason }) => `${file} ${reason}`),
  ].join("\n");
}

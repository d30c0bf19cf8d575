/**
 * Scans the clients folder: which builds can be offered now, and which files cannot and why. The facts of an unchanged file
 * are cached, so that repeated scans are cheap.
 */
import { realpath, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../../../shared/base/clock.ts";
import { concurrently } from "../../../shared/base/concurrently.ts";
import { errorCode } from "../../../shared/base/errors.ts";
import { ArchiveError } from "./archive.ts";
import {
  type Artifact,
  type CachedFile,
  type EclipseFeature,
  extensionId,
  type Facts,
  type IntellijArtifact,
  type VscodeArtifact,
} from "./artifact.ts";
import {
  type FoundFile,
  ifPresent,
  insideOf,
  listFolder,
  type Problem,
  reasonOf,
} from "./folder.ts";
import { indexProblem, listRepository, type P2Listing, readFeature, readMirrors } from "./p2.ts";
import { readPlugin } from "./plugin.ts";
import { readVsix } from "./vsix.ts";

/** Lists are sorted by file name. */
export interface Offer {
  readonly vscode: readonly VscodeArtifact[];
  readonly intellij: readonly IntellijArtifact[];
  readonly eclipse: EclipseOffer | undefined;
  readonly problems: readonly Problem[];
}

export interface EclipseOffer {
  /** Real path of the repository. */
  readonly folder: string;
  readonly features: readonly EclipseFeature[];
  readonly bundles: readonly string[];
}

export const NOTHING: Offer = { vscode: [], intellij: [], eclipse: undefined, problems: [] };

export type Scanner = ReturnType<typeof createScanner>;

/** A file that is being written changes within this time; a complete one is offered after it. */
const STEADY_MS = 250;
/** A broken file is reported after this time: before, it may be an unfinished copy. */
const BROKEN_AFTER_MS = 5000;
/** Concurrent reads. Each takes a few hundred KiB; JetBrains plugins may take 128 MiB, so those are read one by one. */
const VSIX_CONCURRENCY = 4;

export function createScanner(deps: {
  readonly folder: string;
  readonly clock: Pick<Clock, "wallMs" | "nowMs">;
  readonly cached?: ReadonlyMap<string, CachedFile>;
}) {
  const { clock } = deps;
  let cached = new Map(deps.cached);
  /** When each file was first seen in its present state. */
  let firstSeen = new Map<string, { readonly stamp: string; readonly atMs: number }>();
  let repository: { readonly signature: string; readonly problems: readonly Problem[] } | undefined;

  return {
    /** What was read from the files in their present state, to be kept between two runs. */
    get cached(): ReadonlyMap<string, CachedFile> {
      return cached;
    },
    /** `pending`: files that are changing or too recent to be offered; scan again soon. */
    async scan(): Promise<{ readonly offer: Offer; readonly pending: number }> {
      const next = new Map<string, CachedFile>();
      const nextSeen: typeof firstSeen = new Map();
      const problems: Problem[] = [];
      let pending = 0;

      /** What can be offered now of a file; else counts it as pending or records its problem. */
      async function inspect<F extends Facts>(
        key: string,
        file: FoundFile,
        read: (path: string) => Promise<F>,
      ): Promise<Artifact<F> | undefined> {
        const stamp = stampOf(file);
        const seen = firstSeen.get(key);
        const since = seen?.stamp === stamp ? seen.atMs : clock.nowMs();
        nextSeen.set(key, { stamp, atMs: since });
        const ageMs = Math.max(clock.nowMs() - since, clock.wallMs() - file.ctimeMs);
        const previous = cached.get(key);
        const result = previous?.stamp === stamp ? previous : await readFacts(file, stamp, read);
        if (result === undefined) {
          pending++;
          return undefined;
        }
        next.set(key, result);
        if (ageMs < ("reason" in result ? BROKEN_AFTER_MS : STEADY_MS)) {
          pending++;
          return undefined;
        }
        if ("facts" in result) return { ...(result.facts as F), file: artifactFile(file) };
        problems.push({ file: key, reason: result.reason });
        return undefined;
      }

      const root = await ifPresent(realpath(deps.folder));
      if (root === undefined) {
        [cached, firstSeen, repository] = [next, nextSeen, undefined];
        return { offer: NOTHING, pending: 0 };
      }
      const vsix = await listFolder(root, "vscode", [".vsix"]);
      const plugins = await listFolder(root, "intellij", [".zip", ".jar"]);
      problems.push(...vsix.problems, ...plugins.problems);
      const vscode = await mapConcurrently(vsix.files, VSIX_CONCURRENCY, (file) =>
        inspect(`vscode/${file.name}`, file, readVsix),
      );
      const intellij = await mapConcurrently(plugins.files, 1, (file) =>
        inspect(`intellij/${file.name}`, file, readPlugin),
      );
      const eclipse = await scanRepository(root, inspect, problems);
      const offer = {
        vscode: withoutDuplicates("vscode", vscode, problems, vscodeKey),
        intellij: withoutDuplicates("intellij", intellij, problems, intellijKey),
        eclipse,
        problems,
      };
      [cached, firstSeen] = [next, nextSeen];
      return { offer, pending };
    },
  };

  async function scanRepository(
    root: string,
    inspect: Inspect,
    problems: Problem[],
  ): Promise<EclipseOffer | undefined> {
    const folder = join(root, "eclipse");
    try {
      if ((await ifPresent(insideOf(root, folder))) === undefined) return undefined;
    } catch (error) {
      problems.push({ file: "eclipse/", reason: reasonOf(error) });
      return undefined;
    }
    const listing = await listRepository(folder);
    if (listing === undefined) return undefined;
    if (repository?.signature !== listing.signature) {
      repository = {
        signature: listing.signature,
        problems: await repositoryProblems(folder, listing),
      };
    }
    problems.push(...repository.problems);
    if (!listing.isRepository) return undefined;
    const features: EclipseFeature[] = [];
    for (const name of listing.features) {
      const file = await describeFile(join(folder, name), name);
      const feature = file && (await inspect(`eclipse/${name}`, file, readFeature));
      if (feature) features.push(feature);
    }
    return { folder: await realpath(folder), features, bundles: listing.bundles };
  }
}

type Inspect = <F extends Facts>(
  key: string,
  file: FoundFile,
  read: (path: string) => Promise<F>,
) => Promise<Artifact<F> | undefined>;

// --- one file ---

/** Undefined when the file changed while it was read. */
async function readFacts(
  file: FoundFile,
  stamp: string,
  read: (path: string) => Promise<Facts>,
): Promise<CachedFile | undefined> {
  let result: CachedFile;
  try {
    result = { stamp, facts: await read(file.path) };
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    result = { stamp, reason: archiveReason(error) };
  }
  const after = await describeFile(file.path, file.name);
  return after !== undefined && stampOf(after) === stamp ? result : undefined;
}

function archiveReason(error: unknown): string {
  return error instanceof ArchiveError ? error.message : reasonOf(error);
}

async function describeFile(path: string, name: string): Promise<FoundFile | undefined> {
  const info = await ifPresent(stat(path));
  if (info === undefined) return undefined;
  const { size, mtimeMs, ctimeMs } = info;
  return { name, path, bytes: size, mtimeMs, ctimeMs };
}

function stampOf({ bytes, mtimeMs, ctimeMs }: FoundFile): string {
  return `${bytes} ${mtimeMs} ${ctimeMs}`;
}

function artifactFile({ name, path, bytes, mtimeMs }: FoundFile) {
  return { name, path, bytes, mtimeMs };
}

// --- all files ---

/** Results in the order of `items`, without the undefined ones. */
async function mapConcurrently<T, R>(
  items: readonly T[],
  concurrency: number,
  work: (item: T) => Promise<R | undefined>,
): Promise<R[]> {
  const results: (R | undefined)[] = [];
  await concurrently([...items.entries()], concurrency, async ([index, item]) => {
    results[index] = await work(item);
  });
  return results.filter((result) => result !== undefined);
}

/** Of two files with the same id and version, the first by name is offered. */
function withoutDuplicates<A extends VscodeArtifact | IntellijArtifact>(
  folder: string,
  artifacts: readonly A[],
  problems: Problem[],
  keyOf: (artifact: A) => string,
): A[] {
  const files = new Map<string, string>();
  return artifacts.filter((artifact) => {
    const key = keyOf(artifact);
    const first = files.get(key);
    if (first === undefined) {
      files.set(key, artifact.file.name);
      return true;
    }
    const file = `${folder}/${artifact.file.name}`;
    problems.push({ file, reason: `same id and version as ${first} (${key})` });
    return false;
  });
}

function vscodeKey(extension: VscodeArtifact): string {
  const { version, targetPlatform } = extension;
  const platform = targetPlatform === "universal" ? "" : ` ${targetPlatform}`;
  return `${extensionId(extension).toLowerCase()} ${version}${platform}`;
}

function intellijKey({ id, version }: IntellijArtifact): string {
  return `${id} ${version}`;
}

async function repositoryProblems(folder: string, listing: P2Listing): Promise<Problem[]> {
  if (listing.isEmpty) return [];
  if (!listing.isRepository) {
    const reason =
      "not a p2 repository: it has no content.jar, content.xml, compositeContent.jar or compositeContent.xml";
    return [{ file: "eclipse/", reason }];
  }
  const problems: Problem[] = [];
  const check = async (file: string, find: () => Promise<string | undefined>): Promise<void> => {
    const reason = await find().catch(archiveReason);
    if (reason !== undefined) problems.push({ file: `eclipse/${file}`, reason });
  };
  for (const path of listing.indexes) await check(path, () => indexProblem(folder, path));
  await check("artifacts", async () => {
    const mirrors = await readMirrors(folder);
    if (mirrors === undefined || mirrors === "") return undefined;
    return `its index sends clients to mirrors at ${mirrors}, and clients that cannot reach them wait for a timeout: remove the property p2.mirrorsURL`;
  });
  return problems;
}

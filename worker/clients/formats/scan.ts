/**
 * One look at the clients folder: which builds can be offered now, which files cannot and why. What was read of a file is
 * remembered for as long as the file does not change, so that looking again is cheap.
 */
import { realpath, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../../../shared/base/clock.ts";
import { errorCode } from "../../../shared/base/errors.ts";
import { ArchiveError } from "./archive.ts";
import {
  type EclipseFeature,
  extensionId,
  type Facts,
  type IntellijArtifact,
  type VscodeArtifact,
} from "./artifact.ts";
import { type FoundFile, insideOf, listFolder, type Problem, reasonOf } from "./folder.ts";
import { indexProblem, lookAtRepository, type P2Look, readFeature, readMirrors } from "./p2.ts";
import { readPlugin } from "./plugin.ts";
import { readVsix } from "./vsix.ts";

/** What is offered. Lists are in the order of file names. */
export interface Offer {
  readonly vscode: readonly VscodeArtifact[];
  readonly intellij: readonly IntellijArtifact[];
  /** Undefined when there is no repository. */
  readonly eclipse: EclipseOffer | undefined;
  readonly problems: readonly Problem[];
}

export interface EclipseOffer {
  /** Real path of the repository. */
  readonly folder: string;
  readonly features: readonly EclipseFeature[];
  /** Names of the bundles' jars. */
  readonly bundles: readonly string[];
}

export const NOTHING: Offer = { vscode: [], intellij: [], eclipse: undefined, problems: [] };

export interface Scanner {
  /** `pending`: files that change, or are too young to be judged; look again soon. */
  scan(): Promise<{ readonly offer: Offer; readonly pending: number }>;
  /** What is known of unchanged files, to be kept between two runs. */
  readonly known: ReadonlyMap<string, Known>;
}

/** What was read of one file. */
export type Known = { readonly stamp: string } & (
  | { readonly facts: Facts }
  | { readonly reason: string }
);

/** A file that is still written has changed within this time: a whole one waits so long before it is offered. */
const STEADY_MS = 250;
/** Broken files are not spoken of before: they may be half a copy. */
const PATIENCE_MS = 5000;
/** Files that are read at a time. Each holds a few hundred KiB at most; plugins of JetBrains may hold 128 MiB. */
const VSIX_AT_A_TIME = 4;

export function createScanner(needs: {
  readonly folder: string;
  readonly clock: Pick<Clock, "wallMs" | "nowMs">;
  readonly known?: ReadonlyMap<string, Known>;
}): Scanner {
  const { clock } = needs;
  let known = new Map(needs.known);
  /** When a file in this state was first seen. */
  let firstSeen = new Map<string, { readonly stamp: string; readonly atMs: number }>();
  let repository: { readonly signature: string; readonly problems: readonly Problem[] } | undefined;

  return {
    get known() {
      return known;
    },
    async scan() {
      const next = new Map<string, Known>();
      const nextSeen: typeof firstSeen = new Map();
      const problems: Problem[] = [];
      let pending = 0;

      /** Facts of a file that can be offered now; else notes why not, or that it must be looked at again. */
      async function judge<F extends Facts>(
        key: string,
        file: FoundFile,
        read: (path: string) => Promise<F>,
      ): Promise<F | undefined> {
        const stamp = stampOf(file);
        const seen = firstSeen.get(key);
        const since = seen?.stamp === stamp ? seen.atMs : clock.nowMs();
        nextSeen.set(key, { stamp, atMs: since });
        const ageMs = Math.max(clock.nowMs() - since, clock.wallMs() - file.ctimeMs);
        const before = known.get(key);
        const result = before?.stamp === stamp ? before : await readOnce(file, stamp, read);
        // Changed while it was read.
        if (result === undefined) {
          pending++;
          return undefined;
        }
        next.set(key, result);
        if (ageMs < ("reason" in result ? PATIENCE_MS : STEADY_MS)) {
          pending++;
          return undefined;
        }
        if ("facts" in result) return result.facts as F;
        problems.push({ file: key, reason: result.reason });
        return undefined;
      }

      const root = await realRoot(needs.folder);
      if (root === undefined) {
        [known, firstSeen, repository] = [next, nextSeen, undefined];
        return { offer: NOTHING, pending: 0 };
      }
      const vsix = await listFolder(root, "vscode", [".vsix"]);
      const plugins = await listFolder(root, "intellij", [".zip", ".jar"]);
      problems.push(...vsix.problems, ...plugins.problems);
      const vscode = await inTurns(vsix.files, VSIX_AT_A_TIME, async (file) => {
        const facts = await judge(`vscode/${file.name}`, file, readVsix);
        return facts && { ...facts, file: artifactFile(file) };
      });
      const intellij = await inTurns(plugins.files, 1, async (file) => {
        const facts = await judge(`intellij/${file.name}`, file, readPlugin);
        return facts && { ...facts, file: artifactFile(file) };
      });
      const eclipse = await scanRepository(root, judge, problems);
      const offer = {
        vscode: withoutTwins("vscode", vscode, problems, vscodeKey),
        intellij: withoutTwins("intellij", intellij, problems, intellijKey),
        eclipse,
        problems,
      };
      [known, firstSeen] = [next, nextSeen];
      return { offer, pending };
    },
  };

  async function scanRepository(
    root: string,
    judge: Judge,
    problems: Problem[],
  ): Promise<EclipseOffer | undefined> {
    const folder = join(root, "eclipse");
    try {
      await insideOf(root, folder);
    } catch (error) {
      if (errorCode(error) === "ENOENT") return undefined;
      problems.push({ file: "eclipse/", reason: reasonOf(error) });
      return undefined;
    }
    const look = await lookAtRepository(folder);
    if (look === undefined) return undefined;
    if (repository?.signature !== look.signature) {
      repository = { signature: look.signature, problems: await repositoryProblems(folder, look) };
    }
    problems.push(...repository.problems);
    if (!look.isRepository) return undefined;
    const features: EclipseFeature[] = [];
    for (const name of look.features) {
      const file = await describeFile(join(folder, name), name);
      const facts = file && (await judge(`eclipse/${name}`, file, readFeature));
      if (file && facts) features.push({ ...facts, file: artifactFile(file) });
    }
    return { folder: await realpath(folder), features, bundles: look.bundles };
  }
}

type Judge = <F extends Facts>(
  key: string,
  file: FoundFile,
  read: (path: string) => Promise<F>,
) => Promise<F | undefined>;

// --- one file ---

/** Undefined when the file changed while it was read. */
async function readOnce(
  file: FoundFile,
  stamp: string,
  read: (path: string) => Promise<Facts>,
): Promise<Known | undefined> {
  let result: Known;
  try {
    result = { stamp, facts: await read(file.path) };
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    result = { stamp, reason: error instanceof ArchiveError ? error.message : reasonOf(error) };
  }
  const after = await describeFile(file.path, file.name);
  return after !== undefined && stampOf(after) === stamp ? result : undefined;
}

async function describeFile(path: string, name: string): Promise<FoundFile | undefined> {
  try {
    const { size, mtimeMs, ctimeMs } = await stat(path);
    return { name, path, bytes: size, mtimeMs, ctimeMs };
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    throw error;
  }
}

function stampOf({ bytes, mtimeMs, ctimeMs }: FoundFile): string {
  return `${bytes} ${mtimeMs} ${ctimeMs}`;
}

function artifactFile({ name, path, bytes, mtimeMs }: FoundFile) {
  return { name, path, bytes, mtimeMs };
}

// --- all of them ---

async function realRoot(folder: string): Promise<string | undefined> {
  try {
    return await realpath(folder);
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** Results in the order of `items`, `atATime` of them under way. */
async function inTurns<T, R>(
  items: readonly T[],
  atATime: number,
  work: (item: T) => Promise<R | undefined>,
): Promise<R[]> {
  const results: (R | undefined)[] = [];
  let next = 0;
  const runner = async (): Promise<void> => {
    for (let index = next++; index < items.length; index = next++) {
      const item = items[index];
      if (item !== undefined) results[index] = await work(item);
    }
  };
  await Promise.all(Array.from({ length: atATime }, runner));
  return results.filter((result) => result !== undefined);
}

/** Of two files with one id and version the first by name is offered. */
function withoutTwins<A extends VscodeArtifact | IntellijArtifact>(
  folder: string,
  artifacts: readonly A[],
  problems: Problem[],
  keyOf: (artifact: A) => string,
): A[] {
  const files = new Map<string, string>();
  return artifacts.filter((artifact) => {
    const key = keyOf(artifact);
    const twin = files.get(key);
    if (twin === undefined) {
      files.set(key, artifact.file.name);
      return true;
    }
    const file = `${folder}/${artifact.file.name}`;
    problems.push({ file, reason: `same id and version as ${twin} (${key})` });
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

async function repositoryProblems(folder: string, look: P2Look): Promise<Problem[]> {
  if (look.isEmpty) return [];
  if (!look.isRepository) {
    const reason =
      "not a p2 repository: it has no content.jar, content.xml, compositeContent.jar or compositeContent.xml";
    return [{ file: "eclipse/", reason }];
  }
  const problems: Problem[] = [];
  const note = async (file: string, look: () => Promise<string | undefined>): Promise<void> => {
    const reason = await look().catch((error: unknown) =>
      error instanceof ArchiveError ? error.message : reasonOf(error),
    );
    if (reason !== undefined) problems.push({ file: `eclipse/${file}`, reason });
  };
  for (const path of look.indexes) await note(path, () => indexProblem(folder, path));
  await note("artifacts", async () => {
    const mirrors = await readMirrors(folder);
    if (mirrors === undefined || mirrors === "") return undefined;
    return `its index sends clients to mirrors at ${mirrors}, and clients that cannot reach them wait for a timeout: remove the property p2.mirrorsURL`;
  });
  return problems;
}

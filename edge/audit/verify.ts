/**
 * Verifies files of the audit log: every chain in itself (chain-check.ts), and against what others say of how far it went:
 * checkpoints in the store, and the first lines of later chains. Without those, a tail that was cut off cannot be noticed.
 */
import { basename, dirname, resolve } from "node:path";
import type { Checkpoint } from "../../shared/audit/checkpoint.ts";
import { findFiles, parseFileName, readLines } from "../../shared/audit/files.ts";
import { type AuditKeys, type Line, parseLine, positionOf } from "../../shared/audit/line.ts";
import { errorCode } from "../../shared/base/errors.ts";
import { countEach, getOrAdd } from "../../shared/base/grouping.ts";
import {
  type CheckedChain,
  checkChain,
  type Hole,
  missingText,
  type Place,
  type Problem,
} from "./chain-check.ts";
import { isCommandWorker } from "./erasure-record.ts";

/** What `--json` prints. Fields are added, never changed. */
export type Verification = Awaited<ReturnType<typeof verifyFiles>>;
export type VerifiedChain = Verification["chains"][number];
export type MissingChain = Verification["missing"][number];

/** That a chain went at least so far. */
interface Claim {
  readonly chain: string;
  readonly worker: string | undefined;
  readonly seq: number;
  readonly atMs: number;
  /** Who says so. */
  readonly by: string;
}

export interface VerifyOptions {
  /** All files of a folder: that a whole chain is missing can be noticed then. */
  readonly isFolder: boolean;
  /** All workers write to this folder. */
  readonly hasAllWorkers: boolean;
  /** The worker of chains that commands of this machine write to this folder (erasure-record.ts). */
  readonly commandWorker?: string | undefined;
  readonly keys: AuditKeys;
  readonly checkpoints: readonly Checkpoint[];
  /** CT_AUDIT_DAYS; 0: files are kept. */
  readonly days: number;
  readonly wallMs: number;
}

const DAY_MS = 86_400_000;

/** Rejects when a file cannot be read. */
export async function verifyFiles(paths: readonly string[], options: VerifyOptions) {
  const { chains: filesByChain, strange } = await groupFiles(paths);
  const claims: Claim[] = options.checkpoints.map((checkpoint) => ({
    ...checkpoint,
    by: "its checkpoint in the store",
  }));
  /** Files that retention has removed: the last line of each. */
  const removed = new Map<string, number>();
  const places = createPlaces(options.checkpoints);
  const checked: CheckedChain[] = [];
  for (const [chain, files] of filesByChain) {
    const result = await checkChain(chain, files, options.keys, (line, place) => {
      places.note(line, place);
      noteRemoved(line, removed);
      if (line.previous === undefined || line.previous.chain === chain) return;
      const by = `the start of the next chain (${basename(place.file)} line ${place.line})`;
      claims.push({ ...positionOf(line.previous), worker: line.worker, by });
    });
    checked.push(result);
  }
  const { judgeChain, findMissing } = createJudge(options, claims, removed, places);
  const chains = checked.map(judgeChain);
  const missing = options.isFolder ? findMissing(checked) : [];
  const isFine =
    strange.length === 0 &&
    chains.every(({ problem }) => problem === undefined) &&
    missing.every(({ isElsewhere }) => isElsewhere);
  // `strange`: files without a line of an audit log.
  return { chains, missing, strange, isFine };
}

/** Of the files' chains, those in the same folder: a chain is verified as a whole. */
export async function withRestOfChains(paths: readonly string[]): Promise<readonly string[]> {
  const all = new Set(paths.map((path) => resolve(path)));
  for (const path of [...all]) {
    const name = parseFileName(path.slice(dirname(path).length + 1));
    if (name === undefined) continue;
    for (const other of await findFiles(dirname(path))) {
      if (other.worker === name.worker && other.stamp === name.stamp) all.add(other.path);
    }
  }
  return [...all];
}

// --- files ---

/** By what is in them: files may have been renamed. */
async function groupFiles(paths: readonly string[]): Promise<{
  readonly chains: ReadonlyMap<string, readonly string[]>;
  readonly strange: readonly string[];
}> {
  const begun: { path: string; chain: string; seq: number }[] = [];
  const strange: string[] = [];
  for (const path of paths) {
    const found = await beginningOf(path);
    if (found === "none") strange.push(path);
    else if (found !== "empty") begun.push({ path, ...found });
  }
  begun.sort((a, b) => a.seq - b.seq);
  const chains = new Map<string, string[]>();
  for (const { path, chain } of begun) getOrAdd(chains, chain, () => []).push(path);
  return { chains, strange };
}

const START = '{"seq":';
/** With what the first one says of the line before it, two can be outvoted. */
const VOTING_LINES = 3;

/** By most of the first lines that can be read: some may have been changed. */
async function beginningOf(
  path: string,
): Promise<{ readonly chain: string; readonly seq: number } | "none" | "empty"> {
  let isEmpty = true;
  const chains: string[] = [];
  const seqs: number[] = [];
  try {
    for await (const { text, number, isComplete } of readLines(path)) {
      const line = text === undefined ? undefined : parseLine(text);
      if (line !== undefined) {
        const { kind, previous } = line;
        chains.push(line.chain);
        seqs.push(line.seq - number + 1);
        if (kind === "audit.started") seqs.push(1);
        else if (previous !== undefined) {
          chains.push(previous.chain);
          seqs.push(previous.seq - number + 2);
        }
      }
      // The process was killed while it wrote the first line.
      if (isComplete || !START.startsWith(text?.slice(0, START.length) ?? "-")) isEmpty = false;
      if (chains.length > 0 && number >= VOTING_LINES) break;
    }
  } catch (error) {
    // Retention was faster.
    if (errorCode(error) !== "ENOENT") throw error;
  }
  const [chain, seq] = [mostOf(chains), mostOf(seqs)];
  if (chain !== undefined && seq !== undefined) return { chain, seq };
  return isEmpty ? "empty" : "none";
}

/** The first of those that are there most often. */
function mostOf<T>(values: readonly T[]): T | undefined {
  return [...countEach(values)].reduce<[T | undefined, number]>(
    (most, one) => (one[1] > most[1] ? one : most),
    [undefined, 0],
  )[0];
}

function noteRemoved({ kind, details }: Line, removed: Map<string, number>): void {
  if (kind !== "audit.removed") return;
  const { chain, seq } = details ?? {};
  if (typeof chain !== "string" || typeof seq !== "number") return;
  removed.set(chain, Math.max(removed.get(chain) ?? 0, seq));
}

/** Where the lines are that checkpoints are about. */
function createPlaces(checkpoints: readonly Checkpoint[]) {
  const wanted = new Map(checkpoints.map(({ chain, seq }) => [chain, seq]));
  const places = new Map<string, Place>();
  return {
    note({ chain, seq }: Line, place: Place): void {
      if (wanted.get(chain) === seq) places.set(chain, place);
    },
    find: (chain: string, seq: number): Place | undefined =>
      wanted.get(chain) === seq ? places.get(chain) : undefined,
  };
}

// --- what is missing ---

function createJudge(
  options: VerifyOptions,
  claims: readonly Claim[],
  removed: ReadonlyMap<string, number>,
  places: ReturnType<typeof createPlaces>,
) {
  function judgeChain(checked: CheckedChain) {
    const { chain, worker, files, lines, first, last, holes, isEnded, torn } = checked;
    const [expired, lost] = [true, false].map((isWanted) =>
      holes.filter((hole) => isExpired(chain, hole.to, hole.lastMs) === isWanted),
    ) as [Hole[], Hole[]];
    const claim = furthest(chain);
    const problems = [
      ...lost.map(({ from, to, place }) => ({
        ...place,
        kind: "missing" as const,
        text: `${missingText(from, to)} before this one`,
      })),
      ...checked.problems,
    ].sort(byPlace(files));
    const isForeign = problems[0]?.kind === "foreign" && lines === 0;
    const cut = isForeign ? undefined : cutTail(checked, claim);
    if (cut !== undefined) problems.push(cut);
    const [problem] = problems;
    return {
      chain,
      worker,
      files,
      lines,
      from: first && { seq: first.seq, atMs: first.atMs },
      to: last && { seq: last.seq, atMs: last.atMs },
      /** The first one. */
      problem,
      furtherProblems: Math.max(0, problems.length - 1),
      /** Up to here the log is certainly complete; undefined: nobody says how far it went. */
      certain: claim && {
        seq: claim.seq,
        by: claim.by,
        ...(claim.seq === last?.seq
          ? { file: last.file, line: last.line }
          : places.find(chain, claim.seq)),
      },
      /** Its process has written the last line itself. */
      isEnded,
      /** The last file ends in the middle of a line. */
      torn,
      /** Lines that are not there because they were older than CT_AUDIT_DAYS. */
      expired: expired.reduce((sum, { from, to }) => sum + to - from + 1, 0),
    };
  }

  /** Chains of which no file was found, although there should be one. */
  function findMissing(checked: readonly CheckedChain[]) {
    const found = new Set(checked.map(({ chain }) => chain));
    const workers = new Set(checked.map(({ worker }) => worker));
    const missing = new Map<string, Omit<Claim, "atMs"> & { readonly isElsewhere: boolean }>();
    for (const { chain, seq, atMs, worker, by } of claims) {
      if (found.has(chain) || isExpired(chain, seq, atMs)) continue;
      // Another machine may have it.
      const isElsewhere = worker !== undefined && !workers.has(worker) && !isExpected(worker);
      if ((missing.get(chain)?.seq ?? 0) < seq) {
        missing.set(chain, { chain, worker, seq, by, isElsewhere });
      }
    }
    return [...missing.values()];
  }

  /** Whether its chains should be here although none is. */
  function isExpected(worker: string): boolean {
    const { hasAllWorkers, commandWorker } = options;
    return worker === commandWorker || (hasAllWorkers && !isCommandWorker(worker));
  }

  function furthest(chain: string): Claim | undefined {
    return claims
      .filter((claim) => claim.chain === chain)
      .reduce<Claim | undefined>(
        (far, claim) => (far === undefined || claim.seq > far.seq ? claim : far),
        undefined,
      );
  }

  function cutTail(
    { files, end, torn, chain }: CheckedChain,
    claim: Claim | undefined,
  ): Problem | undefined {
    const seq = end?.seq ?? 0;
    if (claim === undefined || claim.seq <= seq) return undefined;
    if (isExpired(chain, claim.seq, claim.atMs)) return undefined;
    const file = end?.file ?? files.at(-1) ?? "";
    const at = torn === undefined ? "" : ", in the middle of the next line";
    return {
      file,
      line: end?.line ?? 0,
      kind: "cut",
      text: `the end is cut off: the file ends after seq ${seq}${at}, but ${claim.by} says that the chain went to seq ${claim.seq} at least`,
    };
  }

  /** Whether lines up to this one, written then, may be missing for their age. */
  function isExpired(chain: string, seq: number, lastMs: number): boolean {
    if ((removed.get(chain) ?? 0) >= seq) return true;
    const { days, wallMs } = options;
    return days > 0 && wallMs - lastMs > days * DAY_MS;
  }

  return { judgeChain, findMissing };
}

function byPlace(files: readonly string[]): (one: Place, other: Place) => number {
  return (one, other) =>
    files.indexOf(one.file) - files.indexOf(other.file) || one.line - other.line;
}

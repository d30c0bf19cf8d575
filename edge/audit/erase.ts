/**
 * Erases the data of people from files of the audit log; the chains can still be verified. A file is replaced as a whole: when this is
 * interrupted it is as before. A worker that is writing to a file is asked to continue in another one first.
 */
import { existsSync } from "node:fs";
import { open, readdir, rename, rm, stat, unlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import {
  copyPath,
  type FoundFile,
  findFiles,
  isCopy,
  readLastLine,
  readLines,
  releasePath,
} from "../../shared/audit/files.ts";
import {
  type AuditKey,
  eraseParties,
  type Line,
  PARTIES,
  parseLine,
} from "../../shared/audit/line.ts";
import { type Clock, sleep } from "../../shared/base/clock.ts";
import { errorCode } from "../../shared/base/errors.ts";

type Person = Readonly<
  Partial<Record<"id" | "name" | "email" | "address" | "client", string | undefined>>
>;

export type FoundPerson = Awaited<ReturnType<typeof findPeople>>[number];

export interface ErasedFile {
  readonly file: string;
  readonly lines: number;
}

/**
 * Everyone whose id, email address or name is `user`, by id; it is undefined for those who are signed in nowhere, as in a refused
 * sign-in. Rejects when a file cannot be read.
 */
export async function findPeople(folder: string, user: string) {
  const people = new Map<string | undefined, Pick<Person, "id" | "name" | "email">>();
  for (const { path } of await findFiles(folder)) {
    for await (const { text } of readLines(path)) {
      const line = mayHave(text, user) ? parseLine(text) : undefined;
      for (const { id, name, email } of peopleOf(line)) {
        if (isCalled({ id, name, email }, user)) people.set(id, { id, name, email });
      }
    }
  }
  return [...people.values()];
}

/** Who has one of these ids, or is called `user` and has no id. */
export function isOneOf(ids: ReadonlySet<string>, user: string): (person: Person) => boolean {
  return (person) => (person.id === undefined ? isCalled(person, user) : ids.has(person.id));
}

function isCalled({ id, name, email }: Person, user: string): boolean {
  return id === user || name === user || email?.toLowerCase() === user.toLowerCase();
}

/** Parsing is slow: most lines are about others. What JSON writes in another way is parsed in any case. */
function mayHave(text: string | undefined, user: string): text is string {
  if (text === undefined) return false;
  return text.includes("\\") || text.toLowerCase().includes(user.toLowerCase());
}

function peopleOf(line: Line | undefined): readonly Person[] {
  if (line === undefined) return [];
  return PARTIES.flatMap((name) => {
    const party = line[name];
    return party !== undefined && "salt" in party ? [party.person] : [];
  });
}

/** A worker looks for the wish once a second. */
const RELEASE_MS = 5000;
const POLL_MS = 50;
/** A file that nobody released is not in use when nobody has written to it for that long: a process that hangs was ended. */
const UNUSED_MS = 60_000;

/** Files in use, of workers that do not answer. */
export class FileInUseError extends Error {}

/** Workers go on meanwhile, so there are new files. What they write of the person from then on is not erased. */
const ROUNDS = 3;

/** Calls `onFile` for each file that had data. `isDryRun`: nothing is changed. Rejects with `FileInUseError`. */
export async function erase(deps: EraseDeps): Promise<void> {
  const { folder, isDryRun } = deps;
  if (!isDryRun) await removeCopies(folder);
  const done = new Set<string>();
  for (let round = 0; round < (isDryRun ? 1 : ROUNDS); round++) {
    for (const file of await findFiles(folder)) {
      if (done.has(file.path)) continue;
      done.add(file.path);
      await eraseFrom(file, deps);
    }
  }
}

interface EraseDeps {
  readonly folder: string;
  readonly isWanted: (person: Person) => boolean;
  readonly key: AuditKey;
  readonly clock: Clock;
  readonly isDryRun: boolean;
  readonly onFile: (erased: ErasedFile) => void;
}

async function eraseFrom(
  file: FoundFile,
  { folder, isWanted, key, clock, isDryRun, onFile }: EraseDeps,
): Promise<void> {
  const { path } = file;
  const found = await countLines(path, isWanted);
  if (found === 0) return;
  if (!isDryRun) await waitForRelease(file, folder, clock);
  // Again: a worker has written until it released the file.
  const lines = isDryRun ? found : await rewrite(path, (line) => eraseParties(line, isWanted, key));
  onFile({ file: path, lines });
}

async function countLines(path: string, isWanted: (person: Person) => boolean): Promise<number> {
  let lines = 0;
  for await (const { text } of readLines(path)) {
    if (text !== undefined && peopleOf(parseLine(text)).some(isWanted)) lines++;
  }
  return lines;
}

// --- files in use ---

/** Only the last file of a worker can be in use: it finishes one before it begins the next. */
async function isInUse({ worker, path }: FoundFile, folder: string): Promise<boolean> {
  const files = (await findFiles(folder)).filter((file) => file.worker === worker);
  return files.at(-1)?.path === path && (await readLastLine(path))?.kind !== "audit.ended";
}

async function waitForRelease(file: FoundFile, folder: string, clock: Clock): Promise<void> {
  if (!(await isInUse(file, folder))) return;
  const { path } = file;
  const wish = releasePath(path);
  await writeFile(wish, "");
  try {
    for (const endMs = clock.nowMs() + RELEASE_MS; clock.nowMs() < endMs; ) {
      if (!existsSync(wish) || !(await isInUse(file, folder))) return;
      await sleep(clock, POLL_MS);
    }
  } finally {
    await rm(wish, { force: true });
  }
  if (clock.wallMs() - (await stat(path)).mtimeMs > UNUSED_MS) return;
  throw new FileInUseError(
    `${path} is in use by a worker that does not answer; try again in a minute`,
  );
}

// --- rewriting ---

/** Of an erasure that was interrupted: it has data of other people. */
async function removeCopies(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (isCopy(name)) await rm(join(folder, name), { force: true });
  }
}

const CHUNK_CHARS = 256 * 1024;

/** Replaces the lines for which `change` returns another one, and nothing else. Returns their number. */
async function rewrite(path: string, change: (line: Line) => string | undefined): Promise<number> {
  const { mode, uid, gid } = await stat(path);
  const copy = copyPath(path);
  const target = await open(copy, "wx", mode & 0o777);
  let changed = 0;
  async function* chunks(): AsyncGenerator<string> {
    let chunk = "";
    for await (const { text, isComplete } of readLines(path)) {
      if (text === undefined)
        throw new Error(`${path} has a line that is not text; verify it first`);
      const line = isComplete ? parseLine(text) : undefined;
      const other = line && change(line);
      if (other !== undefined) changed++;
      chunk += `${other ?? text}${isComplete ? "\n" : ""}`;
      if (chunk.length <= CHUNK_CHARS) continue;
      yield chunk;
      chunk = "";
    }
    yield chunk;
  }
  try {
    // Under another user, the worker of the folder could no longer read its file.
    await target.chown(uid, gid).catch(ignoreForbidden);
    await writeFile(target, chunks());
    await target.sync();
  } catch (error) {
    await target.close();
    await unlink(copy);
    throw error;
  }
  await target.close();
  await rename(copy, path);
  await syncFolder(dirname(path));
  return changed;
}

export function ignoreForbidden(error: unknown): void {
  if (errorCode(error) !== "EPERM") throw error;
}

/** The rename must survive a power failure: the data is gone for good then. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

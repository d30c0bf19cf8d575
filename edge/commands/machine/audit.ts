/** `ct-edge audit verify` and `ct-edge audit erase`: the audit log on this machine. */
import { statSync } from "node:fs";
import { join } from "node:path";
import { Command, Option } from "commander";
import {
  appendCheckpoints,
  type Checkpoint,
  readCheckpoints,
  writeCheckpoint,
} from "../../../shared/audit/checkpoint.ts";
import { auditFolder, findFiles } from "../../../shared/audit/files.ts";
import { type AuditKeys, auditKeys } from "../../../shared/audit/line.ts";
import { systemClock } from "../../../shared/base/clock.ts";
import { describeError, EdgeError, errorCode } from "../../../shared/base/errors.ts";
import { keepingAlive } from "../../../shared/base/keep-alive.ts";
import { escapeForTerminal } from "../../../shared/logs/escape.ts";
import { SettingError, type Settings } from "../../../shared/settings/read-settings.ts";
import { deriveKeys } from "../../../shared/settings/secret.ts";
import { readTextFile } from "../../../shared/settings/text-file.ts";
import {
  type ErasedFile,
  erase,
  FileInUseError,
  type FoundPerson,
  findPeople,
  isOneOf,
} from "../../audit/erase.ts";
import {
  commandWorker,
  type Erasure,
  type ErasureRecord,
  NotRecordedError,
  openErasureRecord,
} from "../../audit/erasure-record.ts";
import { formatVerification } from "../../audit/report.ts";
import { verifyFiles, withRestOfChains } from "../../audit/verify.ts";
import { CommandError } from "../../output/errors.ts";
import {
  commandSettings,
  createCommand,
  jsonOption,
  type Output,
  storeOptions,
} from "../command.ts";
import { commandSender } from "../command-sender.ts";
import { withStore } from "../with-store.ts";

export function auditCommand(): Command {
  return new Command("audit")
    .description("Verifies the audit log (CT_AUDIT), or erases a person's data from it.")
    .addCommand(verifyCommand())
    .addCommand(eraseCommand());
}

const SECRETS = "--secrets <file>";

// --- verify ---

interface VerifyFlags {
  readonly offline?: true;
  readonly allWorkers?: true;
  readonly secrets?: string;
}

/** It could not be verified. */
const UNKNOWN_STATUS = 2;

function verifyCommand(): Command {
  return createCommand<VerifyFlags>({
    name: "verify",
    description:
      "Verifies that no line of the audit log was changed, moved, added or removed. Exit status 0: fine; 1: not fine; 2: it could not be verified.",
    args: { "[paths...]": "A folder, or files whose chains are verified (default: CT_AUDIT_DIR)." },
    options: [
      new Option("--offline", "Do not compare with the checkpoints in the store."),
      new Option(
        "--all-workers",
        "The folder has the files of all workers: a chain of any worker may not be missing. Always so on one machine.",
      ),
      new Option(
        SECRETS,
        "File with former values of CT_SECRET, one a line, for lines that were signed with them.",
      ),
      jsonOption(),
      ...storeOptions("auditDir", "auditDays"),
    ],
    async run(flags, ...paths) {
      try {
        return await keepingAlive(() =>
          verify(
            flags,
            paths.filter((path) => path !== undefined),
          ),
        );
      } catch (error) {
        if (!(error instanceof EdgeError) && errorCode(error) === undefined) throw error;
        return { out: "", notes: [describeError(error)], status: UNKNOWN_STATUS };
      }
    },
  });
}

async function verify(flags: VerifyFlags, given: readonly string[]): Promise<Output> {
  const settings = commandSettings(flags);
  const keys = readKeys(settings, flags.secrets);
  const { paths, folder } = await findPaths(given, settings);
  // First: what is written meanwhile is behind the checkpoints.
  const checkpoints = flags.offline ? [] : await findCheckpoints(settings, keys);
  const verification = await verifyFiles(paths, {
    keys,
    checkpoints,
    isFolder: folder !== undefined,
    hasAllWorkers: flags.allWorkers === true || settings.redisUrl === undefined,
    commandWorker: folder && commandWorker(folder),
    days: settings.auditDays,
    wallMs: systemClock.wallMs(),
  });
  const isOffline = flags.offline === true;
  return {
    json: { ...verification, isOffline },
    out: formatVerification(verification, isOffline),
    status: verification.isFine ? 0 : 1,
  };
}

async function findPaths(
  given: readonly string[],
  settings: Settings,
): Promise<{ readonly paths: readonly string[]; readonly folder: string | undefined }> {
  const [first = auditFolder(settings), ...others] = given;
  if (others.length > 0 || !statSync(first).isDirectory()) {
    return { paths: await withRestOfChains([first, ...others]), folder: undefined };
  }
  const paths = (await findFiles(first)).map(({ path }) => path);
  if (paths.length > 0) return { paths, folder: first };
  throw new CommandError(
    `${escapeForTerminal(first)} has no files of an audit log; name the folder, or set CT_AUDIT_DIR or CT_DATA_DIR`,
  );
}

async function findCheckpoints(
  settings: Settings,
  keys: AuditKeys,
): Promise<readonly Checkpoint[]> {
  try {
    return await withStore(settings, ({ store }) => readCheckpoints(store, keys));
  } catch (error) {
    if (!(error instanceof EdgeError)) throw error;
    throw new CommandError(
      `${error.message}; or use --offline, which does not notice that the newest lines were cut off`,
    );
  }
}

// --- erase ---

interface EraseFlags {
  readonly dryRun?: true;
  readonly all?: true;
}

function eraseCommand(): Command {
  return createCommand<EraseFlags>({
    name: "erase",
    description:
      "Erases the name, id, email address, network address and client of a person from all lines in the folder of the audit log. That something happened stays, and the log can still be verified. It is recorded in the log who did it, but not for whom.",
    args: { "<user>": "The person's user id, email address or name, as in the log." },
    options: [
      new Option("--dry-run", "Only show what would be erased."),
      new Option("--all", "All people who are called so, when there are several."),
      jsonOption(),
      ...storeOptions("auditDir"),
    ],
    run: (flags, user = "") => keepingAlive(() => eraseUser(flags, user)),
  });
}

const MAX_NAMED = 10;

async function eraseUser(flags: EraseFlags, user: string): Promise<Output> {
  if (user.trim() === "") throw new CommandError("give a user id, an email address or a name");
  const settings = commandSettings(flags);
  const folder = auditFolder(settings);
  const keys = readKeys(settings, undefined);
  const people = await findPeople(folder, user);
  const shown = escapeForTerminal(user);
  if (people.length === 0) throw new CommandError(`nobody called ${shown} is in ${folder}`);
  if (people.length > 1 && flags.all !== true) throw new CommandError(severalText(people, shown));
  const isDryRun = flags.dryRun === true;
  const record = isDryRun ? undefined : await openRecord(folder, keys);
  const erased: ErasedFile[] = [];
  let failure: unknown;
  try {
    await erase({
      ...{ folder, key: keys.signing, isDryRun, clock: systemClock },
      isWanted: isOneOf(new Set(people.flatMap(({ id }) => id ?? [])), user),
      onFile: (file) => erased.push(file),
    });
  } catch (error) {
    failure = error;
  }
  const erasure = { people: people.length, lines: linesOf(erased), files: erased.length };
  const isComplete = failure === undefined;
  const notes = record ? await finish(record, { ...erasure, isComplete }, settings, keys) : [];
  if (failure instanceof FileInUseError) {
    const done = `${erased.length} other files are done`;
    throw new CommandError([failure.message, done, ...notes].join("; "));
  }
  if (failure !== undefined) throw failure;
  const lines = linesOf(erased);
  const verb = isDryRun ? "would be erased from" : "erased from";
  const files = erased.map(({ file, lines: count }) => `  ${escapeForTerminal(file)}: ${count}\n`);
  const recorded = record === undefined ? "" : `recorded in ${record.file}\n`;
  return {
    json: { user, isDryRun, people, lines, files: erased, record: record?.file },
    out: `${shown}: ${verb} ${lines} lines in ${erased.length} files\n${files.join("")}${recorded}`,
    notes,
  };
}

function linesOf(erased: readonly ErasedFile[]): number {
  return erased.reduce((sum, { lines }) => sum + lines, 0);
}

async function openRecord(folder: string, keys: AuditKeys): Promise<ErasureRecord> {
  try {
    return await openErasureRecord({ folder, keys, by: commandSender(), clock: systemClock });
  } catch (error) {
    if (!(error instanceof NotRecordedError)) throw error;
    throw new CommandError(
      `nothing was erased, because it cannot be recorded in the audit log: ${error.message}`,
    );
  }
}

/** Returns what the operator should know. */
async function finish(
  record: ErasureRecord,
  erasure: Erasure,
  settings: Settings,
  keys: AuditKeys,
): Promise<readonly string[]> {
  try {
    const text = writeCheckpoint(await record.finish(erasure), keys.signing);
    await withStore(settings, ({ store }) => appendCheckpoints(store, [text]));
    return [];
  } catch (error) {
    if (error instanceof NotRecordedError) {
      return [`this was not recorded in the audit log: ${error.message}`];
    }
    if (!(error instanceof EdgeError)) throw error;
    return [
      `${record.file} has no checkpoint in the store, so nobody would notice that it was deleted: ${error.message}`,
    ];
  }
}

function severalText(people: readonly FoundPerson[], shown: string): string {
  const named = people
    .slice(0, MAX_NAMED)
    .map(({ id, email }) =>
      escapeForTerminal([id ?? "without an id", email].filter(Boolean).join(" ")),
    );
  const more = people.length > MAX_NAMED ? `, and ${people.length - MAX_NAMED} more` : "";
  return `${people.length} people are called ${shown}: ${named.join(", ")}${more}; give the id of one of them, or --all`;
}

// --- keys ---

/** Throws `SettingError`. */
function readKeys(settings: Settings, formerPath: string | undefined): AuditKeys {
  const secret = settings.secret ?? readOwnSecret(settings.dataDir);
  const former = formerPath === undefined ? [] : readFormer(formerPath);
  const secrets = [
    secret,
    ...(settings.secretPrevious ? [settings.secretPrevious] : []),
    ...former,
  ];
  const accepted = secrets.map((one) => deriveKeys(one).audit);
  const [signing] = accepted;
  if (signing === undefined) throw new SettingError("CT_SECRET is not set");
  return auditKeys({ signing, accepted });
}

/** Of an edge on this machine. Unlike a start, a command makes none. */
function readOwnSecret(dataDir: string): string {
  const path = join(dataDir, "secret");
  try {
    return readTextFile(path).trim();
  } catch (error) {
    throw new SettingError(
      `CT_SECRET is not set, and ${path} cannot be read (${describeError(error)}); set CT_SECRET or CT_SECRET_FILE to the secret of the edge, or CT_DATA_DIR to its folder`,
    );
  }
}

function readFormer(path: string): readonly string[] {
  try {
    const lines = readTextFile(path).split("\n");
    return lines.map((line) => line.trim()).filter((line) => line !== "");
  } catch (error) {
    throw new SettingError(`--secrets ${path}: cannot be read (${describeError(error)})`);
  }
}

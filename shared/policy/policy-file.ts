/**
 * The policy that is in force: read from the file of CT_POLICY, and again when that changes. A file with mistakes changes nothing:
 * the last good one stays, of which a copy is kept beside the process's data, for its next start.
 */
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, statSync } from "node:fs";
import { dirname } from "node:path";
import type { Clock } from "../base/clock.ts";
import { describeError } from "../base/errors.ts";
import { replaceFileSync } from "../base/replace-file.ts";
import type { Log } from "../logs/log.ts";
import { SettingError } from "../settings/read-settings.ts";
import { readTextFile } from "../settings/text-file.ts";
import { watchFile } from "../settings/watched-file.ts";
import { createDecider, type Decider } from "./decide.ts";
import { parsePolicyAside } from "./parse-aside.ts";
import { MAX_POLICY_BYTES, type ParsedPolicy, parsePolicy } from "./parse-policy.ts";
import type { Policy } from "./policy.ts";

/** A policy that was read. */
export interface ReadPolicy {
  readonly policy: Policy;
  readonly decider: Decider;
  /** The same for the same text: processes with another one have another policy. */
  readonly digest: string;
}

export interface PolicyState {
  /** Of the policy in force. */
  readonly digest: string;
  /** Why the file as it is now is not in force; undefined: it is. */
  readonly problem: string | undefined;
}

export type PolicyFile = ReturnType<typeof openPolicyFile>;

const DIGEST_CHARS = 12;

/** Reads a policy. Throws `PolicyError` with what is wrong, for the operator. */
export function readPolicyFile(path: string): FilePolicy {
  const text = readText(path);
  return toPolicy(parsePolicy(text), text);
}

/** The same while the process goes on with its work. */
async function readPolicyFileAside(path: string): Promise<FilePolicy> {
  const text = readText(path);
  const parsed = await parsePolicyAside(text).catch((error: unknown) => {
    throw new PolicyError([`it could not be parsed: ${describeError(error)}`]);
  });
  return toPolicy(parsed, text);
}

interface FilePolicy extends ReadPolicy {
  readonly text: string;
}

function readText(path: string): string {
  try {
    const found = statSync(path);
    // Reading a pipe would wait for its writer, and a far larger file would take the memory.
    if (!found.isFile()) throw new Error("it is not a file");
    if (found.size > MAX_POLICY_BYTES) throw new Error(`larger than ${MAX_POLICY_BYTES} bytes`);
    return readTextFile(path);
  } catch (error) {
    throw new PolicyError([describeError(error)]);
  }
}

function toPolicy(parsed: ParsedPolicy, text: string): FilePolicy {
  if (parsed.outcome === "invalid") throw new PolicyError(parsed.problems);
  const { policy, prefixes } = parsed;
  const digest = createHash("sha256").update(text).digest("hex").slice(0, DIGEST_CHARS);
  return { policy, decider: createDecider(policy, prefixes), digest, text };
}

export class PolicyError extends Error {
  readonly problems: readonly string[];
  constructor(problems: readonly string[]) {
    super(problems.join("; "));
    this.problems = problems;
  }
}

/** Throws `SettingError` if the file has mistakes and no good one was read before. */
export function openPolicyFile(deps: {
  readonly path: string;
  /** Of the copy of the last good one. */
  readonly keptPath: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Another one is in force. `when`: at a start, than before the process ended, as far as the copy tells. */
  readonly onChange: (changed: {
    readonly digest: string;
    readonly rules: number;
    readonly when: "start" | "edit";
  }) => void;
  /** The file has mistakes. */
  readonly onProblem: (problem: string) => void;
}) {
  const { path, keptPath, clock, log } = deps;
  const watch = watchFile(path, { clock, log, onChange: readAgain });
  let problem: string | undefined;
  let current = readFirst();
  let loadedMs = clock.wallMs();
  let isClosed = false;

  function readFirst(): ReadPolicy {
    try {
      const read = readPolicyFile(path);
      const isNew = keptText() !== read.text;
      keep(read.text);
      report(read);
      if (isNew) tellChange(read, "start");
      return read;
    } catch (error) {
      if (!(error instanceof PolicyError)) throw error;
      const kept = readKept();
      if (kept === undefined) {
        watch.close();
        throw new SettingError(
          `CT_POLICY=${JSON.stringify(path)} has mistakes: ${error.message}; correct them, or unset CT_POLICY to let everyone host and ask to join`,
        );
      }
      refuse(error);
      return kept;
    }
  }

  function keptText(): string | undefined {
    try {
      return readFileSync(keptPath, "utf8");
    } catch {
      return undefined;
    }
  }

  function tellChange({ digest, policy }: ReadPolicy, when: "start" | "edit"): void {
    deps.onChange({ digest, rules: policy.rules.length, when });
  }

  function readKept(): ReadPolicy | undefined {
    try {
      return readPolicyFile(keptPath);
    } catch (error) {
      if (error instanceof PolicyError) return undefined;
      throw error;
    }
  }

  function keep(text: string): void {
    try {
      mkdirSync(dirname(keptPath), { recursive: true });
      replaceFileSync(keptPath, text);
    } catch (error) {
      log.warn(
        { path: keptPath, reason: describeError(error) },
        "the policy could not be copied; if the file has mistakes at the next start, this process does not start",
      );
    }
  }

  function report({ policy, digest }: ReadPolicy): void {
    log.info({ policy: digest, rules: policy.rules.length }, "this policy is in force now");
    for (const warning of policy.warnings) log.warn({ policy: digest }, `policy: ${warning}`);
  }

  function refuse(error: PolicyError): void {
    problem = error.message;
    deps.onProblem(problem);
    log.error(
      { path, problems: error.problems },
      "the policy file has mistakes, so the last good policy stays in force",
    );
  }

  async function readAgain(): Promise<void> {
    try {
      const read = await readPolicyFileAside(path);
      if (isClosed) return;
      const isCured = problem !== undefined;
      problem = undefined;
      if (read.digest === current.digest) {
        if (isCured) report(read);
        return;
      }
      current = read;
      loadedMs = clock.wallMs();
      keep(read.text);
      report(read);
      tellChange(read, "edit");
    } catch (error) {
      if (!(error instanceof PolicyError)) throw error;
      if (!isClosed) refuse(error);
    }
  }

  return {
    /** The policy in force. */
    get current(): ReadPolicy {
      return current;
    },
    get state(): PolicyState {
      return { digest: current.digest, problem };
    },
    path,
    /** Since when the policy is in force here; wall time in ms. */
    get loadedMs(): number {
      return loadedMs;
    },
    close(): void {
      isClosed = true;
      watch.close();
    },
  };
}

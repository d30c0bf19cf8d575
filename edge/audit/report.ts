/** What `ct-edge audit verify` prints. Pure. */

import { basename } from "node:path";
import { counted } from "../../shared/base/counted.ts";
import { escapeForTerminal } from "../../shared/logs/escape.ts";
import type { MissingChain, Verification, VerifiedChain } from "./verify.ts";

export function formatVerification(verification: Verification, isOffline: boolean): string {
  const { chains, missing, strange, isFine } = verification;
  const lines = [
    ...chains.flatMap(describeChain),
    ...strange.map(
      (file) => `NOT AN AUDIT LOG ${shown(file)}: no line of it is one of an audit log`,
    ),
    ...missing.map(describeMissing),
  ];
  const total = chains.reduce((sum, chain) => sum + chain.lines, 0);
  const outcome = isFine
    ? `fine: ${total} lines in ${counted(chains.length, "chain")}, each as it was written`
    : "NOT FINE: see above";
  const offline = isOffline
    ? [
        "not compared with the store: a tail that was cut off, or a whole chain that was deleted, is only noticed by a later chain of the same worker",
      ]
    : [];
  return [...lines, ...offline, outcome].map((line) => `${line}\n`).join("");
}

function describeChain(chain: VerifiedChain): readonly string[] {
  const { worker, from, to, problem, furtherProblems, files, expired } = chain;
  const name = `${escapeForTerminal(worker || "unknown worker")}, chain ${escapeForTerminal(chain.chain)}`;
  const range =
    from === undefined || to === undefined
      ? "no line is certain"
      : `seq ${from.seq} to ${to.seq}, ${date(from.atMs)} to ${date(to.atMs)}, ${counted(files.length, "file")}`;
  const removed =
    expired === 0
      ? []
      : [`  ${expired} lines before were older than CT_AUDIT_DAYS and are deleted`];
  if (problem !== undefined) {
    const more =
      furtherProblems === 0 ? "" : `; ${counted(furtherProblems, "further problem")} behind it`;
    return [
      `${problem.kind.toUpperCase()} ${name}: ${range}`,
      `  ${shown(problem.file)} line ${problem.line}: ${escapeForTerminal(problem.text)}${more}`,
      ...removed,
    ];
  }
  return [`fine ${name}: ${range}`, ...describeEnd(chain), ...removed];
}

/** How certain the end is. */
function describeEnd({ to, isEnded, certain, torn }: VerifiedChain): readonly string[] {
  if (isEnded) return ["  complete: the process has ended it"];
  const half =
    torn &&
    `  ${shown(torn.file)} ends in the middle of line ${torn.line}, which counts for nothing`;
  const open = "whether more followed cannot be told: the process is running, or was killed";
  const lines =
    certain === undefined
      ? [`  ${open}; nothing confirms how far it went`]
      : [
          `  certain up to seq ${certain.seq}${certain.file === undefined ? "" : ` (${shown(certain.file)} line ${certain.line})`}, by ${certain.by}`,
          ...(certain.by.startsWith("the start") ? [] : [`  after seq ${to?.seq}: ${open}`]),
        ];
  return [...lines, ...(half === undefined ? [] : [half])];
}

function describeMissing({ chain, worker, seq, by, isElsewhere }: MissingChain): string {
  const name = `${escapeForTerminal(worker ?? "unknown worker")}, chain ${escapeForTerminal(chain)}`;
  return isElsewhere
    ? `not here ${name}: of a worker without files in this folder; it went to seq ${seq} (see --all-workers)`
    : `MISSING ${name}: no file of it is here, but by ${by} it went to seq ${seq}`;
}

function shown(file: string): string {
  return escapeForTerminal(basename(file));
}

function date(ms: number): string {
  return new Date(ms).toISOString().slice(0, 19).replace("T", " ");
}

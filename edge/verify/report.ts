/** The result of a verification, and how it is printed: a table, then what to do. Pure. */
import { groupBy } from "../../shared/base/grouping.ts";
import { escapeForTerminal } from "../../shared/logs/escape.ts";
import { table } from "../output/table.ts";
import { CHECKS, linkOf } from "./model/checks.ts";
import { type Finding, type FindingState, seconds } from "./model/finding.ts";

export interface Report {
  readonly url: string;
  readonly tookMs: number;
  /** In the order of `CHECKS`. */
  readonly findings: readonly Finding[];
  /** By the operator, before it was complete. */
  readonly wasInterrupted: boolean;
  /** What could not be undone: sessions and sign-ins end by themselves, a drained worker does not. */
  readonly leftBehind: number;
}

export type VerifyAnswer = ReturnType<typeof verifyAnswer>;

/**
 * 0: nothing is broken, 1: a promise is broken, 2: there is nothing to verify at the URL, or, with `isStrict`, something is
 * unknown. An interrupted run has found too little for 0.
 */
export function statusOf(
  { findings, wasInterrupted }: Pick<Report, "findings" | "wasInterrupted">,
  isStrict = false,
): 0 | 1 | 2 {
  if (findings.find(({ id }) => id === "edge")?.state !== "held") return 2;
  if (findings.some(({ state }) => state === "broken")) return 1;
  const isUnclear = findings.some(({ state }) => state === "unknown");
  return wasInterrupted || (isStrict && isUnclear) ? 2 : 0;
}

/** What `--json` prints. Fields are added, never changed. */
export function verifyAnswer({ url, tookMs, findings, ...rest }: Report) {
  return {
    url,
    tookMs: Math.round(tookMs),
    ...countStates(findings),
    interrupted: rest.wasInterrupted,
    leftBehind: rest.leftBehind,
    findings: findings.map((finding) => ({
      id: finding.id,
      promise: CHECKS[finding.id].promise,
      state: finding.state,
      cause: finding.cause,
      cure: finding.cure,
      ...(finding.warning !== undefined && { warning: finding.warning }),
      link: linkOf(finding.id),
    })),
  };
}

function countStates(findings: readonly Finding[]): Record<FindingState, number> {
  const counts = { held: 0, broken: 0, unknown: 0 };
  for (const { state } of findings) counts[state]++;
  return counts;
}

// --- text ---

const HEADING = "STATE | PROMISE | SEEN";
const MAX_CHARS = 400;

export function reportText(report: Report): string {
  const { findings } = report;
  const rows = findings.map(({ id, state, cause, warning }) => [
    warning === undefined ? state : `${state} !`,
    CHECKS[id].promise,
    cause,
  ]);
  const counts = countStates(findings);
  const summary = `${escapeForTerminal(report.url)}: ${counts.held} held, ${counts.broken} broken, ${counts.unknown} unknown, in ${seconds(report.tookMs)}`;
  return [table(HEADING, rows), ...blocksOf(findings), ...notesOn(report), `${summary}\n`].join(
    "\n",
  );
}

/** What to do: broken promises first. */
function blocksOf(findings: readonly Finding[]): string[] {
  const inState = (wanted: FindingState): Finding[] =>
    findings.filter(({ state }) => state === wanted);
  return [
    ...inState("broken").map((finding) => block(`BROKEN: ${CHECKS[finding.id].promise}`, finding)),
    ...groupUnknown(inState("unknown")),
    ...inState("held").flatMap(({ id, warning }) =>
      warning === undefined ? [] : block(`WARNING: ${CHECKS[id].promise}`, { id, cause: warning }),
    ),
  ];
}

/** Those with the same cause and cure together: many need the same means. */
function groupUnknown(findings: readonly Finding[]): string[] {
  const groups = groupBy(findings, ({ cause, cure }) => `${cause}\n${cure}`);
  return [...groups.values()].map((group) => {
    const [first] = group as [Finding];
    const promises = group.map(({ id }) => CHECKS[id].promise).join("; ");
    return block(`UNKNOWN: ${promises}`, first);
  });
}

function block(
  title: string,
  { id, cause, cure = "" }: Pick<Finding, "id" | "cause"> & Partial<Finding>,
): string {
  const shown = [
    title,
    `  ${escapeForTerminal(cause, MAX_CHARS)}`,
    ...(cure === "" ? [] : [`  cure: ${escapeForTerminal(cure, MAX_CHARS)}`]),
    `  see:  ${linkOf(id)}`,
  ];
  return shown.map((line) => `${line}\n`).join("");
}

function notesOn({ wasInterrupted, leftBehind }: Report): string[] {
  const notes: string[] = [];
  if (wasInterrupted) notes.push("! Interrupted: what was not seen is unknown.\n");
  if (leftBehind > 0) {
    notes.push(
      `! Not removed: ${leftBehind} sessions or sign-ins; sessions end 30 s after their host has gone, sign-ins after five minutes. A worker that was drained needs \`ct-edge resume\`.\n`,
    );
  }
  return notes;
}

/**
 * Where a request goes and why, as people read it. Pure; what strangers wrote is made harmless.
 */

import { STORE_NOT_SETTLED } from "../../shared/cluster/format.ts";
import type { ExplainedCandidate, Explanation } from "../../shared/control/explanation.ts";
import { escapeForTerminal } from "../../shared/logs/escape.ts";
import { formatAge, isoTime } from "../output/format.ts";
import { type Column, table } from "../output/table.ts";
import {
  type BalancerAnswer,
  type ExplainAnswer,
  type ExplainedSession,
  isRefused,
} from "./answer.ts";
import type { Way } from "./question.ts";
import type { WorkerSays } from "./worker-says.ts";

type Explained = Extract<BalancerAnswer, { outcome: "explained" }>;
type Candidate = ExplainedCandidate;

/** Lines of the history that are shown, the newest. */
const MAX_HISTORY = 20;

export function explainText(answer: ExplainAnswer): string {
  const parts = [
    head(answer),
    balancersTable(answer),
    ...viewsOf(answer.balancers),
    history(answer),
    notes(answer),
  ];
  return parts.filter((part) => part !== "").join("\n");
}

/**
 * What makes the answer a no, in one line that says what to do; undefined when somebody serves the request and there is
 * what it names.
 */
export function problemOf(answer: ExplainAnswer): string | undefined {
  const { balancers, session, taggedBy, history: owners } = answer;
  if (balancers.length === 0) {
    return "no balancer has a lease, so nobody routes; start one, and check that it reaches this store";
  }
  const explained = balancers.filter(isExplained);
  if (explained.length === 0) {
    const [first] = balancers.filter((balancer) => !isExplained(balancer));
    return `no balancer answered: ${first?.id}: ${escapeForTerminal(first?.message ?? "")}; look at its log, or restart it`;
  }
  if (session === null || session?.state === "closed") {
    const wasThere = session?.state === "closed" || owners.at(-1)?.kind === "closed";
    return wasThere
      ? "the session is closed for good; who was in it has to start a new one"
      : "no session has this key: whoever comes with it is routed by the ring and told that there is none; `ct-edge sessions --full` lists what there is";
  }
  if (taggedBy === null) {
    return "no living worker issued this id: its client is told so and shakes hands again; nothing is to be done";
  }
  if (explained.every(({ explanation }) => explanation.worker === undefined)) {
    return "no worker can take it now; `ct-edge list` shows what they do";
  }
  if (explained.every(({ servedBy }) => servedBy === null)) {
    return "nobody serves it now: it waits or is refused, as the answer says; ask again in a few seconds";
  }
  return undefined;
}

// --- what is asked ---

const WAY_TEXT: Readonly<Record<Way, string>> = {
  header: "a request with the header ctstickiness",
  cookie: "a request with the cookie ctstickiness",
  path: "a request to /k/KEY/",
  room: "a join of the session",
  claim: "a connection with the session's token",
  sid: "a request of an open engine.io connection",
  token: "a step of a sign-in",
  create: "a new session without a key",
  none: "a request without a key",
};

function head({ as, about, session, taggedBy, balancers }: ExplainAnswer): string {
  const rules = [...new Set(balancers.filter(isExplained).map((one) => one.explanation.rule))];
  const lines = [
    ["Request", about === null ? WAY_TEXT[as] : `${WAY_TEXT[as]}: ${escapeForTerminal(about, 80)}`],
    ["Rule", rules.length === 0 ? "" : ruleText(as, rules)],
    ["Session", session === undefined ? "" : sessionText(session)],
    ["Issued by", taggedBy === undefined ? "" : (taggedBy ?? "a worker that is gone")],
  ];
  return lines
    .filter(([, text]) => text !== "")
    .map(([title, text]) => `${title?.padEnd(10)}${text}\n`)
    .join("");
}

/** The rule that counted; another one than was asked for, when that one led to nobody. */
function ruleText(as: Way, rules: readonly string[]): string {
  const asked = as === "create" ? "none" : as;
  return rules.map((rule) => (rule === asked ? rule : `${rule} (${asked} led nowhere)`)).join(", ");
}

function sessionText(session: ExplainedSession | null): string {
  if (session === null) return "none that the store knows";
  const { id, alias, state, owner, ownerState, heir, epoch, ageMs, peers } = session;
  const shown = alias === undefined ? id : `${id} (alias ${alias})`;
  const to = heir === undefined ? "" : ` to ${heir}`;
  return escapeForTerminal(
    `${shown}, ${state}${to}, owner ${owner} (${ownerState}), epoch ${epoch}, ${peers} peers, ${formatAge(ageMs)} old`,
  );
}

// --- each balancer ---

const BALANCER_COLUMNS: readonly Column[] = [
  { title: "BALANCER" },
  { title: "SENDS TO" },
  { title: "SERVED BY" },
  { title: "WHY" },
];

function balancersTable({ as, balancers }: ExplainAnswer): string {
  if (balancers.length === 0) return "";
  return table(
    BALANCER_COLUMNS,
    balancers.map((balancer) => {
      if (!isExplained(balancer)) return [balancer.id, "?", "?", balancer.message];
      const { id, explanation, servedBy } = balancer;
      const isDrawn = explanation.reason === "load";
      const drawn = explanation.candidates.filter(({ chance }) => (chance ?? 0) > 0);
      const one = isDrawn && drawn.length > 1 ? `one of ${drawn.length}` : undefined;
      const why = [whyText(as, explanation), ...thenText(balancer)].join("; ");
      return [id, one ?? explanation.worker ?? "nobody", one ?? servedBy ?? "", why];
    }),
  );
}

function isExplained(balancer: BalancerAnswer): balancer is Explained {
  return balancer.outcome === "explained";
}

function whyText(as: Way, explanation: Explanation): string {
  const { reason, candidates: all } = explanation;
  const owner = all.find(({ as: role }) => role === "owner");
  switch (reason) {
    case "tag":
      return "it issued the id and lives";
    case "record":
      return `${sourceText(explanation)}${
        owner?.status === "unhealthy" ? "; it is unhealthy, but no other worker can take it" : ""
      }`;
    case "ring":
      return owner === undefined
        ? `first of the ring that can take it; ${absenceText(explanation)}`
        : `first of the ring that can take it, because the owner ${owner.worker} is ${againstOwner(owner)}`;
    case "load":
      return as === "create"
        ? "the less loaded of two of those below the cap"
        : "the less loaded of two";
    case "nobody":
      return owner === undefined
        ? "no worker can take it: 503 at once"
        : "no worker can take it: held up to 8 s, then 503";
  }
}

function sourceText({ remembered, found }: Explanation): string {
  return found === "found" || remembered === undefined
    ? "it owns the session, as the store says now"
    : `it is remembered as the owner, in epoch ${remembered.epoch}`;
}

function absenceText({ found }: Explanation): string {
  if (found === "late") return "the store did not say in 50 ms who owns it";
  if (found === "away") return "the store is away and cannot say who owns it";
  return "no session has the key";
}

function againstOwner({ status }: Candidate): string {
  return status === "unknown" ? "gone" : status;
}

/** What comes of it at the worker. */
function thenText({ explanation, workerSays: says }: Explained): string[] {
  if (isRefused(explanation)) return ["it has all the requests that it may have: 503"];
  const text = says && saysText(says, explanation.afterMisdirected);
  return text === undefined ? [] : [text];
}

function saysText(says: WorkerSays, afterMisdirected: string | undefined): string | undefined {
  switch (says.says) {
    case "serve":
      if (says.cause === "mine") return undefined;
      return `it takes the session ${says.cause === "restarted" ? "up" : "over"} (${says.cause})`;
    case "closed":
      return "it answers that the session is closed";
    case "elsewhere":
      return afterMisdirected === "replay"
        ? `it answers 421, ${says.holder} has it, and the request goes on there`
        : `it takes the session over once ${says.holder} refuses or its lease is gone, and waits until then (421: ${afterMisdirected ?? "not asked"})`;
  }
}

// --- how they see the workers ---

const VIEW_COLUMNS: readonly Column[] = [
  { title: "WORKER" },
  { title: "AS" },
  { title: "STATUS" },
  { title: "STATE" },
  { title: "HEALTH" },
  { title: "SESSIONS", align: "right" },
  { title: "CONNECTIONS", align: "right" },
  { title: "LAG", align: "right" },
  { title: "LAST FAILURE" },
];

/** One table for all balancers that decide alike, of what the first of them sees. */
function viewsOf(balancers: readonly BalancerAnswer[]): string[] {
  const groups = new Map<string, Explained[]>();
  for (const balancer of balancers.filter(isExplained)) {
    const { rule, reason, candidates: all } = balancer.explanation;
    const statuses = all.map(({ worker, as, status }) => [worker, as, status]);
    // Of a request without a key each draws another worker.
    const worker = reason === "load" ? undefined : balancer.explanation.worker;
    const opinion = JSON.stringify([rule, worker, statuses]);
    groups.set(opinion, [...(groups.get(opinion) ?? []), balancer]);
  }
  return [...groups.values()].map(viewText);
}

function viewText(group: readonly Explained[]): string {
  const [first] = group;
  if (first === undefined) return "";
  const { explanation } = first;
  let candidates = 0;
  const rows = explanation.candidates.map((candidate) => {
    if (candidate.as === "candidate") candidates++;
    return viewRow(candidate, candidates, explanation);
  });
  const more = explanation.more > 0 ? `and ${explanation.more} workers more\n` : "";
  const names = escapeForTerminal(group.map(({ id }) => id).join(", "), 500);
  return `Workers as ${names} sees them\n${table(VIEW_COLUMNS, rows)}${more}`;
}

function viewRow(candidate: Candidate, position: number, explanation: Explanation): string[] {
  const seen = explanation.workers.find(({ id }) => id === candidate.worker);
  const failure = seen?.lastFailure;
  return [
    candidate.worker ?? "",
    candidate.as === "candidate" ? `candidate ${position}` : roleText(candidate),
    statusText(candidate, explanation) + (seen?.isFull === true ? "; full" : ""),
    seen?.state ?? "",
    seen?.status ?? "",
    seen === undefined ? "" : String(seen.sessions),
    seen === undefined ? "" : String(seen.connections),
    seen === undefined ? "" : `${seen.lagMs.toFixed(1)} ms`,
    failure === undefined
      ? ""
      : `${failure.reason}, by ${failure.by}, ${formatAge(failure.agoMs)} ago`,
  ];
}

function roleText({ as }: Candidate): string {
  switch (as) {
    case "tag":
      return "issued the id";
    case "owner":
      return "owner";
    case "candidate":
    case "load":
      return "";
  }
}

function statusText(candidate: Candidate, { worker, reason }: Explanation): string {
  const isRole =
    (reason === "tag" && candidate.as === "tag") ||
    (reason === "record" && candidate.as === "owner") ||
    (reason === "ring" && candidate.as === "candidate");
  if (isRole && candidate.worker === worker) {
    return candidate.status === "available"
      ? "chosen"
      : `chosen though ${AGAINST[candidate.status]}`;
  }
  const chance = candidate.chance ?? 0;
  if (candidate.as === "load" && chance > 0) {
    const text = `chosen ${Math.round(chance * 100)} times of 100`;
    return candidate.status === "available" ? text : `${text} though ${AGAINST[candidate.status]}`;
  }
  if (candidate.status !== "available") return `no: ${AGAINST[candidate.status]}`;
  if (candidate.as === "load") return "no: busier than all others";
  return reason === "ring" ? "available, but not the first" : "available, but not needed";
}

const AGAINST: Readonly<Record<Candidate["status"], string>> = {
  available: "",
  unhealthy: "unhealthy",
  down: "down",
  unknown: "gone",
  suspended: "suspended",
  draining: "draining",
  capped: "over the cap (1.25 of the mean)",
  moved: "the session has moved on",
};

// --- history ---

const HISTORY_COLUMNS: readonly Column[] = [
  { title: "TIME" },
  { title: "EVENT" },
  { title: "WORKER" },
  { title: "EPOCH", align: "right" },
  { title: "CAUSE" },
];

function history({ history: all }: ExplainAnswer): string {
  if (all.length === 0) return "";
  const shown = all.slice(-MAX_HISTORY);
  const rows = shown.map(({ atMs, kind, worker, epoch, cause }) => [
    isoTime(atMs),
    kind,
    worker,
    String(epoch),
    cause,
  ]);
  const title = shown.length < all.length ? `, the newest ${shown.length} of ${all.length}` : "";
  return `Its owners${title}\n${table(HISTORY_COLUMNS, rows)}`;
}

// --- what an operator should know ---

function notes({ balancers, settled }: ExplainAnswer): string {
  const explained = balancers.filter(isExplained);
  const lines: string[] = [];
  const silent = balancers.filter((balancer) => !isExplained(balancer)).map(({ id }) => id);
  if (silent.length > 0) {
    lines.push(`${silent.join(", ")}: what it does with the request is not known.`);
  }
  const isDrawn = explained.some(({ explanation }) => explanation.reason === "load");
  const places = new Set(explained.map(({ servedBy }) => servedBy));
  if (!isDrawn && places.size > 1) {
    lines.push("The balancers do not agree now; ask again in a second: they learn from answers.");
  }
  for (const { id, explanation } of explained) {
    if (explanation.store === "away") lines.push(`${id}: the store is away for it.`);
    if (explanation.isRecalled) lines.push(`${id}: its workers are those of its last snapshot.`);
    if (explanation.isPanicking) {
      lines.push(`${id}: most workers fail its probes, so it believes their leases instead.`);
    }
  }
  if (new Set(explained.map(({ explanation }) => explanation.ring)).size > 1) {
    lines.push("The balancers have different rings; `ct-edge list` shows who differs.");
  }
  if (!settled) {
    lines.push(STORE_NOT_SETTLED);
  }
  return lines.map((line) => `! ${escapeForTerminal(line, 500)}\n`).join("");
}

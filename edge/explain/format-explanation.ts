/**
 * The text of `ct-edge explain`: where a request goes, and why. Pure; untrusted texts are escaped.
 */
import { formatAge } from "../../shared/base/age.ts";
import { groupBy } from "../../shared/base/grouping.ts";
import { STORE_NOT_SETTLED } from "../../shared/cluster/format.ts";
import type {
  ExplainedCandidate,
  ExplainedConnection,
  ExplainedMove,
  Explanation,
} from "../../shared/control/explanation.ts";
import { escapeForTerminal } from "../../shared/logs/escape.ts";
import { isoTime } from "../output/format.ts";
import { type Cell, table } from "../output/table.ts";
import {
  type BalancerAnswer,
  type ExplainAnswer,
  type ExplainedSession,
  isRefused,
} from "./answer.ts";
import type { IfDrained } from "./if-drained.ts";
import type { Way } from "./question.ts";
import type { WorkerSays } from "./worker-says.ts";

type Explained = Extract<BalancerAnswer, { outcome: "explained" }>;
type Candidate = ExplainedCandidate;

/** Newest lines of the history that are shown. */
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
 * Why the request is not served, and what to do, in one line; undefined when it is served and the session that it names
 * exists.
 */
export function problemOf(answer: ExplainAnswer): string | undefined {
  const { balancers, session, taggedBy, history: owners } = answer;
  if (balancers.length === 0) {
    return "no balancer has a lease, so requests are not routed; start one, and check that it reaches this store";
  }
  const explained = balancers.filter(isExplained);
  if (explained.length === 0) {
    const [first] = balancers.filter((balancer) => !isExplained(balancer));
    return `no balancer answered: ${first?.id}: ${escapeForTerminal(first?.message ?? "")}; see its log, or restart it`;
  }
  if (session === null || session?.state === "closed") {
    const wasThere = session?.state === "closed" || owners.at(-1)?.kind === "closed";
    return wasThere
      ? "the session is closed; its people have to start a new one"
      : "no session has this key: a request with it is routed by the ring and answered that there is no session; `ct-edge sessions --full` lists sessions";
  }
  if (taggedBy === null) {
    return "the worker that issued this id is gone: the client gets an error and connects again; nothing to do";
  }
  if (explained.every(({ explanation }) => explanation.worker === undefined)) {
    return "no worker can take it now; `ct-edge list` shows the workers and their states";
  }
  if (explained.every(({ servedBy }) => servedBy === null)) {
    return "it is not served now: it waits or is refused, as shown above; try again in a few seconds";
  }
  return undefined;
}

// --- the request ---

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

function head(answer: ExplainAnswer): string {
  const { as, about, session, taggedBy, balancers } = answer;
  const rules = [...new Set(balancers.filter(isExplained).map((one) => one.explanation.rule))];
  const lines = [
    ["Request", about === null ? WAY_TEXT[as] : `${WAY_TEXT[as]}: ${escapeForTerminal(about, 80)}`],
    ["Rule", rules.length === 0 ? "" : ruleText(as, rules)],
    ["Session", session === undefined ? "" : sessionText(session)],
    ["Issued by", taggedBy === undefined ? "" : (taggedBy ?? "a worker that is gone")],
    ["If drained", session?.ifDrained === undefined ? "" : drainText(session, session.ifDrained)],
    ["In a move", hasClients(answer) ? moveText(balancers.filter(isExplained)) : ""],
  ];
  return lines
    .filter(([, text]) => text !== "")
    .map(([title, text]) => `${title?.padEnd(11)}${text}\n`)
    .join("");
}

/** The rule that decided; not the requested one when that one led to no worker. */
function ruleText(as: Way, rules: readonly string[]): string {
  const asked = as === "create" ? "none" : as;
  return rules.map((rule) => (rule === asked ? rule : `${rule} (${asked} led nowhere)`)).join(", ");
}

function sessionText(session: ExplainedSession | null): string {
  if (session === null) return "not in the store";
  const { id, alias, state, owner, ownerState, successor, epoch, ageMs, peers } = session;
  const shown = alias === undefined ? id : `${id} (alias ${alias})`;
  const to = successor === undefined ? "" : ` to ${successor}`;
  return escapeForTerminal(
    `${shown}, ${state}${to}, owner ${owner} (${ownerState}), epoch ${epoch}, ${peers} peers, ${formatAge(ageMs)} old`,
  );
}

// --- what a move of the session means for its clients ---

/** Where a drain of its worker would move it, and why there. */
function drainText({ owner }: ExplainedSession, drained: IfDrained): string {
  if (drained.to === null) return "it stays: no other worker accepts sessions";
  const { to, version, by } = drained;
  const why = by === "ring" ? "the next candidate" : `version ${version}, unlike ${owner}`;
  return escapeForTerminal(`it goes to ${to}: ${why}`);
}

/** Of a session that may have clients, or an open connection. */
function hasClients({ as, session, taggedBy }: ExplainAnswer): boolean {
  if (as === "sid") return taggedBy !== null;
  return session !== undefined && session !== null && session.state !== "closed";
}

/** One sentence when the balancers agree. */
function moveText(balancers: readonly Explained[]): string {
  const texts = balancers.flatMap(({ id, explanation: { move } }) =>
    move === undefined ? [] : [{ id, text: onMove(move) }],
  );
  const [first] = texts;
  if (first === undefined) return "";
  if (texts.every(({ text }) => text === first.text)) return first.text;
  return texts.map(({ id, text }) => `through ${escapeForTerminal(id, 80)} ${text}`).join("; ");
}

function onMove(move: ExplainedMove): string {
  return move.webSockets === "stay open"
    ? "WebSockets stay open, clients that poll reconnect"
    : `all clients reconnect: ${WHY_RECONNECT[move.why]}`;
}

type WhyReconnect = Extract<ExplainedMove, { webSockets: "reconnect" }>["why"];

// --- each balancer ---

function balancersTable({ as, balancers }: ExplainAnswer): string {
  if (balancers.length === 0) return "";
  return table(
    "BALANCER | SENDS TO | SERVED BY | WHY",
    balancers.map((balancer) => {
      if (!isExplained(balancer)) return [balancer.id, "?", "?", balancer.message];
      const { id, explanation, servedBy } = balancer;
      const isDrawn = explanation.reason === "load";
      const drawn = explanation.candidates.filter(({ chance }) => (chance ?? 0) > 0);
      const one = isDrawn && drawn.length > 1 ? `one of ${drawn.length}` : undefined;
      const over = explanation.connection && [connectionText(explanation.connection)];
      const why = [whyText(as, explanation), ...(over ?? []), ...thenText(balancer)].join("; ");
      return [id, one ?? explanation.worker ?? "none", one ?? servedBy ?? "", why];
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
      return "it issued the id and is up";
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
    : `it is cached as the owner, in epoch ${remembered.epoch}`;
}

function absenceText({ found }: Explanation): string {
  if (found === "late") return "the store did not answer within 50 ms";
  if (found === "away") return "the store is away, so the owner is unknown";
  return "no session has the key";
}

function againstOwner({ status }: Candidate): string {
  return status === "unknown" ? "gone" : status;
}

function connectionText(connection: ExplainedConnection): string {
  return connection.over === "link"
    ? "over the link"
    : `over a connection of its own: ${WHY_OWN[connection.why]}`;
}

type WhyOwn = Extract<ExplainedConnection, { over: "own" }>["why"];

const WHY_OWN = {
  path: "requests of this path may have large bodies",
  body: "its body is over 64 KiB, or of unknown length",
  connecting: "there is no link now",
  unsupported: "the worker accepts no link (an earlier version, or CT_LINK=off there)",
  off: "CT_LINK=off",
} as const satisfies Record<WhyOwn, string>;

const WHY_RECONNECT: Readonly<Record<WhyReconnect, string>> = {
  ...WHY_OWN,
  version: "the worker is of another version",
};

/** What the worker does with it. */
function thenText({ explanation, workerSays: says }: Explained): string[] {
  if (isRefused(explanation)) return ["it has reached its request limit: 503"];
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
        ? `it answers 421, and the request is sent to ${says.holder}, which has it`
        : `it takes the session over once ${says.holder} refuses or loses its lease, and waits until then (421: ${afterMisdirected ?? "not asked"})`;
  }
}

// --- candidates ---

const VIEW_HEADING =
  "WORKER | AS | STATUS | STATE | HEALTH | >SESSIONS | >CONNECTIONS | >LAG | LAST FAILURE";

/** One table for all balancers that decide alike, with the view of the first. */
function viewsOf(balancers: readonly BalancerAnswer[]): string[] {
  const groups = groupBy(balancers.filter(isExplained), ({ explanation }) => {
    const { rule, reason, candidates: all } = explanation;
    const statuses = all.map(({ worker, as, status }) => [worker, as, status]);
    // For a request without a key each balancer draws its own worker.
    const worker = reason === "load" ? undefined : explanation.worker;
    return JSON.stringify([rule, worker, statuses]);
  });
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
  const more = explanation.more > 0 ? `and ${explanation.more} more workers\n` : "";
  const names = escapeForTerminal(group.map(({ id }) => id).join(", "), 500);
  return `Workers as ${names} sees them\n${table(VIEW_HEADING, rows)}${more}`;
}

function viewRow(candidate: Candidate, position: number, explanation: Explanation): Cell[] {
  const seen = explanation.workers.find(({ id }) => id === candidate.worker);
  const failure = seen?.lastFailure;
  return [
    candidate.worker,
    candidate.as === "candidate" ? `candidate ${position}` : ROLE_TEXT[candidate.as],
    statusText(candidate, explanation) + (seen?.isFull === true ? "; full" : ""),
    seen?.state,
    seen?.status,
    seen?.sessions,
    seen?.connections,
    seen && `${seen.lagMs.toFixed(1)} ms`,
    failure && `${failure.reason}, by ${failure.by}, ${formatAge(failure.agoMs)} ago`,
  ];
}

const ROLE_TEXT = { tag: "issued the id", owner: "owner", load: "" } as const;

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
  late: "its event loop is late",
  moved: "the session has moved on",
};

// --- history ---

function history({ history: all }: ExplainAnswer): string {
  if (all.length === 0) return "";
  const shown = all.slice(-MAX_HISTORY);
  const rows = shown.map((one) => [isoTime(one.atMs), one.kind, one.worker, one.epoch, one.cause]);
  const title = shown.length < all.length ? `, the newest ${shown.length} of ${all.length}` : "";
  return `Its owners${title}\n${table("TIME | EVENT | WORKER | >EPOCH | CAUSE", rows)}`;
}

// --- notes ---

function notes({ balancers, settled }: ExplainAnswer): string {
  const explained = balancers.filter(isExplained);
  const lines: string[] = [];
  const silent = balancers.filter((balancer) => !isExplained(balancer)).map(({ id }) => id);
  if (silent.length > 0) {
    lines.push(`${silent.join(", ")}: did not explain what it does with the request.`);
  }
  const isDrawn = explained.some(({ explanation }) => explanation.reason === "load");
  const places = new Set(explained.map(({ servedBy }) => servedBy));
  if (!isDrawn && places.size > 1) {
    lines.push("The balancers do not agree now; try again in a second: they learn from responses.");
  }
  for (const { id, explanation } of explained) {
    if (explanation.store === "away") lines.push(`${id}: it cannot reach the store.`);
    if (explanation.isRecalled) lines.push(`${id}: it uses the workers of its last snapshot.`);
    if (explanation.isPanicking) {
      lines.push(`${id}: most workers fail its probes, so it trusts their leases instead.`);
    }
  }
  if (new Set(explained.map(({ explanation }) => explanation.ring)).size > 1) {
    lines.push("The balancers have different rings; `ct-edge list` shows which differ.");
  }
  if (!settled) {
    lines.push(STORE_NOT_SETTLED);
  }
  return lines.map((line) => `! ${escapeForTerminal(line, 500)}\n`).join("");
}

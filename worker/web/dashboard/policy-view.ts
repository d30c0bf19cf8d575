/** The policy: whether the file is in force, and what it decides about a person, by which rule. */
import type { Decision } from "../../../shared/policy/policy.ts";
import type { PolicyCheckResponse, PolicyResponse } from "../../dashboard/responses.ts";
import { byId, element } from "./elements.ts";
import { getJson, getText } from "./feed.ts";
import { formatDuration, formatTime } from "./format.ts";

/** Further notes are in the JSON. */
const MAX_NOTES = 20;

export function createPolicyView(): { show: () => Promise<void> } {
  const state = byId("policy-state", HTMLParagraphElement);
  const notes = byId("policy-notes", HTMLUListElement);
  const form = byId("policy-form", HTMLFormElement);
  const outcome = byId("policy-outcome", HTMLDListElement);

  async function show(): Promise<void> {
    let response: PolicyResponse;
    try {
      response = await getJson<PolicyResponse>("policy");
    } catch {
      state.textContent = "The policy is unavailable right now.";
      return;
    }
    const { policy, worker } = response;
    form.hidden = policy === null;
    state.textContent =
      policy === null
        ? "There is no policy (CT_POLICY is not set): everyone who has signed in may host, and ask to join."
        : `Policy ${policy.version} of ${policy.path}: ${policy.rules} ${policy.rules === 1 ? "rule" : "rules"}, in force on ${worker} since ${new Date(policy.loadedMs).toLocaleDateString("en-GB")}, ${formatTime(policy.loadedMs)}.`;
    const problem =
      policy?.problem == null
        ? []
        : [`The file has mistakes, so the last good policy stays in force: ${policy.problem}`];
    // They name the rules that are guidance.
    const all = [...problem, ...(policy?.warnings ?? [])];
    notes.replaceChildren(...all.slice(0, MAX_NOTES).map((note) => element("li", note)));
  }

  async function check(): Promise<void> {
    const query = new URLSearchParams();
    for (const [name, value] of new FormData(form)) {
      if (typeof value === "string") query.set(name, value);
    }
    try {
      showOutcome(await getJson<PolicyCheckResponse>(`policy/check?${query}`));
    } catch {
      outcome.replaceChildren(element("dt", "Not checked"), element("dd", await reason(query)));
    }
  }

  function showOutcome(answer: PolicyCheckResponse): void {
    const { host, join, limits, readOnlyHint, person } = answer;
    const lines: [string, string, string?][] = [];
    if (person === undefined) lines.push(["Person", "Enter who it is about."]);
    else
      lines.push([
        "Person",
        answer.text.find((line) => line.startsWith("person: "))?.slice(8) ?? "",
      ]);
    if (host !== undefined) lines.push(["May host", explain(host), badge(host)]);
    if (join !== undefined) lines.push(["May join", explain(join), badge(join)]);
    if (readOnlyHint !== undefined) {
      lines.push([
        "Opens read-only",
        `in the browser page, by rule "${readOnlyHint.rule}"; other clients do not know this hint`,
      ]);
    }
    for (const { name, value, rule } of limits ?? []) {
      const shown = name.endsWith("Ms") ? formatDuration(value) : String(value);
      lines.push([LIMITS[name] ?? name, `${shown}, by rule "${rule}"`]);
    }
    outcome.replaceChildren(
      ...lines.flatMap(([title, text, kind]) => {
        const shown = element("dd");
        if (kind !== undefined) {
          shown.append(
            element("span", kind === "good" ? "allowed" : "denied", `badge ${kind}`),
            " ",
          );
        }
        shown.append(text);
        return [element("dt", title), shown];
      }),
    );
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void check();
  });
  return { show };
}

async function reason(query: URLSearchParams): Promise<string> {
  return getText(`policy/check?${query}`).catch(() => "The worker does not respond.");
}

const LIMITS: Readonly<Record<string, string>> = {
  guests: "Guests",
  sessions: "Sessions at a time",
  longestMs: "Longest session",
  idleMs: "Ends when idle for",
  aloneMs: "Ends when alone for",
};

function badge({ outcome }: Decision): string {
  return outcome === "allowed" ? "good" : "bad";
}

function explain(decision: Decision): string {
  const by = decision.rule === undefined ? 'by "otherwise"' : `by rule "${decision.rule}"`;
  if (decision.outcome === "denied") return `${by}: ${decision.reason}`;
  return decision.isAsked ? by : `${by}, without asking the host`;
}

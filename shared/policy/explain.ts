/** What a policy decides about a person, and by which rule, for operators: `ct-edge policy check` and the dashboard. Pure. */

import { formatAge } from "../base/age.ts";
import { counted } from "../base/counted.ts";
import type { LimitRule } from "./decide.ts";
import type { Decision, Person, Policy, Rule } from "./policy.ts";
import type { ReadPolicy } from "./policy-file.ts";

export type PolicyAnswer = ReturnType<typeof explainPolicy>;

/** Whose session the person wants to join. */
export interface NamedHost extends Person {
  readonly name: string;
}

const MAX_GUIDANCE = 100;

/** The JSON of both. Fields are added, never changed. */
export function explainPolicy(
  { policy, decider, digest }: Pick<ReadPolicy, "policy" | "decider" | "digest">,
  person?: Person,
  host?: NamedHost,
) {
  const readOnly = person && host && decider.readOnlyHint(person, host);
  return {
    policy: digest,
    rules: policy.rules.length,
    warnings: policy.warnings,
    /** Names of the rules that rest on what clients say of themselves, or are hints to our own page; at most `MAX_GUIDANCE`. */
    guidance: guidanceOf(policy),
    ...(person !== undefined && {
      person: describe(person),
      host: decider.mayHost(person),
      /** Of the sessions that the person hosts. */
      limits: decider.limitRulesOf(person),
    }),
    /** With a room, and whether our own page opens everything in it read-only. */
    ...(person !== undefined && host !== undefined && { join: decider.mayJoin(person, host) }),
    ...(readOnly !== undefined && { readOnlyHint: { rule: readOnly } }),
  };
}

export function guidanceOf({ rules }: Pick<Policy, "rules">): readonly string[] {
  return rules
    .filter(isGuidance)
    .slice(0, MAX_GUIDANCE)
    .map(({ name }) => name);
}

function isGuidance({ clients, readOnly }: Rule): boolean {
  return clients.length > 0 || readOnly === true;
}

function describe({ id, email, groups, apiKey, isVerified }: Person) {
  return {
    id,
    ...(email !== undefined && { email }),
    ...(groups !== undefined && { groups: [...groups] }),
    ...(apiKey !== undefined && { apiKey }),
    isVerified,
  };
}

/** The same as lines of text, not escaped. `of`: the name of the host. */
export function policyLines(answer: PolicyAnswer, of?: string): readonly string[] {
  const { policy, rules, warnings, person, host, join, limits, readOnlyHint } = answer;
  const text = [`policy ${policy}: ${counted(rules, "rule")}, in order`];
  for (const warning of warnings) text.push(`! ${warning}`);
  if (person === undefined) return text;
  const { email, groups, apiKey, isVerified } = person;
  const known = [
    apiKey === undefined ? undefined : `API key ${apiKey}`,
    email ?? (apiKey === undefined ? "no verified email address" : undefined),
    groups === undefined ? "groups not known" : `groups ${groups.join(", ") || "none"}`,
    isVerified ? undefined : "signs in by name",
  ].filter((one) => one !== undefined);
  text.push(`person: ${known.join("; ")}`);
  if (host !== undefined) text.push(`host: ${explain(host)}`);
  if (join !== undefined) text.push(`join a session of ${of ?? ""}: ${explain(join)}`);
  if (readOnlyHint !== undefined) {
    text.push(
      `hint: the browser page opens it read-only by rule "${readOnlyHint.rule}"; other clients do not know this`,
    );
  }
  if (limits !== undefined) text.push(`limits: ${explainLimits(limits)}`);
  return text;
}

function explain(decision: Decision): string {
  const by = decision.rule === undefined ? '"otherwise"' : `rule "${decision.rule}"`;
  if (decision.outcome === "denied") return `denied by ${by}: ${decision.reason}`;
  return `allowed by ${by}${decision.isAsked ? "" : ", without asking the host"}`;
}

const LIMITS = {
  guests: (value) => `${value} guests`,
  sessions: (value) => `${value} sessions at a time`,
  longestMs: (value) => `${formatAge(value)} at most`,
  idleMs: (value) => `${formatAge(value)} idle`,
  aloneMs: (value) => `${formatAge(value)} without guests`,
} as const satisfies Record<LimitRule["name"], (value: number) => string>;

function explainLimits(limits: readonly LimitRule[]): string {
  const all = limits.map(({ name, value, rule }) => `${LIMITS[name](value)} (rule "${rule}")`);
  return all.length === 0 ? "none" : all.join(", ");
}

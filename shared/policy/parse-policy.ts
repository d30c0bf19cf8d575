/** Reads a policy from YAML or JSON. Its problems are for the operator who wrote it, with the lines where they are. Pure. */
import { z } from "zod";
import { invalid, readYaml } from "../settings/yaml-text.ts";
import { ADDRESSES, normalAddress, normalDomain, normalName, parseNetwork } from "./keys.ts";
import type { Conditions, Limits, Policy, Rule } from "./policy.ts";

export type ParsedPolicy =
  | {
      readonly outcome: "read";
      readonly policy: Policy;
      /** The lengths of the networks that it names. */
      readonly prefixes: readonly number[];
    }
  | { readonly outcome: "invalid"; readonly problems: readonly string[] };

/** 10,000 rules have about a megabyte and a half. As YAML they take a second to parse, in which a worker does nothing else. */
export const MAX_POLICY_BYTES = 2 * 1024 * 1024;
const MAX_RULES = 10_000;
const MAX_VALUES = 10_000;
const VERSION = 1;

export function parsePolicy(text: string): ParsedPolicy {
  if (Buffer.byteLength(text) > MAX_POLICY_BYTES) {
    return invalid([`the file is larger than ${MAX_POLICY_BYTES / 1024 / 1024} MiB`]);
  }
  const read = readYaml(text, policySchema, {
    empty: "the file is empty; without a policy, unset CT_POLICY",
    refuse(value) {
      const newer = z.object({ version: z.number() }).safeParse(value).data?.version;
      if (newer === undefined || newer === VERSION) return undefined;
      return `version ${newer} is not known here; this version reads ${VERSION}`;
    },
    describePath,
  });
  return read.outcome === "read" ? check(read.value) : read;
}

function describePath(path: readonly PropertyKey[]): string {
  const [, index, ...rest] = path;
  if (path[0] === "rules" && typeof index === "number") {
    return `rule ${index + 1}${rest.length > 0 ? `, ${rest.join(".")}` : ""}: `;
  }
  return path.length > 0 ? `${path.join(".")}: ` : "";
}

// --- the form of a file ---

const list = <T extends z.ZodType>(entry: T) =>
  z.array(entry).min(1, "the list is empty, so that nobody is meant").max(MAX_VALUES);

const text = z.string().min(1, "must not be empty").max(256);
const shown = z
  .string()
  .min(1)
  .max(500)
  .regex(/^[^\p{Cc}\p{Cf}]*$/u, "must not have control characters");
// `meta` is for editors (policyJsonSchema): patterns of what a transform checks, and texts.

const user = text.transform((value) => (value.includes("@") ? normalAddress(value) : value));
const name = text.transform(normalName);

const domain = z
  .string()
  .max(255)
  .meta({ pattern: "^(\\*\\.)?[^\\s*@/]+$" })
  .transform((value, context) => {
    const ascii = normalDomain(value.startsWith("*.") ? value.slice(2) : value);
    if (/^[a-z0-9-]+(\.[a-z0-9-]+)*$/.test(ascii)) {
      return value.startsWith("*.") ? `*.${ascii}` : ascii;
    }
    context.addIssue(`${JSON.stringify(value)} is not a domain like example.com or *.example.com`);
    return z.NEVER;
  });

const network = z
  .string()
  .max(64)
  .meta({ pattern: "^[0-9A-Fa-f.:]+(/[0-9]{1,3})?$" })
  .transform((value, context) => {
    const parsed = parseNetwork(value);
    if (parsed !== undefined) return parsed;
    context.addIssue(`${JSON.stringify(value)} is not a network like 10.0.0.0/8 or fd00::/8`);
    return z.NEVER;
  });

const UNIT_MS = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const MAX_MS = 365 * UNIT_MS.d;

const duration = z
  .string()
  .meta({ pattern: "^[0-9]{1,9}(s|m|h|d)$" })
  .transform((value, context) => {
    const [, amount, unit] = /^(\d{1,9})(s|m|h|d)$/.exec(value) ?? [];
    const ms = Number(amount) * UNIT_MS[unit as keyof typeof UNIT_MS];
    if (ms >= UNIT_MS.s && ms <= MAX_MS) return ms;
    context.addIssue(`${JSON.stringify(value)} is not a time like 90s, 30m, 8h or 2d`);
    return z.NEVER;
  });

const clientVersion = z
  .string()
  .meta({ pattern: "^[0-9]{1,6}(\\.[0-9]{1,6}){0,3}$" })
  .transform((value, context) => {
    if (/^\d{1,6}(\.\d{1,6}){0,3}$/.test(value)) return value.split(".").map(Number);
    context.addIssue(`${JSON.stringify(value)} is not a version like 0.3.1`);
    return z.NEVER;
  });

const hosts = {
  users: list(user).describe("User ids, or verified email addresses.").optional(),
  apiKeys: list(name).describe('Names of keys of CT_LOGIN_API_KEY; "*" is any key.').optional(),
  domains: list(domain)
    .describe("Of verified email addresses: example.com, or *.example.com for all below it.")
    .optional(),
  groups: list(name).describe("As the identity provider tells them.").optional(),
};
const isNotEmpty = (value: object): boolean => Object.keys(value).length > 0;
const EMPTY = "says nothing; leave it out to mean everyone";
const hostsSchema = z.strictObject(hosts).refine(isNotEmpty, EMPTY).meta({ minProperties: 1 });
const networks = list(network).describe("Where people connect from: 10.0.0.0/8, fd00::/8.");
const whoSchema = z
  .strictObject({ ...hosts, networks: networks.optional() })
  .refine(isNotEmpty, EMPTY)
  .meta({ minProperties: 1 });

const verdict = z.enum(["allow", "deny"]);
const count = z.number().int().max(1_000_000);

const ruleSchema = z
  .strictObject({
    name: shown.describe("Shown by `policy check`; each rule has its own."),
    who: whoSchema.describe("Whom the rule is for; without it, everyone.").optional(),
    hosts: hostsSchema.describe("Whose sessions the rule is about; without it, all.").optional(),
    host: verdict.describe("Whether such people may host.").exactOptional(),
    join: z
      .enum(["allow", "deny", "without-asking"])
      .describe("Whether they may ask to join, or come in and the host is told.")
      .exactOptional(),
    readOnly: z
      .boolean()
      .describe("A hint to the browser page of this server. Other clients do not know it.")
      .exactOptional(),
    reason: shown.describe("For people who are refused by this rule.").exactOptional(),
    guests: count.min(0).describe("People beside the host.").optional(),
    sessions: count.min(1).describe("Open at the same time, for each host.").optional(),
    longest: duration.describe("A session ends that long after it began.").optional(),
    idle: duration.describe("It ends when nobody has worked in it for that long.").optional(),
    alone: duration.describe("It ends when its host has been alone for that long.").optional(),
    clients: z
      .record(text, clientVersion)
      .refine(isNotEmpty, "names no client")
      .meta({ minProperties: 1 })
      .describe(
        "Lowest versions, by a part of the client's name. Guidance: clients can say anything.",
      )
      .optional(),
  })
  .describe("The first rule decides that is for a person and says something about the question.");

const policySchema = z.strictObject({
  version: z.literal(VERSION),
  rules: z.array(ruleSchema).min(1, "there are no rules").max(MAX_RULES),
  otherwise: z.strictObject({ host: verdict, join: verdict }).describe("For what no rule decides."),
});

/** The form of a file for editors (JSON Schema 2020-12). What depends on several keys is only in `parsePolicy`. */
export function policyJsonSchema(): object {
  return {
    title: "CodeTogether edge: policy (CT_POLICY)",
    ...z.toJSONSchema(policySchema, { io: "input" }),
  };
}

type WrittenRule = z.infer<typeof ruleSchema>;

// --- what it means ---

function check({ rules: written, otherwise }: z.infer<typeof policySchema>): ParsedPolicy {
  const problems: string[] = [];
  const warnings: string[] = [];
  const numbers = new Map<string, number>();
  const prefixes = new Set<number>();
  /** The first rule for everyone that speaks of a subject: none behind it is asked about that. */
  const settled = new Map<string, string>();
  const rules = written.map((rule, index) => {
    const where = `rule ${index + 1} (${rule.name})`;
    const same = numbers.get(rule.name);
    if (same !== undefined) problems.push(`${where}: rule ${same} has the same name`);
    numbers.set(rule.name, index + 1);
    for (const problem of problemsOf(rule)) problems.push(`${where}: ${problem}`);
    for (const { bits } of rule.who?.networks ?? []) prefixes.add(bits);
    const subjects = subjectsOf(rule);
    const useless = subjects.filter((subject) => settled.has(subject));
    if (useless.length > 0 && useless.length === subjects.length) {
      const before = settled.get(useless[0] ?? "");
      warnings.push(`${where} never applies: "${before}" is for everyone and comes before it`);
    }
    if (rule.who === undefined && rule.hosts === undefined) {
      for (const subject of subjects) if (!settled.has(subject)) settled.set(subject, rule.name);
    }
    if (rule.clients !== undefined) {
      warnings.push(`${where}: clients can claim any version, so this is guidance, no protection`);
    }
    if (rule.readOnly) {
      warnings.push(
        `${where}: readOnly is a hint to the browser page of this server; other clients do not know it, so this is guidance, no protection`,
      );
    }
    return toRule(rule);
  });
  if (problems.length > 0) return invalid(problems);
  return { outcome: "read", policy: { rules, otherwise, warnings }, prefixes: [...prefixes] };
}

const SUBJECTS = [
  "host",
  "join",
  "readOnly",
  "guests",
  "sessions",
  "longest",
  "idle",
  "alone",
  "clients",
] as const;

function subjectsOf(rule: WrittenRule): string[] {
  return SUBJECTS.filter((subject) => rule[subject] !== undefined);
}

function problemsOf(rule: WrittenRule): string[] {
  const problems: string[] = [];
  const { host, join, hosts, reason } = rule;
  if (subjectsOf(rule).length === 0) {
    problems.push(`it says nothing; give it one of ${SUBJECTS.join(", ")}`);
  }
  const subjects = subjectsOf(rule);
  const ofGuests = ["join", "readOnly"];
  if (hosts !== undefined && !subjects.some((subject) => ofGuests.includes(subject))) {
    problems.push("hosts says whose sessions are joined, so it needs join or readOnly");
  }
  if (hosts !== undefined && subjects.some((subject) => !ofGuests.includes(subject))) {
    problems.push("hosts concerns join and readOnly only; put the rest into a rule of its own");
  }
  const isLimited = subjects.some((subject) => ![...ofGuests, "host"].includes(subject));
  if (isLimited && rule.who?.networks !== undefined) {
    problems.push("networks concern host, join and readOnly only: a session has no address");
  }
  if (reason !== undefined && host !== "deny" && join !== "deny") {
    problems.push(
      "reason is shown to people who are refused, so it needs host: deny or join: deny",
    );
  }
  return problems;
}

function toRule(written: WrittenRule): Rule {
  const { who, hosts, guests, sessions, longest, idle, alone, clients = {}, ...said } = written;
  const limits: Limits = {
    ...(guests !== undefined && { guests }),
    ...(sessions !== undefined && { sessions }),
    ...(longest !== undefined && { longestMs: longest }),
    ...(idle !== undefined && { idleMs: idle }),
    ...(alone !== undefined && { aloneMs: alone }),
  };
  return {
    ...said,
    who: toConditions(who),
    hosts: toConditions(hosts),
    limits,
    clients: Object.entries(clients).map(([client, atLeast]) => ({
      name: client.toLowerCase(),
      atLeast,
    })),
  };
}

function toConditions(written: z.infer<typeof whoSchema> = {}): Conditions {
  const { users, apiKeys, domains, groups, networks } = written;
  const addresses = users?.some((one) => one.includes("@")) ? [ADDRESSES] : [];
  return {
    ...(users !== undefined && { users: new Set([...users, ...addresses]) }),
    ...(apiKeys !== undefined && { apiKeys: new Set(apiKeys) }),
    ...(domains !== undefined && { domains: new Set(domains) }),
    ...(groups !== undefined && { groups: new Set(groups) }),
    ...(networks !== undefined && { networks: new Set(networks.map(({ key }) => key)) }),
  };
}

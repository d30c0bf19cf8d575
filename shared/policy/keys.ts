import { domainToASCII } from "node:url";
import { addressBytes, canonicalAddress } from "../net/networks.ts";
import { CONDITION_KINDS, type ConditionKind, type Conditions, type Person } from "./policy.ts";

/**
 * By kind; undefined: not known of this person, so that neither yes nor no would be right: there is no verified email address, or
 * the identity provider has not sent the groups.
 */
export interface Keys extends Readonly<Record<ConditionKind, readonly string[] | undefined>> {
  /** The user's id, and the verified email address. */
  readonly users: readonly string[];
}

export type Match =
  | "yes"
  | "no"
  /** It would depend on the first of these, which is not known. */
  | ConditionKind;

const ANY_KEY = "*";
/** Among the users of a rule: it names at least one by email address. */
export const ADDRESSES = "@";

/** `prefixes`: the lengths of networks that rules name. */
export function keysOf(person: Person, prefixes: readonly number[]): Keys {
  const { id, groups, apiKey, address } = person;
  const networks = address === undefined ? undefined : networkKeys(address, prefixes);
  if (apiKey !== undefined) {
    // The operator knows what it is: a program has neither an address nor groups.
    const apiKeys = [normalName(apiKey), ANY_KEY];
    return { users: [id], apiKeys, domains: [], groups: [], networks };
  }
  const email = person.email === undefined ? undefined : normalAddress(person.email);
  return {
    users: email === undefined ? [id] : [id, email],
    apiKeys: [],
    domains: email === undefined ? undefined : domainKeys(email),
    groups: groups === undefined ? undefined : [...groups].map(normalName),
    networks,
  };
}

/** Whether each kind of condition has one of the keys. */
export function match(conditions: Conditions, keys: Keys): Match {
  let unknown: ConditionKind | undefined;
  for (const kind of CONDITION_KINDS) {
    const wanted = conditions[kind];
    if (wanted === undefined) continue;
    const own = keys[kind];
    if (own?.some((key) => wanted.has(key))) continue;
    if (kind === "users" && keys.domains === undefined && wanted.has(ADDRESSES)) {
      unknown ??= "domains";
    } else if (own === undefined) unknown ??= kind;
    else return "no";
  }
  return unknown ?? "yes";
}

// --- one spelling ---

/** Unicode has several spellings of some letters. */
export function normalName(text: string): string {
  return text.normalize("NFC");
}

/** In lower case, with the domain as DNS has it. */
export function normalAddress(email: string): string {
  const at = email.lastIndexOf("@");
  return `${normalName(email.slice(0, at)).toLowerCase()}@${normalDomain(email.slice(at + 1))}`;
}

/** Empty if it is none. */
export function normalDomain(domain: string): string {
  return domainToASCII(domain.replace(/\.$/, "").normalize("NFC"));
}

/** What rules may call the domain of an address: of `a@dev.example.com` `dev.example.com`, `*.example.com` and `*.com`. */
function domainKeys(email: string): string[] {
  const labels = email.slice(email.lastIndexOf("@") + 1).split(".");
  const parents = labels.slice(1).map((_, index) => `*.${labels.slice(index + 1).join(".")}`);
  return [labels.join("."), ...parents];
}

// --- networks ---

function networkKeys(address: string, prefixes: readonly number[]): string[] {
  const bytes = bytesOf(address);
  if (bytes === undefined) return [];
  return prefixes.filter((bits) => bits <= bytes.length * 8).map((bits) => keyOf(bytes, bits));
}

interface Network {
  readonly key: string;
  readonly bits: number;
}

/** Reads `10.0.0.0/8`, `fd00::/8` or a single address; undefined: it is none of them. */
export function parseNetwork(text: string): Network | undefined {
  const [, address = "", length] = /^([^/]*)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const bytes = bytesOf(address);
  if (bytes === undefined || address.includes("%")) return undefined;
  const bits = length === undefined ? bytes.length * 8 : Number(length);
  return bits > bytes.length * 8 ? undefined : { key: keyOf(bytes, bits), bits };
}

/** The same text for all addresses of a network. */
function keyOf(bytes: readonly number[], bits: number): string {
  const masked = bytes.map((byte, index) => {
    const kept = Math.min(8, Math.max(0, bits - index * 8));
    return byte & (0xff << (8 - kept)) & 0xff;
  });
  return `${masked.join(".")}/${bits}`;
}

function bytesOf(address: string): number[] | undefined {
  const plain = canonicalAddress(address);
  return plain === undefined ? undefined : addressBytes(plain);
}

/**
 * A line of the audit log: an event as JSON, with its place in a chain. `mac` is an HMAC over the line and the mac before it, so
 * that a line can neither be changed, moved nor removed without the key. Personal data is part of it only as a commitment, a hash
 * with a random salt: data and salt can be erased, and the chain can still be verified.
 */
import {
  createHash,
  createHmac,
  createSecretKey,
  hash,
  type KeyObject,
  randomBytes,
  timingSafeEqual,
} from "node:crypto";
import { z } from "zod";
import type { ActivityEvent, Party } from "../activity/event.ts";
import { getOrAdd } from "../base/grouping.ts";
import type { PurposeKeys } from "../settings/keyring.ts";

/**
 * Lines that are no events. `started`: the first of a process. `continued`: the first of a further file. `ended`: the last of a
 * process that stopped in order. `gap`: events that could not be written. `unchecked`: a time without checkpoints. `removed`: a file
 * that was older than CT_AUDIT_DAYS. `erased`: data of people was erased, by a command with a chain of its own.
 */
export type OwnKind =
  | "audit.started"
  | "audit.continued"
  | "audit.ended"
  | "audit.gap"
  | "audit.unchecked"
  | "audit.removed"
  | "audit.erased";

/** Longest text in a line. */
const MAX_TEXT_CHARS = 1024;
/** Of a line in bytes; a longer one was not written by us. */
export const MAX_LINE_BYTES = 256 * 1024;

/** The last line before: where a chain is. */
export interface Position {
  readonly chain: string;
  /** 0: before the first line. */
  readonly seq: number;
  /** Empty before the first line of the first chain. */
  readonly mac: string;
  /** Wall time of the line in ms. */
  readonly atMs: number;
}

/** What a line says. */
export interface Entry extends Omit<ActivityEvent, "id" | "kind"> {
  /** Of an event. */
  readonly id?: string | undefined;
  readonly kind: ActivityEvent["kind"] | OwnKind;
  /** In the first line of a file: the line before it, which is in another file. */
  readonly previous?: Position | undefined;
}

// --- keys ---

export interface AuditKey {
  /** Distinguishes keys without revealing them. */
  readonly id: string;
  readonly key: KeyObject;
}

export interface AuditKeys {
  readonly signing: AuditKey;
  readonly accepted: readonly AuditKey[];
}

const KEY_ID_CHARS = 8;

/** With the keys of the purpose `audit`; which of them signs may change. */
export function auditKeys(keys: PurposeKeys): AuditKeys {
  const byBytes = new Map<Buffer, AuditKey>();
  const keyOf = (bytes: Buffer): AuditKey =>
    getOrAdd(byBytes, bytes, () => ({ id: keyId(bytes), key: createSecretKey(bytes) }));
  return {
    get signing() {
      return keyOf(keys.signing);
    },
    accepted: keys.accepted.map(keyOf),
  };
}

function keyId(key: Buffer): string {
  return createHash("sha256").update("id").update(key).digest("hex").slice(0, KEY_ID_CHARS);
}

/** HMAC-SHA256, as base64url. `purpose` keeps a signature from being used for something else. */
export function signature(key: AuditKey, purpose: string, ...parts: readonly string[]): string {
  const text = [purpose, ...parts].join("\n");
  return createHmac("sha256", key.key).update(text).digest("base64url");
}

export function isSame(one: string, other: string): boolean {
  const [first, second] = [Buffer.from(one), Buffer.from(other)];
  return first.length === second.length && timingSafeEqual(first, second);
}

// --- writing ---

const PERSONAL = ["id", "name", "email", "address", "client"] as const;
const SALT_BYTES = 16;

/** The line for `entry` behind `before`, with its line feed, and where the chain is then. */
export function writeLine(
  entry: Entry,
  before: Position,
  key: AuditKey,
): { readonly text: string; readonly after: Position } {
  const { chain } = before;
  const seq = before.seq + 1;
  const { id, kind, atMs, worker, session, actor, target, details, previous } = entry;
  const line = {
    seq,
    chain,
    key: key.id,
    at: new Date(atMs).toISOString(),
    kind,
    id: id && cut(id),
    worker,
    session,
    actor: actor && openParty(actor),
    target: target && openParty(target),
    details: details && cutAll(details),
    previous: previous && showPosition(previous),
  };
  const mac = macOf(signedText(line), before.mac, key);
  return { text: `${JSON.stringify({ ...line, mac })}\n`, after: { chain, seq, mac, atMs } };
}

/** People's data is apart from the rest, with its salt. Rules and the edge are no people. */
function openParty(party: Party): OpenParty {
  const { type, way } = party;
  if (type === "rule" || type === "edge") {
    return { type, ...(party.name !== undefined && { name: cut(party.name) }) };
  }
  const person: Record<string, string> = {};
  for (const name of PERSONAL) {
    const value = party[name];
    if (value !== undefined) person[name] = cut(value);
  }
  const salt = newSalt();
  return { type, ...(way !== undefined && { way: cut(way) }), person, salt };
}

/** From the system's secure source, many at a time: each call of it is slow. */
const salts = { bytes: Buffer.alloc(0), used: 0 };
const SALTS_BYTES = SALT_BYTES * 256;

function newSalt(): string {
  if (salts.used === salts.bytes.length) {
    salts.bytes = randomBytes(SALTS_BYTES);
    salts.used = 0;
  }
  const from = salts.used;
  salts.used += SALT_BYTES;
  return salts.bytes.toString("base64url", from, salts.used);
}

function cut(text: string): string {
  return text.length > MAX_TEXT_CHARS ? `${text.slice(0, MAX_TEXT_CHARS - 1)}…` : text;
}

const MAX_DETAILS = 50;

function cutAll(details: NonNullable<Entry["details"]>): Details {
  const entries = Object.entries(details).slice(0, MAX_DETAILS);
  return Object.fromEntries(entries.map(([name, value]) => [cut(name), cutValue(value)]));
}

function cutValue(value: string | number | boolean): string | number | boolean {
  if (typeof value === "string") return cut(value);
  // JSON has no NaN.
  return typeof value === "number" && !Number.isFinite(value) ? String(value) : value;
}

function showPosition({ chain, seq, mac, atMs }: Position): z.infer<typeof previousSchema> {
  return { chain, seq, mac, at: new Date(atMs).toISOString() };
}

// --- what is signed ---

function macOf(signed: string, macBefore: string, key: AuditKey): string {
  return signature(key, "line", macBefore, signed);
}

interface Parties {
  readonly actor?: ReadParty | undefined;
  readonly target?: ReadParty | undefined;
}

/** The line without its mac and without the data of people. A key that is written again keeps its place. */
function signedText(line: Parties): string {
  return JSON.stringify({ ...line, mac: undefined, ...eachParty(line, sealParty) });
}

function eachParty(line: Parties, change: (party: ReadParty) => unknown): Record<string, unknown> {
  const { actor, target } = line;
  return {
    ...(actor !== undefined && { actor: change(actor) }),
    ...(target !== undefined && { target: change(target) }),
  };
}

function sealParty(party: ReadParty): unknown {
  if ("commitment" in party) {
    return { type: party.type, way: party.way, commitment: party.commitment };
  }
  if (!("salt" in party)) return party;
  return { type: party.type, way: party.way, commitment: commitmentOf(party) };
}

/** With its keys in their order. */
function orderParty(party: ReadParty): unknown {
  if ("commitment" in party) {
    const { type, way, erased, commitment, proof } = party;
    return { type, way, erased, commitment, proof };
  }
  if (!("salt" in party)) return party;
  const { type, way, person, salt } = party;
  return { type, way, person, salt };
}

function commitmentOf({ person, salt }: Required<Pick<PersonParty, "person" | "salt">>): string {
  const text = `${salt}\n${JSON.stringify(person)}`;
  return hash("sha256", text, "base64url");
}

// --- reading ---

const text = z.string();
const way = text.exactOptional();
const personType = z.enum(["user", "operator"]);
const detailsSchema = z.record(text, z.union([text, z.number(), z.boolean()]));
const previousSchema = z.strictObject({
  chain: text,
  seq: z.int().positive(),
  mac: text,
  at: z.iso.datetime(),
});

const personSchema = z.strictObject({
  type: personType,
  way,
  person: z.partialRecord(z.enum(PERSONAL), text),
  salt: text,
});
const erasedSchema = z.strictObject({
  type: personType,
  way,
  erased: z.literal(true),
  commitment: text,
  /** That it was erased by the edge, and by nobody else. */
  proof: text,
});
const otherSchema = z.strictObject({ type: z.enum(["rule", "edge"]), name: text.exactOptional() });
const partySchema = z.union([personSchema, erasedSchema, otherSchema]);

type Details = z.infer<typeof detailsSchema>;
type PersonParty = z.infer<typeof personSchema>;
type OpenParty = PersonParty | z.infer<typeof otherSchema>;
type ReadParty = z.infer<typeof partySchema>;

/** Fields and kinds of later versions are read too: the mac covers them. */
const lineSchema = z.looseObject({
  seq: z.int().positive(),
  chain: text,
  key: text,
  at: z.iso.datetime(),
  kind: text,
  worker: text,
  actor: partySchema.exactOptional(),
  target: partySchema.exactOptional(),
  details: detailsSchema.exactOptional(),
  previous: previousSchema.exactOptional(),
  mac: text,
});
export type Line = z.infer<typeof lineSchema>;

/** Undefined: it is none of ours, or was changed so that it says the same in other bytes. */
export function parseLine(written: string): Line | undefined {
  try {
    const value: unknown = JSON.parse(written);
    if (!lineSchema.safeParse(value).success) return undefined;
    // Not what the schema returns: the fields are in the order in which they were signed.
    const line = value as Line;
    const { mac, ...fields } = line;
    const ordered = { ...fields, ...eachParty(line, orderParty), mac };
    return JSON.stringify(ordered) === written ? line : undefined;
  } catch {
    return undefined;
  }
}

export function positionOf({
  chain,
  seq,
  mac,
  at,
}: Omit<Position, "atMs"> & { readonly at: string }): Position {
  return { chain, seq, mac, atMs: Date.parse(at) };
}

/** What is wrong with the line itself, when the mac before it is `macBefore`. */
type LineFault = "unknown key" | "changed" | "erased by others";

export function faultOf(line: Line, macBefore: string, keys: AuditKeys): LineFault | undefined {
  const key = keys.accepted.find(({ id }) => id === line.key);
  if (key === undefined) return "unknown key";
  if (!isSame(line.mac, macOf(signedText(line), macBefore, key))) return "changed";
  const isProven = PARTIES.every((name) => isErasureProven(line, name, keys));
  return isProven ? undefined : "erased by others";
}

// --- erasing ---

export const PARTIES = ["actor", "target"] as const;
type PartyName = (typeof PARTIES)[number];

/** The same line without the data of those for whom `isWanted`; undefined when there are none. */
export function eraseParties(
  line: Line,
  isWanted: (person: PersonParty["person"]) => boolean,
  key: AuditKey,
): string | undefined {
  const erased: Record<string, unknown> = {};
  for (const name of PARTIES) {
    const party = line[name];
    if (party === undefined || !("salt" in party) || !isWanted(party.person)) continue;
    const commitment = commitmentOf(party);
    const proof = proofOf(line, name, commitment, key);
    erased[name] = { type: party.type, way: party.way, erased: true, commitment, proof };
  }
  if (Object.keys(erased).length === 0) return undefined;
  return JSON.stringify({ ...line, ...erased });
}

function proofOf(line: Line, name: PartyName, commitment: string, key: AuditKey): string {
  return signature(key, "erased", line.chain, String(line.seq), name, commitment);
}

function isErasureProven(line: Line, name: PartyName, keys: AuditKeys): boolean {
  const party = line[name];
  if (party === undefined || !("proof" in party)) return true;
  const { commitment, proof } = party;
  return keys.accepted.some((key) => isSame(proof, proofOf(line, name, commitment, key)));
}

/**
 * The records in the journal of the embedded store: their keys, `kind/id/…`, and their schemas for reading. Members and their
 * reports are not journalled (state/leases.ts).
 */
import { z } from "zod";
import { peerIdSchema, sessionIdSchema } from "../../../base/id-schemas.ts";
import {
  agreedTextSchema,
  journalledSignInSchema,
  nameSchema,
  peerSchema,
  sessionHeadSchema,
  storedEventSchema,
  storedTicketSchema,
  ticketKindSchema,
  timeSchema,
  tokenSchema,
} from "../../schemas.ts";
import { MAX_STREAM_TEXT_CHARS, STREAM_NAMES } from "../../streams.ts";
import { withNewEntryNames } from "./old-names.ts";

/** As `recordKey` writes it. */
const ordinal = z
  .string()
  .regex(/^(0|[1-9]\d{0,15})$/)
  .transform(Number);

/** The ids and the value of each kind of record. Ids and tokens come last, because they may contain slashes. */
const RECORDS = {
  session: { ids: z.tuple([sessionIdSchema]), value: sessionHeadSchema },
  peer: { ids: z.tuple([sessionIdSchema, peerIdSchema]), value: peerSchema },
  /** A token of a session that is revoked until then. */
  left: { ids: z.tuple([sessionIdSchema, tokenSchema]), value: timeSchema },
  ticket: { ids: z.tuple([ticketKindSchema, tokenSchema]), value: storedTicketSchema },
  revoked: { ids: z.tuple([tokenSchema]), value: timeSchema },
  "sign-in": { ids: z.tuple([tokenSchema]), value: journalledSignInSchema },
  agreed: { ids: z.tuple([nameSchema]), value: agreedTextSchema },
  counter: { ids: z.tuple([nameSchema]), value: z.number() },
  /** An entry of the stream `events`. */
  event: { ids: z.tuple([ordinal]), value: storedEventSchema },
  stream: {
    ids: z.tuple([z.enum(STREAM_NAMES), ordinal]),
    value: z.string().max(MAX_STREAM_TEXT_CHARS),
  },
} as const;
export type RecordKind = keyof typeof RECORDS;
type Ids<Kind extends RecordKind> = z.infer<(typeof RECORDS)[Kind]["ids"]>;

/** A record read from the journal. */
export type Restored<Kind extends RecordKind = RecordKind> = {
  [K in Kind]: {
    readonly kind: K;
    readonly ids: Readonly<Ids<K>>;
    readonly value: z.infer<(typeof RECORDS)[K]["value"]>;
  };
}[Kind];

export function recordKey<Kind extends RecordKind>(kind: Kind, ...ids: Ids<Kind>): string {
  return `${kind}/${ids.join("/")}`;
}

/** Validates a record of the journal, which other programs may have written; undefined when invalid. */
export function parseRecord(readKey: string, readValue: unknown): Restored | undefined {
  const [key, value] = withNewEntryNames(readKey, readValue);
  const [kind = "", ...parts] = key.split("/");
  if (!isRecordKind(kind)) return undefined;
  const schema = RECORDS[kind];
  const last = schema.ids.def.items.length - 1;
  const ids = schema.ids.safeParse([...parts.slice(0, last), parts.slice(last).join("/")]);
  const parsed = schema.value.safeParse(value);
  if (!ids.success || !parsed.success) return undefined;
  const record = { kind, ids: ids.data, value: parsed.data } as Restored;
  return hasItsKey(record) ? record : undefined;
}

function isRecordKind(text: string): text is RecordKind {
  return Object.hasOwn(RECORDS, text);
}

/** A value that belongs under another key would be written under that one, and the bad one never deleted. */
function hasItsKey({ kind, ids, value }: Restored): boolean {
  if (kind === "session") return value.id === ids[0];
  return kind !== "peer" || value.id === ids[1];
}

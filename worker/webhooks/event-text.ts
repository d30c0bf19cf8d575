/** Events as texts: in the stream of the store, and in the bodies that receivers get. Pure. */
import { createHash } from "node:crypto";
import { z } from "zod";
import { type ActivityEvent, eventSchema } from "../../shared/activity/event.ts";
import { MAX_STREAM_TEXT_CHARS } from "../../shared/store/streams.ts";
import { GAP_KIND, type Receiver } from "./receivers.ts";

/** Kinds of later versions are among them. */
export type OutboxEvent = z.infer<typeof eventSchema>;
type OutboxParty = NonNullable<OutboxEvent["actor"]>;

// --- in the store ---

const AGAIN = '"again":true,';
const MAX_CHARS = MAX_STREAM_TEXT_CHARS - AGAIN.length;
/** Longer strings of a large event are cut to the first of these with which it fits. */
const CUTS = [512, 128, 32, 8];

/** An event that is too large for the store loses the ends of its longest strings, and in the end its details. */
export function writeEvent(event: ActivityEvent | OutboxEvent): string {
  const plain = { ...event, id: deliverableId(event.id) };
  const whole = JSON.stringify(plain);
  if (whole.length <= MAX_CHARS) return whole;
  for (const chars of CUTS) {
    const text = JSON.stringify(cutStrings(plain, chars));
    if (text.length <= MAX_CHARS) return text;
  }
  return JSON.stringify({ ...cutStrings(plain, 8), details: { cut: true } });
}

/** Ids are values of headers: printable ASCII without spaces. They stay the same when they are written again. */
function deliverableId(id: string): string {
  if (/^[\x21-\x7e]{1,200}$/.test(id)) return id;
  return createHash("sha256").update(id).digest("hex");
}

function cutStrings(event: ActivityEvent | OutboxEvent, chars: number) {
  const { actor, target, details } = event;
  return {
    ...event,
    worker: event.worker.slice(0, 64),
    ...(actor !== undefined && { actor: cutAll(actor, chars) }),
    ...(target !== undefined && { target: cutAll(target, chars) }),
    ...(details !== undefined && { details: cutAll(details, chars) }),
  };
}

function cutAll(values: object, chars: number): object {
  return Object.fromEntries(
    Object.entries(values).map(([key, value]) => [
      key,
      typeof value === "string" && value.length > chars ? `${value.slice(0, chars)}…` : value,
    ]),
  );
}

/** The same event for a store that may have lost it. */
export function markAgain(text: string): string {
  return text.startsWith(`{${AGAIN}`) ? text : text.replace("{", `{${AGAIN}`);
}

const storedSchema = eventSchema.extend({ again: z.literal(true).exactOptional() });

/** Undefined: it is not an event. */
export function readEvent(
  text: string,
): { readonly event: OutboxEvent; readonly isAgain: boolean } | undefined {
  try {
    const { again, ...event } = storedSchema.parse(JSON.parse(text));
    return { event, isAgain: again === true };
  } catch {
    return undefined;
  }
}

/** Tells that events were lost. `count`: undefined if it is not known. */
export function gapEvent(gap: {
  readonly id: string;
  readonly atMs: number;
  readonly worker: string;
  readonly count: number | undefined;
  readonly reason: string;
}): OutboxEvent {
  const { id, atMs, worker, count, reason } = gap;
  const details = { reason, ...(count !== undefined && { count }) };
  return { id, kind: GAP_KIND, atMs, worker, details };
}

// --- for receivers ---

/** The body of a delivery. Fields are added, never changed. */
export function bodyOf(
  event: OutboxEvent,
  { hasPersonalData }: Pick<Receiver, "hasPersonalData">,
): string {
  const { id, kind, atMs, worker, session, actor, target, details } = event;
  const show = hasPersonalData ? (party: OutboxParty) => party : withoutPerson;
  return JSON.stringify({
    id,
    kind,
    at: timeOf(atMs),
    worker,
    session,
    actor: actor && show(actor),
    target: target && show(target),
    details,
  });
}

/** What remains identifies nobody: a rule's name does not, an operator's credential may. */
function withoutPerson({ type, name, way }: OutboxParty) {
  if (type === "rule") return { type, name };
  return type === "user" ? { type, way } : { type };
}

/** Times that no clock shows become the nearest that can be written. */
function timeOf(atMs: number): string {
  const MAX_DATE_MS = 8.64e15;
  return new Date(Math.min(Math.max(atMs, 0), MAX_DATE_MS)).toISOString();
}

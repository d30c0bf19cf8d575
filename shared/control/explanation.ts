/**
 * What a balancer answers when it is asked where it would send a request, and why. It holds no session key.
 *
 * Times are durations: clocks of two machines are never compared.
 */
import { z } from "zod";

const word = z.string().max(256);
const count = z.number().nonnegative();

/** What was thought of one worker; the words are those of balancer/routing/candidates.ts. */
const note = z.object({
  /** Undefined: nobody is known by that tag. */
  worker: word.exactOptional(),
  /** `tag`: it issued the id. `owner`: the record names it. `candidate`: the ring does. `any`: no rule names one. */
  as: z.enum(["tag", "owner", "candidate", "any"]),
  verdict: z.enum([
    "fit",
    "suspect",
    "dead",
    "unknown",
    "suspended",
    "draining",
    "capped",
    "moved",
  ]),
  /** With `any`: how likely it is to be chosen now, 0 to 1. */
  chance: z.number().min(0).max(1).exactOptional(),
});

/** A worker as this balancer sees it now. */
const worker = z.object({
  id: word,
  /** What it says that it does with new sessions. */
  state: z.enum(["up", "suspended", "draining"]),
  health: z.enum(["up", "suspect", "dead"]),
  lastFailure: z.object({ reason: word, by: word, agoMs: count }).exactOptional(),
  /** With those on their way to it. */
  sessions: count,
  connections: count,
  lagMs: count,
  weight: z.number().positive(),
  /** It has as many requests as it may have (`CT_MAX_REQUESTS_PER_WORKER`): one more is answered with 503. */
  isFull: z.boolean(),
});

const explanationSchema = z.object({
  /** The rule that counted in the end (balancer/routing/session-key.ts). */
  rule: z.enum(["sid", "header", "path", "room", "token", "claim", "cookie", "none"]),
  /** Where it would go; undefined: nobody can take it. Without a key it is one of those that have a chance. */
  worker: word.exactOptional(),
  reason: z.enum(["tag", "record", "ring", "load", "nobody"]),
  /** What the balancer remembered of the session's owner. */
  remembered: z.object({ worker: word, epoch: count }).exactOptional(),
  /** What the store said when it was asked; not there when what was remembered is enough. */
  found: z.enum(["found", "none", "late", "away"]).exactOptional(),
  /** What would come of a 421 that names the holder of the session: `replay`, or why not. */
  afterMisdirected: word.exactOptional(),
  notes: z.array(note).max(1000),
  /** Workers that notes are left out of, because there are so many. */
  more: count,
  workers: z.array(worker).max(1000),
  ring: word,
  /** Probes are not believed: most workers fail by nothing else. */
  isPanicking: z.boolean(),
  store: z.enum(["up", "away"]),
  /** The store has not been reached yet: the workers are those of the last snapshot. */
  isRecalled: z.boolean(),
});

export type Explanation = z.infer<typeof explanationSchema>;

/** The detail of a balancer's answer, checked; undefined when it is none. */
export function parseExplanation(value: unknown): Explanation | undefined {
  return explanationSchema.safeParse(value).data;
}

/**
 * A balancer's response to the command `explain`: where it would send a request, and why. It contains no session key.
 *
 * Times are durations, because clocks of different machines are never compared.
 */
import { z } from "zod";
import { healthFields, withFormerHealth, withStatus } from "../cluster/former-health-names.ts";

const word = z.string().max(256);
const count = z.number().nonnegative();

/** A worker that was considered; the words are those of balancer/routing/candidates.ts. */
const candidateSchema = z.object({
  /** Undefined: no known worker has the tag. */
  worker: word.exactOptional(),
  /** `tag`: it issued the id. `owner`: by the record. `candidate`: by the ring. `load`: any worker will do. */
  as: z.enum(["tag", "owner", "candidate", "load"]),
  status: z.enum([
    "available",
    "unhealthy",
    "down",
    "unknown",
    "suspended",
    "draining",
    "capped",
    "late",
    "moved",
  ]),
  /** With `load`: the probability of being chosen now, 0 to 1. */
  chance: z.number().min(0).max(1).exactOptional(),
});
export type ExplainedCandidate = z.infer<typeof candidateSchema>;

// --- the version before: an array `notes` with other words; both are written for one version, and either is read ---

const AS = { tag: "tag", owner: "owner", candidate: "candidate", any: "load" } as const;
const FORMER_AS = { tag: "tag", owner: "owner", candidate: "candidate", load: "any" } as const;
const SAME = {
  unknown: "unknown",
  suspended: "suspended",
  draining: "draining",
  capped: "capped",
  moved: "moved",
} as const;
const STATUS = { fit: "available", suspect: "unhealthy", dead: "down", ...SAME } as const;
const FORMER_STATUS = {
  available: "fit",
  unhealthy: "suspect",
  down: "dead",
  late: "capped",
  ...SAME,
} as const;

const formerNoteSchema = z
  .object({
    worker: word.exactOptional(),
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
    chance: z.number().min(0).max(1).exactOptional(),
  })
  .transform(
    ({ as, verdict, ...rest }): ExplainedCandidate => ({
      ...rest,
      as: AS[as],
      status: STATUS[verdict],
    }),
  );

function formerNote({ as, status, ...rest }: ExplainedCandidate): unknown {
  return { ...rest, as: FORMER_AS[as], verdict: FORMER_STATUS[status] };
}

// --- the explanation ---

/** A worker as this balancer sees it now. */
const worker = z.object({
  id: word,
  /** Its own state: whether it accepts new sessions. */
  state: z.enum(["up", "suspended", "draining"]),
  ...healthFields,
  lastFailure: z.object({ reason: word, by: word, agoMs: count }).exactOptional(),
  /** Including those on their way to it. */
  sessions: count,
  connections: count,
  lagMs: count,
  weight: z.number().positive(),
  /** It has as many requests as it may have (`CT_MAX_REQUESTS_PER_WORKER`): the next one gets 503. */
  isFull: z.boolean(),
});

const connectionSchema = z.discriminatedUnion("over", [
  z.object({ over: z.literal("link") }),
  z.object({
    /** A connection of its own. */
    over: z.literal("own"),
    /**
     * `path`: requests of this path may have large bodies. `body`: it is over 64 KiB, or of unknown length. `connecting`:
     * there is no link now. `unsupported`: the worker accepts none. `off`: CT_LINK=off at the balancer.
     */
    why: z.enum(["path", "body", "connecting", "unsupported", "off"]),
  }),
]);
export type ExplainedConnection = z.infer<typeof connectionSchema>;

/** Whether WebSockets to the worker stay open when their session moves to another one. */
const moveSchema = z.discriminatedUnion("webSockets", [
  z.object({ webSockets: z.literal("stay open") }),
  z.object({
    webSockets: z.literal("reconnect"),
    /** The state of the balancer's links to it, as above. `version`: the worker is of another version. */
    why: z.enum(["connecting", "unsupported", "off", "version"]),
  }),
]);
export type ExplainedMove = z.infer<typeof moveSchema>;

const explanationSchema = z
  .object({
    /** The rule that decided (balancer/routing/session-key.ts). */
    rule: z.enum(["sid", "header", "path", "room", "token", "claim", "cookie", "none"]),
    /** Where it would go; undefined: no worker can take it. Without a key it is one of those that have a chance. */
    worker: word.exactOptional(),
    reason: z.enum(["tag", "record", "ring", "load", "nobody"]),
    /** Over what it would be sent to `worker`; missing without one, and in the version before. */
    connection: connectionSchema.exactOptional(),
    /** Of WebSockets that are opened now; missing without a worker, and in the version before. */
    move: moveSchema.exactOptional(),
    /** The session's owner in the balancer's cache. */
    remembered: z.object({ worker: word, epoch: count }).exactOptional(),
    /** The outcome of the look-up in the store; missing when the cached owner was enough. */
    found: z.enum(["found", "none", "late", "away"]).exactOptional(),
    /** The effect of a 421 that names the holder of the session: `replay`, or why not. */
    afterMisdirected: word.exactOptional(),
    candidates: z.array(candidateSchema).max(1000).exactOptional(),
    /** In the version before: `candidates`. */
    notes: z.array(formerNoteSchema).max(1000).exactOptional(),
    /** Number of workers that `candidates` omits. */
    more: count,
    workers: z.array(worker.transform(withStatus)).max(1000),
    ring: word,
    /** Probes are ignored: most workers fail only them. */
    isPanicking: z.boolean(),
    store: z.enum(["up", "away"]),
    /** The store has not been reached yet: the workers are those of the last snapshot. */
    isRecalled: z.boolean(),
  })
  .transform(({ candidates, notes, workers, ...rest }) => ({
    ...rest,
    candidates: candidates ?? notes ?? [],
    workers: workers.flatMap((one) => one ?? []),
  }));

export type Explanation = z.output<typeof explanationSchema>;

/** The detail of a balancer's answer, checked; undefined when it is invalid. */
export function parseExplanation(value: unknown): Explanation | undefined {
  return explanationSchema.safeParse(value).data;
}

/** As JSON that the version before reads too. */
export function writeExplanation(explanation: Explanation): unknown {
  return {
    ...explanation,
    workers: explanation.workers.map(withFormerHealth),
    notes: explanation.candidates.map(formerNote),
  };
}

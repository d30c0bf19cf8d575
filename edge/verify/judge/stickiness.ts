/** Judges whether requests with the same key reach the same worker, in whichever way they carry it. Pure. */
import type { WorkerTag } from "../../../shared/base/worker-tag.ts";
import { broken, held, unknown, type Verdict, type Verdicts } from "../model/finding.ts";
import { type HttpAnswer, headerValues } from "../model/observations.ts";
import { type KeyedHandshakes, STICKY_WAYS, type StickyWay } from "../probes/stickiness.ts";

const CARRIER: Readonly<Record<StickyWay, string>> = {
  header: "the header ctstickiness",
  cookie: "the header Cookie",
  room: "the header x-oct-jwt",
  path: "the path /k/KEY",
};

/** `page`: the response to /join/ROOM, which sets the cookie. `workers`: as the inside says; undefined: not known. */
export function judgeStickiness(
  all: readonly KeyedHandshakes[],
  page: HttpAnswer,
  workers: number | undefined,
): Verdicts {
  const tags = new Set(
    all.flatMap(({ tags: byWay }) => STICKY_WAYS.flatMap((way) => seen(byWay[way]))),
  );
  const disagreeing = STICKY_WAYS.filter((way) => all.some((one) => !isSteady(one.tags[way])));
  return Object.fromEntries(
    STICKY_WAYS.map((way) => [
      `sticky-${way}`,
      judgeWay(way, { all, tags, disagreeing, page, workers }),
    ]),
  );
}

function judgeWay(
  way: StickyWay,
  what: {
    readonly all: readonly KeyedHandshakes[];
    readonly tags: ReadonlySet<WorkerTag>;
    readonly disagreeing: readonly StickyWay[];
    readonly page: HttpAnswer;
    readonly workers: number | undefined;
  },
): Verdict {
  const { all, tags, disagreeing, page, workers } = what;
  const failed = all.filter((one) => one.tags[way].every((tag) => tag === undefined)).length;
  if (failed === all.length) {
    return unknown(
      "no handshake was accepted",
      "see the findings about WebSockets and long polling",
    );
  }
  if (way === "cookie") {
    const removed = judgeSetCookie(page);
    if (removed !== undefined) return removed;
  }
  if (disagreeing.length === STICKY_WAYS.length) {
    return broken(
      "the same key reaches different workers in every way: balancers route differently",
      "`ct-edge list` shows whether rings differ; all processes need the same version, secret and store",
    );
  }
  const wrong = all.filter((one) => {
    const expected = consensusOf(one);
    return one.tags[way].some((tag) => tag !== undefined && tag !== expected);
  });
  if (wrong.length > 0) {
    return broken(
      `${wrong.length} of ${all.length} keys lead to another worker than they should: ${CARRIER[way]} does not arrive`,
      way === "path"
        ? "let what is in front pass paths that begin with /k/ on unchanged"
        : `let what is in front pass ${CARRIER[way]} on unchanged`,
    );
  }
  if (tags.size > 1) return held(`${all.length} keys, ${tags.size} workers`);
  if (workers === 1) return held("there is one worker");
  return unknown(
    "all keys lead to one worker, so a lost key would not be noticed",
    workers === undefined
      ? "verify with a second worker; with --token or --redis it is known whether there is one"
      : `check why the other ${workers - 1} workers get nothing (\`ct-edge list\`)`,
  );
}

function judgeSetCookie(page: HttpAnswer): Verdict | undefined {
  if (page.outcome !== "response" || page.status !== 200) return undefined;
  const isThere = headerValues(page.headers, "set-cookie").some((cookie) =>
    cookie.startsWith("ctstickiness="),
  );
  if (isThere) return undefined;
  return broken(
    "the page of an invitation comes without the cookie ctstickiness",
    "let what is in front pass Set-Cookie on, and cache nothing",
  );
}

function seen(tags: readonly (WorkerTag | undefined)[]): WorkerTag[] {
  return tags.filter((tag) => tag !== undefined);
}

function isSteady(tags: readonly (WorkerTag | undefined)[]): boolean {
  return new Set(seen(tags)).size <= 1;
}

/** The worker that most of the handshakes with this key reached; the path, which nothing strips, decides ties. */
function consensusOf({ tags }: Pick<KeyedHandshakes, "tags">): WorkerTag | undefined {
  const votes = new Map<WorkerTag, number>();
  for (const way of STICKY_WAYS) {
    for (const tag of seen(tags[way])) {
      votes.set(tag, (votes.get(tag) ?? 0) + (way === "path" ? 1.5 : 1));
    }
  }
  return [...votes].sort(([, a], [, b]) => b - a)[0]?.[0];
}

/** A key for each worker that was seen. */
export function keyPerWorker(all: readonly KeyedHandshakes[]): ReadonlyMap<WorkerTag, string> {
  const keys = new Map<WorkerTag, string>();
  for (const one of all) {
    const tag = consensusOf(one);
    if (tag !== undefined && !keys.has(tag)) keys.set(tag, one.key);
  }
  return keys;
}

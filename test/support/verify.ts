/** Runs `verify` in this process against a URL. */
import { resolve } from "node:path";
import { withStore } from "../../edge/commands/with-store.ts";
import type { CheckId } from "../../edge/verify/model/checks.ts";
import { parseTarget } from "../../edge/verify/model/target.ts";
import type { Report } from "../../edge/verify/report.ts";
import { verify } from "../../edge/verify/run.ts";
import type { VerifyOptions } from "../../edge/verify/run-options.ts";
import { sessionIds } from "../../shared/cluster/read.ts";
import type { Cluster } from "./cluster.ts";
import { openStore } from "./redis.ts";

export interface VerifyInput {
  readonly url: string;
  /** Whose inside is looked at. */
  readonly redisUrl?: string;
  readonly token?: string;
  readonly ca?: string;
  readonly watchMs?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (text: string) => void;
}

export async function verifyUrl(input: VerifyInput): Promise<Report> {
  const target = parseTarget(input.url);
  if (target === undefined) throw new Error(`not a URL of an edge: ${input.url}`);
  return verify({
    target,
    ca: input.ca === undefined ? undefined : [input.ca],
    credentials: { userToken: undefined, apiKey: undefined },
    token: input.token,
    store: input.redisUrl === undefined ? undefined : storeAt(input.redisUrl),
    watchMs: input.watchMs ?? 0,
    drain: undefined,
    kill: undefined,
    signal: input.signal ?? new AbortController().signal,
    onProgress: input.onProgress ?? (() => {}),
  });
}

function storeAt(redisUrl: string): NonNullable<VerifyOptions["store"]> {
  const location = {
    redisUrl,
    redisCa: undefined,
    redisPrefix: "{ct}:",
    dataDir: resolve("no-such-folder"),
  };
  return {
    withStore: (use) => withStore(location, ({ store }) => use(store)),
    redis: { url: redisUrl, ca: undefined, prefix: location.redisPrefix },
  };
}

/** Ids of the promises that are broken, and, with `unknown`, of those that are not known. */
export function idsIn(report: Report, state: "broken" | "unknown"): CheckId[] {
  return report.findings.filter((finding) => finding.state === state).map(({ id }) => id);
}

/** Sessions that are not closed, and sign-ins that wait. Of closed sessions the edge itself keeps a trace for a while. */
export async function leftInStore({ redis }: Pick<Cluster, "redis">): Promise<readonly string[]> {
  const { store } = openStore(redis.url);
  try {
    const tickets = await redis.admin().keys("{ct}:ticket:login:*");
    return [...(await sessionIds(store)), ...tickets];
  } finally {
    await store.close();
  }
}

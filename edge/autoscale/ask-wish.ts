/**
 * Asks a process of the edge how many workers are wanted, for the one autoscaler of the edge: the store elects it, so that
 * two do not work against each other.
 */
import { fetch } from "undici";
import { z } from "zod";
import { RESOURCES } from "../../shared/autoscale/demand.ts";
import { describeError } from "../../shared/base/errors.ts";
import type { WorkerId } from "../../shared/base/ids.ts";
import { readMembers } from "../../shared/cluster/read.ts";
import type { Store } from "../../shared/store/store.ts";

const needs = z.number().nonnegative();
const wishSchema = z.object({
  wanted: z.number().int().min(1),
  by: z.enum(RESOURCES).nullable(),
  needs: z.object({ sessions: needs, connections: needs, cpu: needs, lag: needs }),
});

export const askedSchema = z.discriminatedUnion("outcome", [
  z.object({
    outcome: z.literal("wish"),
    wish: wishSchema,
    /** Ids of the workers that stay. */
    workers: z.array(z.string()),
  }),
  /** Nothing is to be changed, and why. */
  z.object({ outcome: z.literal("none"), why: z.string() }),
  /** Another autoscaler works for this edge. */
  z.object({ outcome: z.literal("standby") }),
]);
export type Asked = z.infer<typeof askedSchema>;

/** How many looks an autoscaler that has ended keeps others out. */
const LOOKS = 3;
const MIN_LEADS_MS = 5000;
const TIMEOUT_MS = 5000;

/** `token`: CT_AUTOSCALE_TOKEN. Rejects with `StoreAwayError`. */
export async function askWish(deps: {
  readonly store: Store;
  readonly holder: string;
  readonly statusUrl: string;
  readonly token: string | undefined;
  /** Time between two looks. */
  readonly periodMs: number;
}): Promise<Asked> {
  const { store, holder } = deps;
  const { membership } = await readMembers(store);
  if (!membership.booted) return { outcome: "none", why: "the store has just started" };
  const leadsMs = Math.max(MIN_LEADS_MS, LOOKS * deps.periodMs);
  const leads = await store.lead("autoscale", holder as WorkerId, leadsMs);
  if (leads === "following") return { outcome: "standby" };
  const workers = membership.members.flatMap((one) =>
    one.kind === "worker" && one.state !== "draining" ? [one.id] : [],
  );
  const wish = await readWish(deps.statusUrl, deps.token);
  return typeof wish === "string"
    ? { outcome: "none", why: wish }
    : { outcome: "wish", wish, workers };
}

/** The wish, or why there is none. */
async function readWish(
  statusUrl: string,
  token: string | undefined,
): Promise<z.infer<typeof wishSchema> | string> {
  try {
    const response = await fetch(`${statusUrl}/autoscale`, {
      headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    const body = await response.json();
    if (response.status === 200) {
      return wishSchema.safeParse(body).data ?? "the response has another form; use one version";
    }
    const { error } = z.object({ error: z.string() }).safeParse(body).data ?? {};
    return error ?? `${statusUrl}/autoscale responded with status ${response.status}`;
  } catch (error) {
    return `${statusUrl}/autoscale: ${describeError(causeOf(error))}`;
  }
}

/** The message of a failed fetch says nothing; its cause does. */
function causeOf(error: unknown): unknown {
  return error instanceof Error && error.cause instanceof Error ? error.cause : error;
}

/**
 * Asks a process of the edge how many workers are wanted, for the one autoscaler of the edge: the store elects it, so that
 * two do not work against each other.
 */
import { z } from "zod";
import { RESOURCES } from "../../shared/autoscale/demand.ts";
import type { WorkerId } from "../../shared/base/ids.ts";
import { readMembers } from "../../shared/cluster/read.ts";
import { askStatusPort, StatusPortError } from "../../shared/process/ask-status-port.ts";
import type { Store } from "../../shared/store/store.ts";
import { leadershipMs } from "./next-count.ts";

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
    /** Ids of the workers that take sessions, or keep theirs. */
    workers: z.array(z.string()),
  }),
  /** Nothing is to be changed, and why. */
  z.object({ outcome: z.literal("none"), why: z.string() }),
  /** Another autoscaler works for this edge. */
  z.object({ outcome: z.literal("standby") }),
]);
export type Asked = z.infer<typeof askedSchema>;

/** `token`: CT_AUTOSCALE_TOKEN. Rejects with `StoreAwayError`. */
export async function askWish(deps: {
  readonly store: Store;
  readonly holder: WorkerId;
  readonly statusUrl: string;
  readonly token: string | undefined;
  /** Time between two polls. */
  readonly periodMs: number;
}): Promise<Asked> {
  const { store, holder } = deps;
  const { membership } = await readMembers(store);
  if (!membership.booted) return { outcome: "none", why: "the store has just started" };
  const leads = await store.lead("autoscale", holder, leadershipMs(deps.periodMs));
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
    const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
    const { status, body } = await askStatusPort(`${statusUrl}/autoscale`, { headers });
    if (status === 200) {
      return wishSchema.safeParse(body).data ?? "the balancer has another version";
    }
    if (status === 401) return "set CT_AUTOSCALE_TOKEN to that of the edge";
    const { why } = z.object({ why: z.string() }).safeParse(body).data ?? {};
    return why ?? `the balancer responded with status ${status}`;
  } catch (error) {
    if (error instanceof StatusPortError) return error.message;
    throw error;
  }
}

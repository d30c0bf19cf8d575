/** Opens webhooks, if there are any (CT_WEBHOOKS). */
import type { Webhooks } from "../webhooks/webhooks.ts";
import type { WorkerOptions } from "./options.ts";
import type { WorkerProcess } from "./process.ts";
import type { Membership } from "./store-and-membership.ts";

/** Throws `SettingError`. */
export async function openWebhooks(
  { self, clock, log, counters, shutdown }: WorkerProcess,
  { store }: Pick<Membership, "store">,
  options: WorkerOptions["webhooks"],
): Promise<Webhooks | undefined> {
  if (options === undefined) return undefined;
  // With a parser of YAML and an HTTP client: only where there are webhooks.
  const { startWebhooks } = await import("../webhooks/webhooks.ts");
  return startWebhooks({ worker: self.id, store, clock, log, counters, shutdown }, options);
}

/** Opens what counts the sessions of this worker, and their people. */
import { createPersonHash, createRecentPeople } from "../usage/people.ts";
import { createSessionUsage } from "../usage/session-usage.ts";
import type { WorkerProcess } from "./process.ts";
import type { Membership } from "./store-and-membership.ts";

export type UsageParts = ReturnType<typeof openUsage>;

export function openUsage({ keyring, clock, log, shutdown }: WorkerProcess, { store }: Membership) {
  const hashOf = createPersonHash(keyring.people);
  const recentPeople = createRecentPeople({ hashOf, clock });
  const sessionUsage = createSessionUsage({ store, recentPeople, clock, log });
  shutdown.add("usage", () => sessionUsage.close());
  return { hashOf, recentPeople, sessionUsage };
}

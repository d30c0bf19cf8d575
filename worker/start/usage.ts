/** Opens what counts the sessions of this worker, and their people. */
import {
  createPersonHash,
  createRecentPeople,
  type PersonHash,
  type RecentPeople,
} from "../usage/people.ts";
import { createSessionUsage, type SessionUsageCounter } from "../usage/session-usage.ts";
import type { WorkerProcess } from "./process.ts";
import type { Membership } from "./store-and-membership.ts";

export interface UsageParts {
  readonly hashOf: PersonHash;
  readonly recentPeople: RecentPeople;
  readonly sessionUsage: SessionUsageCounter;
}

export function openUsage(
  { keyring, clock, log, shutdown }: WorkerProcess,
  { store }: Membership,
): UsageParts {
  const hashOf = createPersonHash(keyring.people);
  const recentPeople = createRecentPeople({ hashOf, clock });
  const sessionUsage = createSessionUsage({ store, recentPeople, clock, log });
  shutdown.add("usage", () => sessionUsage.close());
  return { hashOf, recentPeople, sessionUsage };
}

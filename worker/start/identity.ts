/** Opens what belongs to identity providers: asking them, and the end of the access that they gave. */
import { sleep } from "../../shared/base/clock.ts";
import type { LeaderElection } from "../../shared/membership/leader-election.ts";
import type { Activity } from "../activity/recorder.ts";
import type { Feed } from "../dashboard/feed.ts";
import { createOutboundFetch } from "../http/outbound-fetch.ts";
import { followEndedSignIns } from "../login/identity/ended-sign-ins.ts";
import { createProviderClient } from "../login/identity/provider-client.ts";
import { type Rechecks, startRechecks } from "../login/identity/rechecks.ts";
import { recordEndedSignIns } from "../login/identity/record-ended-sign-ins.ts";
import { createSignInRecords } from "../login/identity/sign-in-records.ts";
import type { WorkerOptions } from "./options.ts";
import type { WorkerProcess } from "./process.ts";
import type { SessionParts } from "./sessions.ts";
import type { Membership } from "./store-and-membership.ts";

/** Of the 1.7 s in which a worker stops: enough to write a refresh token that has just come. */
const SETTLE_MS = 500;

export type IdentityParts = ReturnType<typeof openIdentity>;

export function openIdentity(
  worker: WorkerProcess,
  { store }: Pick<Membership, "store">,
  { registry, tokens }: Pick<SessionParts, "registry" | "tokens">,
  activity: Pick<Activity, "record">,
  leadership: Pick<LeaderElection, "isLeading">,
  /** Of open dashboard pages. */
  feed: Pick<Feed, "endOf">,
  options: WorkerOptions["identity"],
) {
  const { keyring, clock, log, counters, shutdown } = worker;
  const fetch = createOutboundFetch(options.outbound);
  const providers = options.providers.map((provider) =>
    createProviderClient(provider, { fetch, clock }),
  );
  const { recheckMs } = options;
  const records = createSignInRecords({ store, keys: keyring.signIn, clock, recheckMs });
  let rechecks: Rechecks | undefined;
  // Added early, so that it closes late: while a provider is waited for, the traffic has ended and the lease is withdrawn.
  shutdown.add("sign-in checks under way", () =>
    Promise.race([rechecks?.settled(), sleep(clock, SETTLE_MS)]),
  );
  return {
    providers,
    records,
    operatorRoles: options.operatorRoles,
    operatorProvider: options.operatorProvider,
    /** Call it when the sessions are recovered. */
    startDuties(): void {
      if (providers.length === 0) return;
      const parts = { store, records, clock, log };
      const sessions = () => registry.sessions();
      const ended = followEndedSignIns({
        ...{ ...parts, sessions, tokens, counters },
        onEnded: (id) => feed.endOf(id),
      });
      shutdown.add("ended sign-ins", () => ended.close());
      // Also while nothing is recorded: what ends then must not be recorded later, with a wrong time.
      const recording = recordEndedSignIns({ ...parts, leadership, activity });
      shutdown.add("ends of sign-ins", () => recording.close());
      const { operatorRoles } = options;
      rechecks = startRechecks({
        ...{ ...parts, providers, counters, operatorRoles },
        settings: options,
      });
      shutdown.add("sign-in checks", () => rechecks?.close());
    },
  };
}

/** What the workers of tests have in common: their sessions and sockets, over a real embedded store. */
import { type Clock, systemClock } from "../../shared/base/clock.ts";
import { newIncarnation, type WorkerId } from "../../shared/base/ids.ts";
import { workerTag } from "../../shared/base/worker-tag.ts";
import { createRing, type Ring } from "../../shared/membership/ring.ts";
import { createCounters } from "../../shared/metrics/metrics.ts";
import { onlyKey } from "../../shared/settings/keyring.ts";
import { deriveKeys } from "../../shared/settings/secret.ts";
import type { Activity } from "../../worker/activity/recorder.ts";
import { createTokens } from "../../worker/login/tokens.ts";
import { createAccess } from "../../worker/policy/access.ts";
import { createRegistry } from "../../worker/sessions/registry.ts";
import { attachSockets } from "../../worker/sessions/transport/socket.ts";
import { createVersionCheck } from "../../worker/sessions/wire/protocol.ts";
import { NO_ACTIVITY, NO_USAGE } from "../support/activity.ts";
import { type StoreFixture, startStore } from "../support/embedded-store.ts";
import { silentLog } from "../support/logs.ts";

export const SECRET = "a secret for tests, and for tests only";
export const KEYS = deriveKeys(SECRET);

type RegistryDeps = Parameters<typeof createRegistry>[0];
type SocketsDeps = Parameters<typeof attachSockets>[0];

export const OPEN_FENCE: RegistryDeps["fence"] = {
  look: () => "open",
  hold() {},
};

export async function createWorkerParts(options: {
  readonly store?: StoreFixture | undefined;
  readonly id?: string | undefined;
  readonly clock?: Clock | undefined;
  readonly activity?: Activity | undefined;
  readonly policy?: Parameters<typeof createAccess>[0]["policy"];
  readonly settings: RegistryDeps["settings"] & SocketsDeps["settings"];
  /** Protocol versions whose messages are relayed; by default 0.3. */
  readonly protocolVersions?: readonly string[] | undefined;
  readonly ring?: (() => Ring) | undefined;
  readonly fence?: RegistryDeps["fence"];
  readonly owners?: RegistryDeps["owners"] | undefined;
  readonly handoverInbox: RegistryDeps["handoverInbox"];
  readonly resumeKey: Buffer;
}) {
  const { clock = systemClock, activity = NO_ACTIVITY, fence = OPEN_FENCE, settings } = options;
  const storeFixture = options.store ?? (await startStore(clock));
  const store = storeFixture.connect();
  const self = { id: (options.id ?? "worker-1") as WorkerId, incarnation: newIncarnation() };
  const ring = createRing([{ id: self.id, weight: 1 }], KEYS.ring);
  const parts = {
    store,
    clock,
    log: silentLog(),
    counters: createCounters(),
    tokens: createTokens({ keys: onlyKey(KEYS.token), clock, store }),
    tag: workerTag(self.id, self.incarnation),
    activity,
  };
  const registry = createRegistry({
    ...parts,
    usage: NO_USAGE,
    relayKeys: onlyKey(KEYS.relay),
    acceptsVersion: createVersionCheck(options.protocolVersions ?? ["0.3"]),
    settings,
    self,
    ring: options.ring ?? (() => ring),
    fence,
    owners: options.owners ?? { look: async () => ({ seen: "answers" }) },
    handoverInbox: options.handoverInbox,
  });
  const access = createAccess({ policy: options.policy, store, clock });
  const sockets = attachSockets({
    ...parts,
    registry,
    fence,
    access,
    resumeKeys: onlyKey(options.resumeKey),
    settings,
  });
  return { ...parts, storeFixture, self, registry, access, sockets };
}

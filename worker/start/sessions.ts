/** Opens the sessions of this worker: the fence, the owner probes, the registry, and the sockets of the peers. */
import { workerTag } from "../../shared/base/worker-tag.ts";
import type { MembershipView } from "../../shared/membership/view.ts";
import { onPeerExit } from "../../shared/process/program.ts";
import type { Activity } from "../activity/recorder.ts";
import { createOutageReports } from "../balancers/outage-reports.ts";
import { createTokens } from "../login/tokens.ts";
import type { Access } from "../policy/access.ts";
import { takeOverFrom } from "../session-moves/take-over.ts";
import { askedOncePerTurn, createFence } from "../sessions/fence.ts";
import { createOwnerProbe, createOwnerProbes } from "../sessions/owner-probe.ts";
import { createHandoverInbox } from "../sessions/pending-messages.ts";
import { createRegistry, type Registry } from "../sessions/registry.ts";
import type { UsageCounter } from "../sessions/session-usage.ts";
import { attachSockets } from "../sessions/transport/socket.ts";
import { createVersionCheck } from "../sessions/wire/protocol.ts";
import type { WorkerOptions } from "./options.ts";
import type { WorkerProcess } from "./process.ts";
import type { Membership } from "./store-and-membership.ts";

export type SessionParts = ReturnType<typeof openSessions>;

/** Nothing is recovered yet: see `Registry.recover`. */
export function openSessions(
  worker: WorkerProcess,
  { store, view }: Membership,
  access: Access,
  activity: Activity,
  usage: UsageCounter,
  settings: WorkerOptions["sessions"],
) {
  const { self, keyring, clock, log, counters } = worker;
  const outageReports = createOutageReports(clock);
  const fence = createFence({
    clock,
    isStoreAwayForAll: () => outageReports.isStoreAwayForAll,
    onShut: () => registry.fence(),
  });
  worker.shutdown.add("fence", () => fence.close());
  const owners = createOwnerProbes({
    clock,
    worker: (other) => view.worker(other),
    membersRead: () => (view.fresh ? undefined : nextChange(view)),
    probe: createOwnerProbe({
      self: self.id,
      edgeKeyFor: keyring.edgeKeyFor,
      storeHealth: () => store.health,
    }),
  });
  const tokens = createTokens({ keys: keyring.token, clock, store });
  const handoverInbox = createHandoverInbox({ clock });
  const registry: Registry = createRegistry({
    store,
    clock,
    log,
    counters,
    tokens,
    relayKeys: keyring.relay,
    settings,
    acceptsVersion: createVersionCheck(settings.protocolVersions),
    self,
    ring: () => view.ring,
    fence: askedOncePerTurn(fence),
    owners,
    handoverInbox,
    activity,
    usage,
  });
  onPeerExit((workerId) => {
    owners.noteExit(workerId);
    void takeOverFrom(workerId, { self: self.id, store, registry, view, log });
  });
  const tag = workerTag(self.id, self.incarnation);
  const sockets = attachSockets({
    registry,
    tokens,
    counters,
    log,
    clock,
    fence,
    access,
    activity,
    settings,
    tag,
    resumeKeys: keyring.edge,
  });
  return { outageReports, fence, tokens, handoverInbox, registry, sockets };
}

function nextChange(view: Pick<MembershipView, "onChange">): Promise<void> {
  return new Promise((resolve) => {
    const stop = view.onChange(() => {
      stop();
      resolve();
    });
  });
}

/**
 * This worker as a member of the edge: its record in the store with its lease, its status port, its status reports, the
 * commands that operators send it, and the sessions that the leader removes.
 */
import {
  type Autoscale,
  type AutoscaleSettings,
  startAutoscale,
} from "../../shared/autoscale/start.ts";
import { publishStatus } from "../../shared/cluster/status-reports.ts";
import type { CommandAnswer, EdgeCommand, Sender } from "../../shared/control/command.ts";
import { listenForCommands } from "../../shared/control/command-listener.ts";
import { createLease, type Lease } from "../../shared/membership/lease.ts";
import type { LoopLag } from "../../shared/metrics/loop-lag.ts";
import { openPort } from "../../shared/process/program.ts";
import { openStatusPort, type StatusSource } from "../../shared/process/status-port.ts";
import { VERSION } from "../../shared/process/version.ts";
import type { WorkerLoad } from "../../shared/store/member.ts";
import { reportUnlessAway } from "../../shared/store/unless-away.ts";
import { operatorParty } from "../activity/parties.ts";
import type { Activity } from "../activity/recorder.ts";
import { downscalePage } from "../session-moves/downscale-page.ts";
import { startRelief } from "../session-moves/relief.ts";
import { startReaper } from "../sessions/session-reaper.ts";
import { describeView, describeWorker, statusOf, type Vitals } from "../usage/status.ts";
import type { Webhooks } from "../webhooks/webhooks.ts";
import type { ActivityParts } from "./activity.ts";
import type { Addresses } from "./addresses.ts";
import type { DrainParts } from "./drain.ts";
import type { IdentityParts } from "./identity.ts";
import type { WorkerOptions } from "./options.ts";
import type { OperatorParts } from "./plugins-and-dashboard.ts";
import type { PolicyParts } from "./policy.ts";
import type { WorkerProcess } from "./process.ts";
import type { SessionParts } from "./sessions.ts";
import type { Membership } from "./store-and-membership.ts";

interface Deps {
  readonly membership: Membership;
  readonly sessions: Pick<SessionParts, "registry" | "fence" | "tokens">;
  readonly operators: Pick<OperatorParts, "measurements" | "leadership">;
  readonly policy: Pick<PolicyParts, "state" | "startDuties">;
  readonly webhooks: Webhooks | undefined;
  readonly activity: Pick<Activity, "record">;
  readonly auditState: ActivityParts["auditState"];
  readonly identity: IdentityParts;
  readonly addresses: Addresses;
  readonly drain: Pick<DrainParts, "commandHandler" | "hasSuccessor">;
  readonly waitingPolls: () => number;
  readonly restarts: number | undefined;
}

export async function openMember(
  worker: WorkerProcess,
  deps: Deps,
  { ports: { statusBind, statusPort }, scaling }: Pick<WorkerOptions, "ports" | "scaling">,
) {
  const autoscale = openAutoscale(worker, deps, scaling.autoscale);
  const pages = {
    "/autoscale": autoscale.page,
    ...openDownscalePage(worker, deps, scaling.prepareDownscale),
  };
  const vitals = describeVitals(worker, deps, { pages, wanted: autoscale.wanted });
  const status = await openPort("CT_STATUS_PORT", statusPort, () =>
    openStatusPort({ host: statusBind, port: statusPort, source: statusOf(vitals) }),
  );
  worker.shutdown.add("status", () => status.close());
  const lease = createWorkerLease(worker, deps, vitals);
  worker.shutdown.add("lease", () => lease.close());
  return {
    statusPort: status.port,
    /** On this worker's record; `start` announces it. */
    lease,
    /** Begins what a member does beside its sessions; call it when the record is announced. */
    startDuties: (): void => startDuties(worker, deps, scaling.rebalance),
  };
}

function openAutoscale(
  { clock, counters, shutdown }: WorkerProcess,
  { membership: { store, view } }: Deps,
  settings: AutoscaleSettings,
): Autoscale {
  const autoscale = startAutoscale({
    settings,
    clock,
    counters,
    workers: () => view.workers,
    balancers: () => view.balancers,
    unknownBecause() {
      if (store.health.state === "away") return `the store is away: ${store.health.reason}`;
      return view.settled ? undefined : "the members have not been read completely yet";
    },
  });
  shutdown.add("autoscale", () => autoscale.close());
  return autoscale;
}

function openDownscalePage(
  { self, clock, log }: WorkerProcess,
  { membership, sessions, drain }: Deps,
  allowed: WorkerOptions["scaling"]["prepareDownscale"],
): StatusSource["pages"] {
  if (allowed === "off") return {};
  const page = downscalePage({
    ...drain,
    async staysAnother() {
      const { members } = await membership.store.members();
      return members.some(
        (one) => one.kind === "worker" && one.state === "up" && one.id !== self.id,
      );
    },
    sessions: () => sessions.registry.load.sessions,
    isLocalOnly: allowed === "local",
    clock,
    log,
  });
  return { "/prepare-downscale": page };
}

function describeVitals(
  worker: WorkerProcess,
  deps: Deps,
  parts: Pick<Vitals, "pages" | "wanted">,
): Vitals {
  const { registry } = deps.sessions;
  const { measurements } = deps.operators;
  const { store, view, verification } = deps.membership;
  return {
    self: worker.self,
    known: () => worker.keyring.known,
    urls: () => deps.addresses.urls,
    refused: () => verification.refused,
    phase: () => worker.phase,
    store,
    ring: () => view.ring,
    state: () => deps.drain.commandHandler.state,
    load: () => ({ ...registry.load, ...loadOf(measurements.lag) }),
    ...parts,
    sessionIds: () => registry.sessionIds,
    waitingPolls: deps.waitingPolls,
    counters: worker.counters,
    // A scrape may wait for a heartbeat: it is repeated all the time.
    clusterSeries: measurements.deferredSeries,
  };
}

function loadOf({ meanMs, recent }: LoopLag): Pick<WorkerLoad, "lagMs" | "cpu"> {
  return { lagMs: meanMs, cpu: recent.cpu };
}

function createWorkerLease(worker: WorkerProcess, deps: Deps, vitals: Vitals): Lease {
  const { clock, log } = worker;
  const { registry, fence, tokens } = deps.sessions;
  return createLease({
    store: deps.membership.store,
    clock,
    log,
    describe: () => describeWorker(vitals),
    onHeartbeat(heartbeat) {
      if (!fence.noteHeartbeat(heartbeat)) return;
      deps.webhooks?.outbox.reassert();
      void registry.confirm();
      const { records } = deps.identity;
      // Those that have ended first: they are not restored.
      const written = tokens.reassertRevoked().then(() => records.reassert());
      // The heartbeat after the store's return writes them.
      written.catch(reportUnlessAway(log, "sign-ins could not be written to the store again"));
    },
    onReplaced: () => void worker.stop(1),
  });
}

function startDuties(
  worker: WorkerProcess,
  deps: Deps,
  rebalance: WorkerOptions["scaling"]["rebalance"],
): void {
  const { clock, log, shutdown } = worker;
  const { store } = deps.membership;
  const { registry } = deps.sessions;
  const { measurements, leadership } = deps.operators;
  const common = { store, clock, log, self: worker.self.id };
  const commands = listenForCommands({
    ...common,
    async handleCommand(command, by) {
      const answer = await deps.drain.commandHandler.handleCommand(command, by);
      recordCommand(deps.activity, command, by, answer);
      return answer;
    },
  });
  shutdown.add("commands", () => commands.close());
  const reports = publishStatus({
    ...common,
    store: store.deferred,
    describe: () =>
      describeView({
        registry,
        statsd: measurements.statsd,
        restarts: deps.restarts,
        policy: deps.policy.state(),
        webhooks: deps.webhooks?.state,
        audit: deps.auditState(),
      }),
  });
  shutdown.add("status reports", () => reports.close());
  deps.identity.startDuties();
  deps.policy.startDuties(() => registry.sessions());
  if (rebalance === "idle") {
    const { view } = deps.membership;
    const relief = startRelief({
      ...common,
      self: { id: worker.self.id, version: VERSION },
      random: Math.random,
      lag: measurements.lag,
      workers: () => view.workers,
      commandHandler: deps.drain.commandHandler,
    });
    shutdown.add("relief", () => relief.close());
  }
  const reaper = startReaper({ ...common, registry, leadership });
  shutdown.add("reaper", () => reaper.close());
}

/**
 * Idle sessions are moved by the edge itself too, which the sessions tell. A program of the version before does not say who it is, but
 * what it commands is recorded.
 */
function recordCommand(
  activity: Pick<Activity, "record">,
  command: EdgeCommand,
  by: Sender | undefined,
  { outcome }: CommandAnswer,
): void {
  if (by === undefined && command.kind === "migrate-idle") return;
  activity.record({
    ...{ kind: "operator.action", actor: operatorParty(by) },
    ...("sessionId" in command && { session: command.sessionId }),
    details: { action: command.kind, outcome },
  });
}

/** Opens the worker's public port: the HTTP API, the sockets, and the requests of balancers and other workers. */
import { workerTag } from "../../shared/base/worker-tag.ts";
import { openPort } from "../../shared/process/program.ts";
import type { Activity } from "../activity/recorder.ts";
import { createApi } from "../api/api.ts";
import { createBalancerAuth } from "../balancers/balancer-auth.ts";
import { createOrigins } from "../http/origins.ts";
import { basePathOf } from "../http/routes.ts";
import { createLicenseCheck } from "../login/license-check.ts";
import { createWorkerServer } from "../server/server.ts";
import type { CommandHandler } from "../session-moves/command-handler.ts";
import { createHandovers } from "../session-moves/handover.ts";
import type { Addresses } from "./addresses.ts";
import type { IdentityParts } from "./identity.ts";
import type { WorkerOptions } from "./options.ts";
import type { OperatorParts } from "./plugins-and-dashboard.ts";
import type { PolicyParts } from "./policy.ts";
import type { WorkerProcess } from "./process.ts";
import type { SessionParts } from "./sessions.ts";
import type { Membership } from "./store-and-membership.ts";

interface Deps {
  readonly membership: Membership;
  readonly policy: Pick<PolicyParts, "access">;
  readonly activity: Activity;
  readonly sessions: SessionParts;
  readonly operators: OperatorParts;
  readonly identity: IdentityParts;
  readonly addresses: Addresses;
  /** Its state decides whether handovers are accepted. */
  readonly commandHandler: Pick<CommandHandler, "state">;
}

/**
 * Opens the port, because the worker's record names it. Requests that arrive before the sessions are recovered are served: a
 * session that is asked for is resumed then.
 */
export async function startServer(
  worker: WorkerProcess,
  deps: Deps,
  options: Pick<WorkerOptions, "http" | "ports">,
) {
  const { membership, sessions, operators, addresses } = deps;
  const { self, keyring, clock, log, counters } = worker;
  const { store, view } = membership;
  const { registry, sockets, tokens, fence } = sessions;
  const { http, ports } = options;
  const origins = createOrigins({
    serverOrigin: http.serverUrl?.origin,
    allowedOrigins: http.corsAllowedOrigins,
  });
  const balancerAuth = createBalancerAuth({
    edgeKeys: keyring.edge,
    self,
    urlOf: (other) => (other === self.id ? addresses.urls.url : view.worker(other)?.url),
  });
  const connections = (): number =>
    view.workers
      .filter((other) => other.id !== self.id)
      .reduce((sum, { load }) => sum + load.connections, registry.load.connections);
  const api = await createApi({
    identityProviders: deps.identity.providers,
    signInRecords: deps.identity.records,
    operatorRoles: deps.identity.operatorRoles,
    operatorProvider: deps.identity.operatorProvider,
    nameOwner: balancerAuth.nameOwner,
    access: deps.policy.access,
    activity: deps.activity,
    store,
    tokens,
    registry,
    origins,
    credentials: operators.credentials,
    clients: operators.clients,
    metricsPage: http.hasMetricsPage ? operators.measurements.clusterPage : undefined,
    dashboard: operators.dashboard,
    clock,
    log,
    counters,
    settings: http.api,
    tag: workerTag(self.id, self.incarnation),
    license: createLicenseCheck({ found: operators.license, connections, clock }),
  });
  counters.gauge("worker.polls.waiting", () => api.waitingPolls);
  const server = createWorkerServer({
    api,
    sockets,
    registry,
    origins,
    balancerAuth,
    outageReports: sessions.outageReports,
    members: { edgeKeys: keyring.edge, view, store },
    fence,
    handovers: createHandovers({
      handoverInbox: sessions.handoverInbox,
      registry,
      isOpen: () => deps.commandHandler.state === "up",
    }),
    basePath: basePathOf(http.serverUrl),
    maxHeadBytes: http.maxHeadBytes,
    hasLinks: http.hasLinks,
    clock,
    log,
    counters,
  });
  const port = await openPort("CT_WORKER_PORT", ports.port, () =>
    server.listen(ports.port, ports.bind),
  );
  return {
    port,
    waitingPolls: () => api.waitingPolls,
    shortenPolls: (): void => api.shortenPolls(),
    async close(): Promise<void> {
      // Open dashboard pages reconnect to another worker.
      operators.dashboard.feed.close();
      const stopped = server.close();
      api.releasePolls();
      await registry.freeze();
      await sockets.close();
      await server.closeLinks();
      await registry.close();
      await stopped;
      await api.close();
    },
  };
}

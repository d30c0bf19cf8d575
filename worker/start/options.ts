/** The settings as the parts of a worker take them: each part's slice, with the defaults that depend on other settings. */
import { createHash } from "node:crypto";
import { hostname } from "node:os";
import { join, resolve } from "node:path";
import { auditFolder } from "../../shared/audit/files.ts";
import { AUTOSCALE_SETTINGS } from "../../shared/autoscale/start.ts";
import { isWorkerId, type WorkerId } from "../../shared/base/ids.ts";
import { defaultBind } from "../../shared/membership/worker-address.ts";
import { PUBLISHER_SETTINGS } from "../../shared/metrics/statsd/publisher.ts";
import { STATUS_PORT_DISTANCE } from "../../shared/net/ports.ts";
import { isStoreLocal, STORE_SETTINGS } from "../../shared/process/connect-store.ts";
import { required } from "../../shared/process/program.ts";
import {
  type IdentityProvider,
  identityProviders,
} from "../../shared/settings/identity-providers.ts";
import { checkSecrets } from "../../shared/settings/keyring.ts";
import { LICENSE_SETTINGS } from "../../shared/settings/license-file.ts";
import { CREDENTIAL_SETTINGS } from "../../shared/settings/operator-credentials.ts";
import { parseRoleGroups } from "../../shared/settings/operator-roles.ts";
import { parseOperatorTokens } from "../../shared/settings/operator-tokens.ts";
import {
  readNamedFile,
  SettingError,
  type Settings,
  slice,
} from "../../shared/settings/read-settings.ts";
import { parseSyslogTarget } from "../../shared/settings/syslog-target.ts";
import { API_SETTINGS } from "../api/api.ts";
import type { AuditOptions } from "../audit/audit.ts";
import { CLIENT_SETTINGS } from "../clients/clients.ts";
import { DASHBOARD_SETTINGS } from "../dashboard/dashboard.ts";
import { REGISTRY_SETTINGS } from "../sessions/registry.ts";
import { SOCKET_SETTINGS } from "../sessions/transport/socket.ts";
import type { WebhookOptions } from "../webhooks/webhooks.ts";

/** A port of 0: any free one. */
export type PortOptions = ReturnType<typeof readPorts>;

const MAX_PORT = 65_535;

export type WorkerOptions = ReturnType<typeof readOptions>;

/** Throws `SettingError`. */
export function readOptions(settings: Settings) {
  checkSecrets(settings);
  return {
    id: chooseId(settings.workerId),
    secret: required(settings.secret, "CT_SECRET", "worker"),
    secretPrevious: settings.secretPrevious,
    log: { level: settings.logLevel, format: settings.logFormat },
    /** Whether the store belongs to the `ct-edge` that started this worker. */
    isStoreEmbedded: settings.storeSocket !== undefined,
    store: slice(settings, STORE_SETTINGS),
    membership: slice(settings, ["workerNetworks"]),
    sessions: {
      ...slice(settings, [...REGISTRY_SETTINGS, ...SOCKET_SETTINGS]),
      protocolVersions: [settings.protocolVersion, ...settings.protocolAccepted],
    },
    license: slice(settings, LICENSE_SETTINGS),
    credentials: {
      ...slice(settings, CREDENTIAL_SETTINGS),
      tokens: parsed(parseOperatorTokens, settings.dashboardTokens) ?? [],
    },
    clients: slice(settings, CLIENT_SETTINGS),
    dashboard: slice(settings, DASHBOARD_SETTINGS),
    metrics: slice(settings, PUBLISHER_SETTINGS),
    identity: readIdentity(settings),
    /** Undefined: there is none. */
    policy: readPolicy(settings),
    /** Undefined: there are none. */
    webhooks: readWebhooks(settings),
    /** Undefined: there is none. */
    audit: readAudit(settings),
    http: {
      serverUrl: readServerUrl(settings.serverUrl),
      api: slice(settings, API_SETTINGS),
      corsAllowedOrigins: settings.corsAllowedOrigins,
      maxHeadBytes: settings.maxHeadBytes,
      hasMetricsPage: settings.prometheusEnabled,
      hasLinks: settings.link,
    },
    ports: readPorts(settings),
    drain: { delayMs: settings.drainDelayMs, timeoutMs: settings.drainTimeoutMs },
    scaling: {
      autoscale: slice(settings, AUTOSCALE_SETTINGS),
      ...slice(settings, ["prepareDownscale", "rebalance"]),
    },
    /** How often the supervisor has restarted this worker; undefined without one. */
    restarts: settings.restarts,
  };
}

/** Each worker keeps a copy of its own, of this file: several may share a folder. */
function readPolicy({ policy, dataDir, workerId }: Settings) {
  if (policy === undefined) return undefined;
  const file = createHash("sha256").update(resolve(policy)).digest("hex").slice(0, 8);
  return { path: policy, keptPath: join(dataDir, `policy-${chooseId(workerId)}-${file}`) };
}

function readWebhooks({ webhooks, webhookNetworks, proxy }: Settings): WebhookOptions | undefined {
  if (webhooks === undefined) return undefined;
  return { path: webhooks, networks: webhookNetworks, proxy };
}

function readAudit(settings: Settings): AuditOptions | undefined {
  if (!settings.audit) return undefined;
  const target = parsed(parseSyslogTarget, settings.auditSyslog);
  return {
    folder: auditFolder(settings),
    days: settings.auditDays,
    onFailure: settings.auditFailure,
    syslog: target && {
      target,
      authority: readAuthority("CT_AUDIT_SYSLOG_CA", settings.auditSyslogCa),
    },
  };
}

function readIdentity(settings: Settings) {
  const providers = readProviders(settings);
  const operatorRoles = parsed(parseRoleGroups, settings.dashboardGroups);
  return {
    providers,
    /** For requests to them. */
    outbound: { proxy: settings.proxy, authority: readAuthority("CT_OIDC_CA", settings.oidcCa) },
    recheckMs: settings.oidcRecheckMs,
    graceMs: settings.oidcGraceMs,
    /** Undefined: operators do not sign in at a provider. */
    operatorRoles,
    /** The provider of those roles. */
    operatorProvider: operatorRoles && chooseProvider(providers, settings.dashboardProvider),
  };
}

/** A group's name means something only at its own provider. */
function chooseProvider(
  providers: readonly IdentityProvider[],
  wanted: string | undefined,
): string {
  const [first, ...others] = providers.map(({ id }) => id);
  const known = [first, ...others].join(", ");
  if (first === undefined) {
    throw new SettingError(
      "CT_DASHBOARD_GROUPS needs an identity provider; set CT_OIDC_ISSUER too",
    );
  }
  if (wanted === undefined) {
    if (others.length === 0) return first;
    throw new SettingError(
      `CT_DASHBOARD_GROUPS needs CT_DASHBOARD_PROVIDER, because there are several: ${known}`,
    );
  }
  if (providers.some(({ id }) => id === wanted)) return wanted;
  throw new SettingError(`CT_DASHBOARD_PROVIDER is none of the identity providers: ${known}`);
}

/** The settings have checked it. */
function parsed<T>(parse: (text: string) => T | string, text: string | undefined): T | undefined {
  const value = text === undefined ? undefined : parse(text);
  if (typeof value === "string") throw new SettingError(value);
  return value;
}

function readProviders(settings: Settings): readonly IdentityProvider[] {
  const providers = identityProviders(settings);
  if (typeof providers === "string") throw new SettingError(providers);
  return providers;
}

function readAuthority(name: string, path: string | undefined): string | undefined {
  return path === undefined ? undefined : readNamedFile(name, path, "PEM file");
}

export function readPorts(settings: Settings) {
  const bind = defaultBind(isStoreLocal(settings));
  return {
    bind: settings.workerBind ?? bind,
    port: settings.workerPort,
    statusBind: settings.statusBind ?? bind,
    statusPort: settings.statusPort ?? defaultStatusPort(settings.workerPort),
    /** Where balancers reach this worker, when that is not the address of its port. */
    workerUrl: settings.workerUrl,
  };
}

function chooseId(workerId: string | undefined): WorkerId {
  const id = workerId ?? hostname();
  if (isWorkerId(id)) return id;
  throw new SettingError(
    `CT_WORKER_ID is not set, and the host name ${JSON.stringify(id)} is not a valid worker id; set CT_WORKER_ID to 1 to 64 of A-Z a-z 0-9 . _ -`,
  );
}

function readServerUrl(text: string | undefined): URL | undefined {
  if (text === undefined) return undefined;
  if (URL.canParse(text)) return new URL(text);
  throw new SettingError(
    `CT_SERVER_URL=${JSON.stringify(text)} is not allowed: its port is not a port number`,
  );
}

function defaultStatusPort(workerPort: number): number {
  const port = workerPort + STATUS_PORT_DISTANCE;
  return workerPort === 0 || port > MAX_PORT ? 0 : port;
}

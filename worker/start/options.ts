/** The settings as the parts of a worker take them: each part's slice, with the defaults that depend on other settings. */

import { createHash } from "node:crypto";
import { hostname } from "node:os";
import { join, resolve } from "node:path";
import { auditFolder } from "../../shared/audit/files.ts";
import type { AutoscaleSettings } from "../../shared/autoscale/start.ts";
import { describeError } from "../../shared/base/errors.ts";
import { isWorkerId, type WorkerId } from "../../shared/base/ids.ts";
import { defaultBind } from "../../shared/membership/worker-address.ts";
import type { PublisherSettings } from "../../shared/metrics/statsd/publisher.ts";
import { isStoreLocal } from "../../shared/process/connect-store.ts";
import { required } from "../../shared/process/program.ts";
import {
  type IdentityProvider,
  identityProviders,
} from "../../shared/settings/identity-providers.ts";
import { checkSecrets } from "../../shared/settings/keyring.ts";
import type { LicenseSettings } from "../../shared/settings/license-file.ts";
import type { CredentialSettings } from "../../shared/settings/operator-credentials.ts";
import { parseRoleGroups, type RoleGroups } from "../../shared/settings/operator-roles.ts";
import { type OperatorToken, parseOperatorTokens } from "../../shared/settings/operator-tokens.ts";
import { SettingError, type Settings } from "../../shared/settings/read-settings.ts";
import { parseSyslogTarget } from "../../shared/settings/syslog-target.ts";
import { readTextFile } from "../../shared/settings/text-file.ts";
import type { AuditOptions } from "../audit/audit.ts";
import type { WebhookOptions } from "../webhooks/webhooks.ts";

export interface WorkerOptions {
  readonly id: WorkerId;
  readonly secret: string;
  readonly secretPrevious: string | undefined;
  readonly log: Pick<Settings, "logLevel" | "logFormat">;
  /** Whether the store belongs to the `ct-edge` that started this worker. */
  readonly isStoreEmbedded: boolean;
  readonly store: Pick<Settings, "storeSocket" | "redisUrl" | "redisCa" | "redisPrefix">;
  readonly membership: Pick<Settings, "workerNetworks">;
  readonly sessions: Pick<
    Settings,
    | "maxSessionsPerUser"
    | "maxPeersPerSession"
    | "maxBufferBytes"
    | "maxMessageBytes"
    | "maxMessagesPerSecond"
    | "maxAdmissionsPerSecond"
  > & { readonly protocolVersions: readonly string[] };
  readonly license: LicenseSettings;
  readonly credentials: CredentialSettings & { readonly tokens: readonly OperatorToken[] };
  readonly clients: Pick<
    Settings,
    "noClients" | "clientsDir" | "dataDir" | "storeSocket" | "serverUrl"
  >;
  readonly dashboard: Pick<Settings, "logDir" | "storeSocket">;
  readonly metrics: PublisherSettings;
  readonly identity: {
    readonly providers: readonly IdentityProvider[];
    /** For requests to them. */
    readonly outbound: {
      readonly proxy: string | undefined;
      readonly authority: string | undefined;
    };
    readonly recheckMs: number;
    readonly graceMs: number;
    /** Undefined: operators do not sign in at a provider. */
    readonly operatorRoles: RoleGroups | undefined;
    /** The provider of those roles. */
    readonly operatorProvider: string | undefined;
  };
  /** Undefined: there is none. */
  readonly policy: { readonly path: string; readonly keptPath: string } | undefined;
  /** Undefined: there are none. */
  readonly webhooks: WebhookOptions | undefined;
  /** Undefined: there is none. */
  readonly audit: AuditOptions | undefined;
  readonly http: HttpOptions;
  readonly ports: PortOptions;
  readonly drain: { readonly delayMs: number; readonly timeoutMs: number };
  readonly scaling: {
    readonly autoscale: AutoscaleSettings;
    readonly prepareDownscale: Settings["prepareDownscale"];
    readonly rebalance: Settings["rebalance"];
  };
  /** How often the supervisor has restarted this worker; undefined without one. */
  readonly restarts: number | undefined;
}

export interface HttpOptions {
  readonly serverUrl: URL | undefined;
  readonly api: Pick<
    Settings,
    | "serverOwner"
    | "serverUrl"
    | "meetingUrl"
    | "loginSimple"
    | "loginApiKey"
    | "loginUnverifiedEmail"
    | "loginPageUrl"
    | "loginSuccessUrl"
    | "loginRedirects"
    | "protocolVersion"
  >;
  readonly corsAllowedOrigins: readonly string[];
  readonly maxHeadBytes: number;
  readonly hasMetricsPage: boolean;
  readonly hasLinks: boolean;
}

/** A port of 0: any free one. */
export type PortOptions = ReturnType<typeof readPorts>;

const STATUS_PORT_DISTANCE = 1000;
const MAX_PORT = 65_535;

/** Throws `SettingError`. */
export function readOptions(settings: Settings): WorkerOptions {
  checkSecrets(settings);
  return {
    id: chooseId(settings.workerId),
    secret: required(settings.secret, "CT_SECRET", "worker"),
    secretPrevious: settings.secretPrevious,
    log: pick(settings, "logLevel", "logFormat"),
    isStoreEmbedded: settings.storeSocket !== undefined,
    store: pick(settings, "storeSocket", "redisUrl", "redisCa", "redisPrefix"),
    membership: pick(settings, "workerNetworks"),
    sessions: {
      ...pick(settings, "maxSessionsPerUser", "maxPeersPerSession", "maxBufferBytes"),
      ...pick(settings, "maxMessageBytes", "maxMessagesPerSecond", "maxAdmissionsPerSecond"),
      protocolVersions: [settings.protocolVersion, ...settings.protocolAccepted],
    },
    license: {
      ...pick(settings, "licensee", "licenseMaxConnections", "licenseExpiration"),
      ...pick(settings, "licenseSignature", "licenseFile", "licensePublicKey"),
    },
    credentials: {
      ...pick(settings, "dashboardUser", "dashboardPassword", "logsUser", "logsPassword"),
      tokens: parsed(parseOperatorTokens, settings.dashboardTokens) ?? [],
    },
    clients: pick(settings, "noClients", "clientsDir", "dataDir", "storeSocket", "serverUrl"),
    dashboard: pick(settings, "logDir", "storeSocket"),
    metrics: {
      ...pick(settings, "metricsStatsdHost", "metricsStatsdPort", "metricsStatsdProtocol"),
      ...pick(settings, "metricsStatsdOptional", "metricsStatsdTags"),
      ...pick(settings, "metricsPrefix", "metricsIntervalMs"),
    },
    identity: readIdentity(settings),
    policy: readPolicy(settings),
    webhooks: readWebhooks(settings),
    audit: readAudit(settings),
    http: readHttp(settings),
    ports: readPorts(settings),
    drain: { delayMs: settings.drainDelayMs, timeoutMs: settings.drainTimeoutMs },
    scaling: {
      autoscale: {
        ...pick(settings, "autoscaleSessions", "autoscaleConnections", "autoscaleCpuPercent"),
        ...pick(settings, "autoscaleLagMs", "autoscaleHeadroomPercent"),
        ...pick(settings, "autoscaleUpMs", "autoscaleDownMs", "autoscaleToken"),
      },
      ...pick(settings, "prepareDownscale", "rebalance"),
    },
    restarts: settings.restarts,
  };
}

/** Each worker keeps a copy of its own, of this file: several may share a folder. */
function readPolicy({ policy, dataDir, workerId }: Settings): WorkerOptions["policy"] {
  if (policy === undefined) return undefined;
  const file = createHash("sha256").update(resolve(policy)).digest("hex").slice(0, 8);
  return { path: policy, keptPath: join(dataDir, `policy-${chooseId(workerId)}-${file}`) };
}

function readWebhooks({ webhooks, webhookNetworks, proxy }: Settings): WorkerOptions["webhooks"] {
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

function readHttp(settings: Settings): HttpOptions {
  return {
    serverUrl: readServerUrl(settings.serverUrl),
    api: {
      ...pick(settings, "serverOwner", "serverUrl", "meetingUrl", "protocolVersion"),
      ...pick(settings, "loginSimple", "loginApiKey", "loginUnverifiedEmail"),
      ...pick(settings, "loginPageUrl", "loginSuccessUrl", "loginRedirects"),
    },
    corsAllowedOrigins: settings.corsAllowedOrigins,
    maxHeadBytes: settings.maxHeadBytes,
    hasMetricsPage: settings.prometheusEnabled,
    hasLinks: settings.link,
  };
}

function readIdentity(settings: Settings): WorkerOptions["identity"] {
  const providers = readProviders(settings);
  const operatorRoles = parsed(parseRoleGroups, settings.dashboardGroups);
  return {
    providers,
    outbound: { proxy: settings.proxy, authority: readAuthority("CT_OIDC_CA", settings.oidcCa) },
    recheckMs: settings.oidcRecheckMs,
    graceMs: settings.oidcGraceMs,
    operatorRoles,
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
  if (path === undefined) return undefined;
  try {
    return readTextFile(path);
  } catch (error) {
    throw new SettingError(
      `${name}=${JSON.stringify(path)} cannot be read: ${describeError(error)}`,
    );
  }
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

function pick<Name extends keyof Settings>(
  settings: Settings,
  ...names: readonly Name[]
): Pick<Settings, Name> {
  // The loop fills in every name.
  return Object.fromEntries(names.map((name) => [name, settings[name]])) as Pick<Settings, Name>;
}

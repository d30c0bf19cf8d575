/**
 * The one schema of settings: each is declared here once, with its environment variable, flag, type, unit, default,
 * bounds and the reason why one would change it. `--help` and the README's table are generated from it. How values are
 * found and checked: read-settings.ts.
 */

import { WORKER_ADDRESS } from "../base/ids.ts";
import { parseApiKeys } from "./api-keys.ts";

/** The programs that read a setting. `command`: those of `ct-edge` that look into a running edge. */
export type Role = "edge" | "balancer" | "worker" | "command";

interface Common {
  readonly env: `CT_${string}`;
  /** One sentence: what it is and why one would change it. */
  readonly why: string;
  readonly roles: readonly Role[];
  /** Never shown in a log, a help text or an error. */
  readonly secret?: true;
}

export type Setting = Common &
  (
    | {
        readonly type: "text";
        readonly default: string | undefined;
        readonly pattern?: RegExp;
        readonly allowed?: string;
        /** What is wrong with a value that fits the pattern, without repeating any of it; undefined when nothing is. */
        readonly problemOf?: (value: string) => string | undefined;
      }
    | {
        readonly type: "number";
        readonly default: number | undefined;
        readonly min: number;
        readonly max: number;
        readonly unit?: "ms" | "bytes";
      }
    | { readonly type: "flag"; readonly default: boolean }
    | { readonly type: "choice"; readonly default: string; readonly choices: readonly string[] }
    /** Comma-separated. */
    | {
        readonly type: "list";
        readonly default: readonly string[];
        readonly pattern?: RegExp;
        readonly allowed?: string;
      }
  );

const ALL: readonly Role[] = ["edge", "balancer", "worker"];
const MAX_PORT = 65_535;
/** RFC 7617 §2: a colon would end the name. */
const USER_NAME = /^[^:\p{Cc}]{1,256}$/u;

export const SETTINGS = {
  // --- where to listen ---
  bind: {
    env: "CT_BIND",
    type: "text",
    default: undefined,
    roles: ["edge", "balancer"],
    why: "Address that the public ports listen on; 127.0.0.1 keeps a trial on this machine, 0.0.0.0 takes IPv4 only (default: ::, which takes IPv6 and IPv4, or 0.0.0.0 where IPv6 is off).",
  },
  port: {
    env: "CT_PORT",
    type: "number",
    default: 1080,
    min: 0,
    max: MAX_PORT,
    roles: ["edge", "balancer"],
    why: "Public HTTP port; 0 picks a free one.",
  },
  tlsPort: {
    env: "CT_TLS_PORT",
    type: "number",
    default: 1443,
    min: 0,
    max: MAX_PORT,
    roles: ["edge", "balancer"],
    why: "Public HTTPS port; 0 picks a free one.",
  },
  tlsCert: {
    env: "CT_TLS_CERT",
    type: "list",
    default: [],
    roles: ["edge", "balancer"],
    why: "PEM files, each with a certificate and its chain, chosen by the name a client asks for; the first is for all others. Loaded anew when they change. Without any `ct-edge` makes a self-signed one.",
  },
  tlsKey: {
    env: "CT_TLS_KEY",
    type: "list",
    default: [],
    roles: ["edge", "balancer"],
    why: "PEM files with the private keys of CT_TLS_CERT, in the same order.",
  },
  serverUrl: {
    env: "CT_SERVER_URL",
    type: "text",
    default: undefined,
    pattern: /^https:\/\/[A-Za-z0-9.-]+(:\d{1,5})?(\/[^?#\s]*)?$/,
    allowed: "an https URL with a host name, like https://edge.example.com",
    roles: ALL,
    why: "External HTTPS URL that clients are given; set it when the edge is behind another proxy.",
  },
  statusPort: {
    env: "CT_STATUS_PORT",
    type: "number",
    default: undefined,
    min: 0,
    max: MAX_PORT,
    roles: ALL,
    why: "Port for live, ready and the process's own view (default: balancer 1081, worker its port + 1000); 0 picks a free one.",
  },

  statusBind: {
    env: "CT_STATUS_BIND",
    type: "text",
    default: undefined,
    roles: ALL,
    why: "Address that the status port listens on; keep it off public networks (default: 127.0.0.1, and 0.0.0.0 with a Redis on another machine).",
  },

  // --- the edge on one machine ---
  workerCount: {
    env: "CT_WORKER_COUNT",
    type: "number",
    default: 2,
    min: 1,
    max: 64,
    roles: ["edge"],
    why: "Workers that the edge starts on this machine; more use more cores.",
  },
  workerPort: {
    env: "CT_WORKER_PORT",
    type: "number",
    default: 3001,
    min: 0,
    max: MAX_PORT,
    roles: ["edge", "worker"],
    why: "Port of the first worker, the next ones follow; 0 picks free ones.",
  },
  dataDir: {
    env: "CT_DATA_DIR",
    type: "text",
    default: ".edge",
    roles: [...ALL, "command"],
    why: "Folder for what must outlive a restart: the secret, the certificate, the journal of the embedded store, what a balancer knew last of its workers.",
  },
  storeSocket: {
    env: "CT_STORE_SOCKET",
    type: "text",
    default: undefined,
    roles: ["balancer", "worker"],
    why: "Unix socket of the embedded store; `ct-edge` gives it to the processes that it starts.",
  },

  // --- the store of many machines ---
  redisUrl: {
    env: "CT_REDIS_URL",
    type: "text",
    default: undefined,
    secret: true,
    roles: [...ALL, "command"],
    why: "Redis that balancers and workers of several machines share; with it several `ct-edge` form one edge; not used where CT_STORE_SOCKET is set.",
  },
  redisCa: {
    env: "CT_REDIS_CA",
    type: "text",
    default: undefined,
    roles: [...ALL, "command"],
    why: "PEM file with the authority of Redis's TLS certificate, when the system does not know it.",
  },
  redisPrefix: {
    env: "CT_REDIS_PREFIX",
    type: "text",
    default: "{ct}:",
    pattern: /^[A-Za-z0-9_.:-]{0,64}\{[A-Za-z0-9_.-]{1,64}\}[A-Za-z0-9_.:-]{0,64}$/,
    allowed: "a prefix with a part in braces, like {ct}:",
    roles: [...ALL, "command"],
    why: "Begins every key, so that several edges can share one Redis; the part in braces keeps an edge's keys on one node.",
  },

  // --- a worker ---
  workerId: {
    env: "CT_WORKER_ID",
    type: "text",
    default: undefined,
    pattern: /^[A-Za-z0-9._-]{1,64}$/,
    allowed: "1 to 64 of A-Z a-z 0-9 . _ -",
    roles: ["edge", "worker"],
    why: "Name of this worker, the same after a restart (default: the host name); it finds its sessions again by it. `ct-edge` with CT_REDIS_URL adds a number for each of its workers.",
  },
  workerUrl: {
    env: "CT_WORKER_URL",
    type: "text",
    default: undefined,
    pattern: /^http:\/\/[^/?#@\s]+$/,
    allowed: "http://host:port without a path",
    roles: ["worker"],
    why: "Where balancers reach this worker (default: the address it listens on, or that by which it reaches Redis).",
  },
  workerBind: {
    env: "CT_WORKER_BIND",
    type: "text",
    default: undefined,
    roles: ["edge", "worker"],
    why: "Address that the worker listens on; only balancers may reach it (default: 127.0.0.1, and 0.0.0.0 with a Redis on another machine).",
  },
  workers: {
    env: "CT_WORKERS",
    type: "list",
    default: [],
    pattern: WORKER_ADDRESS,
    allowed: "host:port,host:port",
    roles: ["balancer"],
    why: "Fixed list of workers for a balancer without a store; they may be any HTTP servers, and are probed.",
  },
  workerNetworks: {
    env: "CT_WORKER_NETWORKS",
    type: "list",
    default: [],
    pattern: /^[0-9A-Fa-f:.]+(\/\d{1,3})?$|^\.?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$/,
    allowed: "addresses or ranges like 10.0.0.0/8, names like worker-1.example.com or .workers.svc",
    roles: ALL,
    why: "Where workers may be, the same in every process: records with other addresses are ignored (default: private networks, and loopback when the store is on this machine).",
  },

  // --- who may use it ---
  secret: {
    env: "CT_SECRET",
    type: "text",
    default: undefined,
    secret: true,
    pattern: /^.{32,1024}$/s,
    allowed: "at least 32 characters, for example from `openssl rand -base64 48`",
    roles: ALL,
    why: "Signs tokens and proves balancers to workers; the same in every process. `ct-edge` without CT_REDIS_URL makes and keeps one.",
  },
  loginSimple: {
    env: "CT_LOGIN_SIMPLE",
    type: "flag",
    default: false,
    roles: ["edge", "worker"],
    why: "Lets people sign in by just saying their name (on in the one-machine start); turn it off outside a trusted network.",
  },
  loginApiKey: {
    env: "CT_LOGIN_API_KEY",
    type: "text",
    default: undefined,
    secret: true,
    problemOf(value): string | undefined {
      const keys = parseApiKeys(value);
      return typeof keys === "string" ? keys : undefined;
    },
    roles: ["edge", "worker"],
    why: "Lets programs sign in with this key, or with one of several, `name:key,name:key`: hosts see the name.",
  },
  loginUnverifiedEmail: {
    env: "CT_LOGIN_UNVERIFIED_EMAIL",
    type: "choice",
    default: "drop",
    choices: ["drop", "keep"],
    roles: ["edge", "worker"],
    why: "Whether hosts see the email that people type when they sign in by name; VS Code's `oct.joinAcceptMode=allowlist` lets in by it, unchecked.",
  },
  protocolVersion: {
    env: "CT_PROTOCOL_VERSION",
    type: "text",
    default: "0.3.1",
    pattern: /^(0|[1-9]\d{0,4})(\.(0|[1-9]\d{0,4})){2}$/,
    allowed: "three numbers like 0.3.1",
    roles: ["edge", "worker"],
    why: "Version of the protocol that /api/meta tells; clients of another minor version (from 1 on: major version) refuse to connect, so raise it together with them.",
  },
  protocolAccepted: {
    env: "CT_PROTOCOL_ACCEPTED",
    type: "list",
    default: ["0.3"],
    pattern: /^(0\.(0|[1-9]\d{0,4})|[1-9]\d{0,4})$/,
    allowed: "minor versions like 0.3,0.4 and, from 1 on, major versions like 1",
    roles: ["edge", "worker"],
    why: "Versions of the protocol whose messages are relayed, beside that of CT_PROTOCOL_VERSION; what others send is dropped.",
  },
  serverOwner: {
    env: "CT_SERVER_OWNER",
    type: "text",
    default: "Unknown",
    roles: ["edge", "worker"],
    why: "Name of who runs this server, shown to clients.",
  },
  clientsDir: {
    env: "CT_CLIENTS_DIR",
    type: "text",
    default: undefined,
    roles: ["edge", "worker", "command"],
    why: "Folder with the IDE plugins that /clients offers: vscode/*.vsix, intellij/*.zip, eclipse/ (default: clients/ in CT_DATA_DIR).",
  },
  noClients: {
    env: "CT_NOCLIENTS",
    type: "flag",
    default: false,
    roles: ["edge", "worker"],
    why: "Turns /clients off.",
  },
  dashboardUser: {
    env: "CT_DASHBOARD_USER",
    type: "text",
    default: undefined,
    pattern: USER_NAME,
    allowed: "a name without a colon",
    roles: ["edge", "worker"],
    why: "Who may see the dashboard and the statistics, together with CT_DASHBOARD_PASSWORD (default: ctuser, with a password that is made once and written to server.log).",
  },
  dashboardPassword: {
    env: "CT_DASHBOARD_PASSWORD",
    type: "text",
    default: undefined,
    secret: true,
    roles: ["edge", "worker"],
    why: "Password of CT_DASHBOARD_USER; counts only when both are set.",
  },
  logsUser: {
    env: "CT_LOGS_USER",
    type: "text",
    default: undefined,
    pattern: USER_NAME,
    allowed: "a name without a colon",
    roles: ["edge", "worker"],
    why: "Older name of CT_DASHBOARD_USER, used when that or its password is not set.",
  },
  logsPassword: {
    env: "CT_LOGS_PASSWORD",
    type: "text",
    default: undefined,
    secret: true,
    roles: ["edge", "worker"],
    why: "Password of CT_LOGS_USER; counts only when both are set.",
  },
  corsAllowedOrigins: {
    env: "CT_CORS_ALLOWED_ORIGINS",
    type: "list",
    default: [],
    pattern: /^https?:\/\/[^/?#@\s]+$/,
    allowed: "origins like https://ide.example.com",
    roles: ["edge", "worker"],
    why: "Web origins that may use cookies here; any origin may use the server without them.",
  },
  maxSessionsPerUser: {
    env: "CT_MAX_SESSIONS_PER_USER",
    type: "number",
    default: 20,
    min: 1,
    max: 100_000,
    roles: ["edge", "worker"],
    why: "Open sessions of one user; one more is refused.",
  },
  maxPeersPerSession: {
    env: "CT_MAX_PEERS_PER_SESSION",
    type: "number",
    default: 50,
    min: 2,
    max: 10_000,
    roles: ["edge", "worker"],
    why: "People in one session; one more is refused.",
  },
  maxMessageBytes: {
    env: "CT_MAX_MESSAGE_BYTES",
    type: "number",
    default: 16 * 1024 * 1024,
    min: 65_536,
    max: 256 * 1024 * 1024,
    unit: "bytes",
    roles: ["edge", "worker"],
    why: "Largest message of a client; a file that is opened must fit into one.",
  },
  maxBufferBytes: {
    env: "CT_MAX_BUFFER_BYTES",
    type: "number",
    default: 32 * 1024 * 1024,
    min: 65_536,
    max: 1024 * 1024 * 1024,
    unit: "bytes",
    roles: ["edge", "worker"],
    why: "Bytes kept for one peer that is away or reads too slowly.",
  },
  maxMessagesPerSecond: {
    env: "CT_MAX_MESSAGES_PER_SECOND",
    type: "number",
    default: 500,
    min: 10,
    max: 1_000_000,
    roles: ["edge", "worker"],
    why: "Messages that one client may send per second on average; a flood beyond it is slowed down.",
  },
  maxAdmissionsPerSecond: {
    env: "CT_MAX_ADMISSIONS_PER_SECOND",
    type: "number",
    default: 400,
    min: 1,
    max: 1_000_000,
    roles: ["edge", "worker"],
    why: "People whom a worker lets into sessions per second; when more come back at once, they wait in line, for 10 s at most.",
  },

  // --- the balancer's limits ---
  trustedProxies: {
    env: "CT_TRUSTED_PROXIES",
    type: "list",
    default: [],
    pattern: /^[0-9A-Fa-f:.]+(\/\d{1,3})?$/,
    allowed: "addresses or ranges like 10.0.0.0/8",
    roles: ["edge", "balancer"],
    why: "Proxies in front of the edge whose X-Forwarded-*, Forwarded and X-Real-IP fields are believed, in this order; none by default.",
  },
  maxConnections: {
    env: "CT_MAX_CONNECTIONS",
    type: "number",
    default: undefined,
    min: 1,
    max: 1_000_000,
    roles: ["edge", "balancer"],
    why: "Open connections of clients; more get 503 (default: 20000, or as many as the process may have descriptors for, two each).",
  },
  maxRequestsPerWorker: {
    env: "CT_MAX_REQUESTS_PER_WORKER",
    type: "number",
    default: 2000,
    min: 1,
    max: 1_000_000,
    roles: ["edge", "balancer"],
    why: "Requests that one worker may have at a time, tunnels not counted; more get 503 with Retry-After. Each person who signs in waits in one. Requests that continue an open connection by polling may be twice as many.",
  },
  maxHeadBytes: {
    env: "CT_MAX_HEAD_BYTES",
    type: "number",
    default: 32_768,
    min: 4096,
    max: 1024 * 1024,
    unit: "bytes",
    roles: ALL,
    why: "Head of a request; a larger one gets 431. The same for balancers and workers; raise it only for clients with very large cookies.",
  },
  maxTargetBytes: {
    env: "CT_MAX_TARGET_BYTES",
    type: "number",
    default: 8192,
    min: 1024,
    max: 512 * 1024,
    unit: "bytes",
    roles: ["edge", "balancer"],
    why: "Path and query of a request; a longer one gets 414.",
  },
  maxFields: {
    env: "CT_MAX_FIELDS",
    type: "number",
    default: 200,
    min: 16,
    max: 10_000,
    roles: ["edge", "balancer"],
    why: "Header fields of a request; more get 431.",
  },
  maxChunkExtensionBytes: {
    env: "CT_MAX_CHUNK_EXTENSION_BYTES",
    type: "number",
    default: 16_384,
    min: 0,
    max: 1024 * 1024,
    unit: "bytes",
    roles: ["edge", "balancer"],
    why: "Extensions of all chunks of one request together; more get 400. Nothing needs them.",
  },
  maxTrailerBytes: {
    env: "CT_MAX_TRAILER_BYTES",
    type: "number",
    default: 8192,
    min: 0,
    max: 1024 * 1024,
    unit: "bytes",
    roles: ["edge", "balancer"],
    why: "Trailer section of a request; a longer one gets 400.",
  },
  connectTimeoutMs: {
    env: "CT_CONNECT_TIMEOUT_MS",
    type: "number",
    default: 1000,
    min: 50,
    max: 60_000,
    unit: "ms",
    roles: ["edge", "balancer"],
    why: "Time for a worker to accept a connection, before another one is tried.",
  },
  upstreamTimeoutMs: {
    env: "CT_UPSTREAM_TIMEOUT_MS",
    type: "number",
    default: 60_000,
    min: 100,
    max: 3_600_000,
    unit: "ms",
    roles: ["edge", "balancer"],
    why: "Time for a worker to begin or go on with an answer; long polls need more than 30 s.",
  },
  headerTimeoutMs: {
    env: "CT_HEADER_TIMEOUT_MS",
    type: "number",
    default: 10_000,
    min: 100,
    max: 600_000,
    unit: "ms",
    roles: ["edge", "balancer"],
    why: "Time for a client to send the head of a request; bounds how long a slow attacker holds a connection.",
  },
  bodyTimeoutMs: {
    env: "CT_BODY_TIMEOUT_MS",
    type: "number",
    default: 30_000,
    min: 100,
    max: 3_600_000,
    unit: "ms",
    roles: ["edge", "balancer"],
    why: "Longest pause of a client within the body of a request, or in taking an answer.",
  },
  keepaliveTimeoutMs: {
    env: "CT_KEEPALIVE_TIMEOUT_MS",
    type: "number",
    default: 65_000,
    min: 100,
    max: 7_200_000,
    unit: "ms",
    roles: ["edge", "balancer"],
    why: "How long a client's connection stays open between two requests.",
  },
  tlsHandshakeTimeoutMs: {
    env: "CT_TLS_HANDSHAKE_TIMEOUT_MS",
    type: "number",
    default: 10_000,
    min: 100,
    max: 600_000,
    unit: "ms",
    roles: ["edge", "balancer"],
    why: "Time for a client to finish the TLS handshake.",
  },

  // --- leaving ---
  drainDelayMs: {
    env: "CT_DRAIN_DELAY_MS",
    type: "number",
    default: 1000,
    min: 0,
    max: 600_000,
    unit: "ms",
    roles: ["edge", "balancer", "worker"],
    why: "Before a worker hands its sessions over, or a balancer accepts nothing more: those who send clients there have so long to see that it wants none.",
  },
  drainTimeoutMs: {
    env: "CT_DRAIN_TIMEOUT_MS",
    type: "number",
    default: 60_000,
    min: 0,
    max: 86_400_000,
    unit: "ms",
    roles: ["edge", "balancer", "worker"],
    why: "Time for a worker that is stopped to hand its sessions over (what is left then is taken over by others), and for a balancer to answer what was asked and to end connections.",
  },

  // --- logs ---
  logDir: {
    env: "CT_LOG_DIR",
    type: "text",
    default: undefined,
    roles: ALL,
    why: "Folder for server.log of `ct-edge` (there by default: logs/ in CT_DATA_DIR) and for access.log and error.log of a balancer, which alone writes none unless this is set.",
  },
  logMaxBytes: {
    env: "CT_LOG_MAX_BYTES",
    type: "number",
    default: 50 * 1024 * 1024,
    min: 65_536,
    max: 1024 * 1024 * 1024 * 1024,
    unit: "bytes",
    roles: ["edge", "balancer"],
    why: "Size of a log file at which a new one is begun, as it is at midnight; server.log becomes server.log.1, and so on.",
  },
  logMaxFiles: {
    env: "CT_LOG_MAX_FILES",
    type: "number",
    default: 14,
    min: 0,
    max: 1000,
    roles: ["edge", "balancer"],
    why: "Files of each log that are kept, of CT_LOG_MAX_BYTES at most each; 0 rotates and deletes none, for machines where logrotate does it and sends SIGHUP.",
  },
  logLevel: {
    env: "CT_LOG_LEVEL",
    type: "choice",
    default: "info",
    choices: ["debug", "info", "warn", "error"],
    roles: ALL,
    why: "Least severe lines that are logged.",
  },
  logFormat: {
    env: "CT_LOG_FORMAT",
    type: "choice",
    default: "text",
    choices: ["text", "json"],
    roles: ALL,
    why: "Lines for people or for programs.",
  },

  // --- metrics ---
  prometheusEnabled: {
    env: "CT_PROMETHEUS_ENABLED",
    type: "flag",
    default: false,
    roles: ["edge", "worker"],
    why: "Shows the cluster's metrics at /metrics on the public ports too, to operators (CT_DASHBOARD_*); status ports always show theirs.",
  },
  metricsStatsdHost: {
    env: "CT_METRICS_STATSD_HOST",
    type: "text",
    default: undefined,
    pattern: /^[A-Za-z0-9._:-]{1,253}$/,
    allowed: "a host name or an address",
    roles: ALL,
    why: "StatsD host that metrics are sent to; without it none are sent.",
  },
  metricsStatsdPort: {
    env: "CT_METRICS_STATSD_PORT",
    type: "number",
    default: 8125,
    min: 1,
    max: MAX_PORT,
    roles: ALL,
    why: "Port of StatsD.",
  },
  metricsStatsdProtocol: {
    env: "CT_METRICS_STATSD_PROTOCOL",
    type: "choice",
    default: "udp",
    choices: ["udp", "tcp"],
    roles: ALL,
    why: "How StatsD is reached; tcp tells when it is not.",
  },
  metricsStatsdOptional: {
    env: "CT_METRICS_STATSD_OPTIONAL",
    type: "flag",
    default: false,
    roles: ALL,
    why: "Nothing is said while StatsD cannot be reached, for one that is not always started; what is measured arrives once it is.",
  },
  metricsStatsdTags: {
    env: "CT_METRICS_STATSD_TAGS",
    type: "choice",
    default: "none",
    choices: ["none", "dogstatsd", "graphite"],
    roles: ALL,
    why: "Sends who and what a series is of as tags, for sinks that know them, instead of as parts of its name.",
  },
  metricsPrefix: {
    env: "CT_METRICS_PREFIX",
    type: "text",
    default: "codetogether",
    pattern: /^(?=.{1,100}$)[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$/,
    allowed: "letters, digits, _ and - with dots between, like edge.berlin",
    roles: ALL,
    why: "Begins every name that is sent to StatsD; tells several edges apart.",
  },
  metricsIntervalMs: {
    env: "CT_METRICS_INTERVAL_MS",
    type: "number",
    default: 10_000,
    min: 100,
    max: 3_600_000,
    unit: "ms",
    roles: ALL,
    why: "How often metrics are sent to StatsD; as often as it flushes.",
  },

  // --- the licence ---
  licensee: {
    env: "CT_LICENSEE",
    type: "text",
    default: undefined,
    roles: ["edge", "worker"],
    why: "Who has the licence; with CT_MAXCONNECTIONS, CT_EXPIRATION and CT_SIGNATURE as its issuer wrote them. Without any of the four nothing is limited.",
  },
  licenseMaxConnections: {
    env: "CT_MAXCONNECTIONS",
    type: "text",
    default: undefined,
    roles: ["edge", "worker"],
    why: "People in sessions at the same time that the licence allows; more sessions are refused then (not CT_MAX_CONNECTIONS, which limits sockets).",
  },
  licenseExpiration: {
    env: "CT_EXPIRATION",
    type: "text",
    default: undefined,
    roles: ["edge", "worker"],
    why: "Last day of the licence, like 2027/12/31 (UTC).",
  },
  licenseSignature: {
    env: "CT_SIGNATURE",
    type: "text",
    default: undefined,
    roles: ["edge", "worker"],
    why: "The issuer's signature of the licence.",
  },
  licenseFile: {
    env: "CT_LICENSE_FILE",
    type: "text",
    default: undefined,
    roles: ["edge", "worker"],
    why: "File with the licence, used where the four variables are not set (default: /opt/codetogether/licensing.properties, if there is one).",
  },
  licensePublicKey: {
    env: "CT_LICENSE_PUBLIC_KEY",
    type: "text",
    default: undefined,
    roles: ["edge", "worker"],
    why: "The issuer's Ed25519 public key, PEM or base64 of its DER form; a licence that it did not sign is not valid.",
  },
} as const satisfies Record<string, Setting>;

export type SettingName = keyof typeof SETTINGS;

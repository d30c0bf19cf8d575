/**
 * Settings of the deployment: the ports that a process opens, the store that it uses, where workers are.
 */

import { WORKER_ADDRESS } from "../base/ids.ts";
import { ALL_PROCESSES, MAX_PORT, type Setting } from "./setting.ts";

const MAX_PROCESSES = 64;

export const DEPLOYMENT_SETTINGS = {
  // --- listening ---
  bind: {
    env: "CT_BIND",
    type: "text",
    default: undefined,
    roles: ["edge", "balancer"],
    why: "Address that the public ports listen on; 127.0.0.1 keeps a trial on this machine, 0.0.0.0 is IPv4 only (default: ::, which is IPv6 and IPv4, or 0.0.0.0 where IPv6 is off).",
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
    why: "PEM files, each with a certificate and its chain; the name that a client asks for selects one, the first is used for all other names. Reloaded when they change. Without any, `ct-edge` creates a self-signed certificate.",
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
    roles: ALL_PROCESSES,
    why: "External HTTPS URL that clients are given; set it when the edge is behind another proxy. With it, /clients offers an extension that sets this URL in VS Code.",
  },
  statusPort: {
    env: "CT_STATUS_PORT",
    type: "number",
    default: undefined,
    min: 0,
    max: MAX_PORT,
    roles: ALL_PROCESSES,
    why: "Port for health checks (live, ready), the process's own view and its metrics (default: balancer 1081, worker its port + 1000); 0 picks a free one.",
  },

  statusBind: {
    env: "CT_STATUS_BIND",
    type: "text",
    default: undefined,
    roles: [...ALL_PROCESSES, "command"],
    why: "Address that the status port listens on; keep it off public networks (default: 127.0.0.1, and 0.0.0.0 with a Redis on another machine).",
  },

  // --- several processes ---
  processes: {
    env: "CT_PROCESSES",
    type: "number",
    default: 1,
    min: 1,
    max: MAX_PROCESSES,
    roles: ["balancer"],
    why: "Independent processes of this balancer that share its public ports, for more cores and more connections; each has a status port of its own: the next one's is the next number.",
  },
  processNumber: {
    env: "CT_PROCESS_NUMBER",
    type: "number",
    default: undefined,
    min: 1,
    max: MAX_PROCESSES,
    internal: true,
    roles: ["balancer"],
    why: "Which of the CT_PROCESSES this one is.",
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
    roles: [...ALL_PROCESSES, "command"],
    why: "Folder for what must survive a restart: the secret, the certificate, the journal of the embedded store, a balancer's last view of its workers.",
  },
  storeSocket: {
    env: "CT_STORE_SOCKET",
    type: "text",
    default: undefined,
    roles: ["balancer", "worker"],
    why: "Unix socket of the embedded store; `ct-edge` passes it to the processes that it starts.",
  },
  restarts: {
    env: "CT_RESTARTS",
    type: "number",
    default: undefined,
    min: 0,
    max: Number.MAX_SAFE_INTEGER,
    internal: true,
    roles: ["worker"],
    why: "How often `ct-edge` has restarted this process after an unexpected end.",
  },

  // --- the store shared by several machines ---
  redisUrl: {
    env: "CT_REDIS_URL",
    type: "text",
    default: undefined,
    secret: true,
    roles: [...ALL_PROCESSES, "command"],
    why: "Redis shared by the balancers and workers of several machines; with it several `ct-edge` form one edge. Ignored where CT_STORE_SOCKET is set.",
  },
  redisCa: {
    env: "CT_REDIS_CA",
    type: "text",
    default: undefined,
    roles: [...ALL_PROCESSES, "command"],
    why: "PEM file with the authority of Redis's TLS certificate, when the system does not trust it already.",
  },
  redisPrefix: {
    env: "CT_REDIS_PREFIX",
    type: "text",
    default: "{ct}:",
    pattern: /^[A-Za-z0-9_.:-]{0,64}\{[A-Za-z0-9_.-]{1,64}\}[A-Za-z0-9_.:-]{0,64}$/,
    allowed: "a prefix with a part in braces, like {ct}:",
    roles: [...ALL_PROCESSES, "command"],
    why: "Prefix of every key, so that several edges can share one Redis; the part in braces keeps an edge's keys on one node of a Redis cluster.",
  },

  // --- workers ---
  workerId: {
    env: "CT_WORKER_ID",
    type: "text",
    default: undefined,
    pattern: /^[A-Za-z0-9._-]{1,64}$/,
    allowed: "1 to 64 of A-Z a-z 0-9 . _ -",
    roles: ["edge", "worker"],
    why: "Name of this worker, which must stay the same after a restart: the worker finds its sessions by it (default: the host name). `ct-edge` with CT_REDIS_URL appends a number for each of its workers.",
  },
  workerUrl: {
    env: "CT_WORKER_URL",
    type: "text",
    default: undefined,
    pattern: /^http:\/\/[^/?#@\s]+$/,
    allowed: "http://host:port without a path",
    roles: ["worker"],
    why: "URL at which balancers reach this worker (default: the address it listens on, or the one from which it connects to Redis).",
  },
  workerBind: {
    env: "CT_WORKER_BIND",
    type: "text",
    default: undefined,
    roles: ["edge", "worker"],
    why: "Address that the worker listens on; it must be reachable by balancers only (default: 127.0.0.1, and 0.0.0.0 with a Redis on another machine).",
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
    roles: ALL_PROCESSES,
    why: "Networks that workers may be in, the same in every process; worker records with other addresses are ignored (default: private networks, and loopback when the store is on this machine).",
  },
} as const satisfies Record<string, Setting>;

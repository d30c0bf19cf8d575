/** Settings of the deployment: the ports that a process opens, the store that it uses, where workers are. */
import { WORKER_ADDRESS } from "../base/ids.ts";
import {
  ALL,
  ALL_AND_COMMANDS,
  BALANCER,
  BALANCER_ONLY,
  CHILDREN,
  EDGE_ONLY,
  MAX_PORT,
  WORKER,
  WORKER_ONLY,
} from "./setting.ts";

const MAX_PROCESSES = 64;

export const DEPLOYMENT_SETTINGS = {
  // --- listening ---
  bind: BALANCER.text("CT_BIND").why(
    "Address that the public ports listen on; 127.0.0.1 keeps a trial on this machine, 0.0.0.0 is IPv4 only (default: ::, which is IPv6 and IPv4, or 0.0.0.0 where IPv6 is off).",
  ),
  port: BALANCER.number("CT_PORT", 1080, [0, MAX_PORT]).why(
    "Public HTTP port; 0 picks a free one.",
  ),
  tlsPort: BALANCER.number("CT_TLS_PORT", 1443, [0, MAX_PORT]).why(
    "Public HTTPS port; 0 picks a free one.",
  ),
  tlsCert: BALANCER.list("CT_TLS_CERT").why(
    "PEM files, each with a certificate and its chain; the name that a client asks for selects one, the first is used for all other names. Reloaded when they change. Without any, `ct-edge` creates a self-signed certificate.",
  ),
  tlsKey: BALANCER.list("CT_TLS_KEY").why(
    "PEM files with the private keys of CT_TLS_CERT, in the same order.",
  ),
  serverUrl: ALL.text("CT_SERVER_URL", {
    pattern: /^https:\/\/[A-Za-z0-9.-]+(:\d{1,5})?(\/[^?#\s]*)?$/,
    allowed: "an https URL with a host name, like https://edge.example.com",
  }).why(
    "External HTTPS URL that clients are given; set it when the edge is behind another proxy. With it, /clients offers an extension that sets this URL in VS Code.",
  ),
  statusPort: ALL.number("CT_STATUS_PORT", undefined, [0, MAX_PORT]).why(
    "Port for health checks (live, ready), the process's own view and its metrics (default: balancer 1081, worker its port + 1000); 0 picks a free one.",
  ),
  statusBind: ALL_AND_COMMANDS.text("CT_STATUS_BIND").why(
    "Address that the status port listens on; keep it off public networks (default: 127.0.0.1, and 0.0.0.0 with a Redis on another machine).",
  ),

  // --- several processes ---
  processes: BALANCER_ONLY.number("CT_PROCESSES", 1, [1, MAX_PROCESSES]).why(
    "Independent processes of this balancer that share its public ports, for more cores and more connections; each has a status port of its own: the next one's is the next number.",
  ),
  processNumber: BALANCER_ONLY.number("CT_PROCESS_NUMBER", undefined, [1, MAX_PROCESSES], {
    internal: true,
  }).why("Which of the CT_PROCESSES this one is."),

  // --- the edge on one machine ---
  workerCount: EDGE_ONLY.number("CT_WORKER_COUNT", 2, [1, 64]).why(
    "Workers that the edge starts on this machine; more use more cores.",
  ),
  workerPort: WORKER.number("CT_WORKER_PORT", 3001, [0, MAX_PORT]).why(
    "Port of the first worker, the next ones follow; 0 picks free ones.",
  ),
  dataDir: ALL_AND_COMMANDS.text("CT_DATA_DIR", { default: ".edge" }).why(
    "Folder for what must survive a restart: the secret, the certificate, the journal of the embedded store, a balancer's last view of its workers.",
  ),
  storeSocket: CHILDREN.text("CT_STORE_SOCKET").why(
    "Unix socket of the embedded store; `ct-edge` passes it to the processes that it starts.",
  ),
  restarts: WORKER_ONLY.number("CT_RESTARTS", undefined, [0, Number.MAX_SAFE_INTEGER], {
    internal: true,
  }).why("How often `ct-edge` has restarted this process after an unexpected end."),

  // --- the store shared by several machines ---
  redisUrl: ALL_AND_COMMANDS.text("CT_REDIS_URL", { secret: true }).why(
    "Redis shared by the balancers and workers of several machines; with it several `ct-edge` form one edge. Ignored where CT_STORE_SOCKET is set.",
  ),
  redisCa: ALL_AND_COMMANDS.text("CT_REDIS_CA").why(
    "PEM file with the authority of Redis's TLS certificate, when the system does not trust it already.",
  ),
  redisPrefix: ALL_AND_COMMANDS.text("CT_REDIS_PREFIX", {
    default: "{ct}:",
    pattern: /^[A-Za-z0-9_.:-]{0,64}\{[A-Za-z0-9_.-]{1,64}\}[A-Za-z0-9_.:-]{0,64}$/,
    allowed: "a prefix with a part in braces, like {ct}:",
  }).why(
    "Prefix of every key, so that several edges can share one Redis; the part in braces keeps an edge's keys on one node of a Redis cluster.",
  ),

  // --- workers ---
  workerId: WORKER.text("CT_WORKER_ID", {
    pattern: /^[A-Za-z0-9._-]{1,64}$/,
    allowed: "1 to 64 of A-Z a-z 0-9 . _ -",
  }).why(
    "Name of this worker, which must stay the same after a restart: the worker finds its sessions by it (default: the host name). `ct-edge` with CT_REDIS_URL appends a number for each of its workers.",
  ),
  workerUrl: WORKER_ONLY.text("CT_WORKER_URL", {
    pattern: /^http:\/\/[^/?#@\s]+$/,
    allowed: "http://host:port without a path",
  }).why(
    "URL at which balancers reach this worker (default: the address it listens on, or the one from which it connects to Redis).",
  ),
  workerBind: WORKER.text("CT_WORKER_BIND").why(
    "Address that the worker listens on; it must be reachable by balancers only (default: 127.0.0.1, and 0.0.0.0 with a Redis on another machine).",
  ),
  workers: BALANCER_ONLY.list("CT_WORKERS", {
    pattern: WORKER_ADDRESS,
    allowed: "host:port,host:port",
  }).why(
    "Fixed list of workers for a balancer without a store; they may be any HTTP servers, and are probed.",
  ),
  workerNetworks: ALL.list("CT_WORKER_NETWORKS", {
    pattern: /^[0-9A-Fa-f:.]+(\/\d{1,3})?$|^\.?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$/,
    allowed: "addresses or ranges like 10.0.0.0/8, names like worker-1.example.com or .workers.svc",
  }).why(
    "Networks that workers may be in, the same in every process; worker records with other addresses are ignored (default: private networks, and loopback when the store is on this machine).",
  ),
};

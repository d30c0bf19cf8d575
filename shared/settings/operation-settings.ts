/** Settings of daily operation: how many workers are wanted, shutdown, logs and metrics. */
import { ALL, ALL_AND_COMMANDS, BALANCER, MAX_PORT, WORKER } from "./setting.ts";

export const OPERATION_SETTINGS = {
  // --- how many workers the edge asks for (shared/autoscale), and how load is spread over them ---
  autoscaleSessions: ALL.number("CT_AUTOSCALE_SESSIONS", 200, [1, 1_000_000]).why(
    "Sessions that a worker should have at most, for `GET /autoscale`, `ct-edge autoscale` and the metric of wanted workers.",
  ),
  autoscaleConnections: ALL.number("CT_AUTOSCALE_CONNECTIONS", 1000, [1, 1_000_000]).why(
    "Connections of people that a worker should have at most.",
  ),
  autoscaleCpuPercent: ALL.number("CT_AUTOSCALE_CPU_PERCENT", 60, [1, 400]).why(
    "CPU time that a worker should take at most, in percent of a core.",
  ),
  autoscaleLagMs: ALL.number("CT_AUTOSCALE_LAG_MS", 30, [1, 10_000]).why(
    "Mean event-loop delay of the workers above which one more is wanted.",
  ),
  autoscaleHeadroomPercent: ALL.number("CT_AUTOSCALE_HEADROOM_PERCENT", 20, [0, 1000]).why(
    "How much more than the load needs is wanted, so that there is room until a new worker is ready.",
  ),
  autoscaleUpMs: ALL.number("CT_AUTOSCALE_UP_MS", 15_000, [0, 3_600_000]).why(
    "How long the load must need more workers before more are wanted.",
  ),
  autoscaleDownMs: ALL.number("CT_AUTOSCALE_DOWN_MS", 300_000, [0, 3_600_000]).why(
    "How long it must need fewer before fewer are wanted.",
  ),
  autoscaleToken: ALL_AND_COMMANDS.text("CT_AUTOSCALE_TOKEN", {
    secret: true,
    pattern: /^[\x21-\x7e]{16,256}$/,
    allowed: "16 to 256 visible ASCII characters, for example from `openssl rand -hex 24`",
  }).why(
    "Token that `GET /autoscale` asks for, as `Authorization: Bearer …`; without it, all who reach the status port may ask. It guards that path only.",
  ),
  prepareDownscale: WORKER.choice("CT_PREPARE_DOWNSCALE", "off", ["off", "local", "on"]).why(
    "Who may empty a worker by `POST /prepare-downscale` on its status port: `local`, programs of the same machine or pod, as `ct-worker empty` for preStop hooks; `on`, all who reach the port, as the rollout-operator in Kubernetes.",
  ),
  rebalance: WORKER.choice("CT_REBALANCE", "off", ["off", "idle"]).why(
    "`idle`: a worker whose event loop is late moves some of its idle sessions to others by itself, as `ct-edge rebalance --idle` does when it is asked.",
  ),

  // --- shutdown ---
  drainDelayMs: ALL.number("CT_DRAIN_DELAY_MS", 1000, [0, 600_000]).why(
    "How long a process that shuts down reports itself not ready before a worker hands over its sessions or a balancer stops accepting, so that load balancers and balancers in front of it notice.",
  ),
  drainTimeoutMs: ALL.number("CT_DRAIN_TIMEOUT_MS", 60_000, [0, 86_400_000]).why(
    "How long a shutdown may take: for a worker to hand over its sessions (other workers take over the rest), for a balancer to finish requests and close connections.",
  ),

  // --- logs ---
  logDir: ALL.text("CT_LOG_DIR").why(
    "Folder for the server.log of `ct-edge` (default: logs/ in CT_DATA_DIR) and for the access.log and error.log of a balancer; a balancer that runs alone writes them only if this is set.",
  ),
  logMaxBytes: BALANCER.number("CT_LOG_MAX_BYTES", 50 * 1024 * 1024, [
    65_536,
    1024 * 1024 * 1024 * 1024,
  ]).why(
    "Size at which a log file is rotated, as it also is at midnight: server.log becomes server.log.1, and so on.",
  ),
  logMaxFiles: BALANCER.number("CT_LOG_MAX_FILES", 14, [0, 1000]).why(
    "Files kept of each log, each of at most CT_LOG_MAX_BYTES; 0 neither rotates nor deletes, for machines where logrotate does both and sends SIGHUP.",
  ),
  logLevel: ALL.choice("CT_LOG_LEVEL", "info", ["debug", "info", "warn", "error"]).why(
    "Lowest severity that is logged.",
  ),
  logFormat: ALL.choice("CT_LOG_FORMAT", "text", ["text", "json"]).why(
    "Format of log lines: text for people, json for programs.",
  ),

  // --- metrics ---
  prometheusEnabled: WORKER.flag("CT_PROMETHEUS_ENABLED").why(
    "Also serves the cluster's metrics at /metrics on the public ports, to operators (CT_DASHBOARD_*); status ports always serve their own.",
  ),
  metricsStatsdHost: ALL.text("CT_METRICS_STATSD_HOST", {
    pattern: /^[A-Za-z0-9._:-]{1,253}$/,
    allowed: "a host name or an address",
  }).why("Host of the StatsD server that receives the metrics; if not set, none are sent."),
  metricsStatsdPort: ALL.number("CT_METRICS_STATSD_PORT", 8125, [1, MAX_PORT]).why(
    "Port of the StatsD server.",
  ),
  metricsStatsdProtocol: ALL.choice("CT_METRICS_STATSD_PROTOCOL", "udp", ["udp", "tcp"]).why(
    "Transport to the StatsD server; only tcp detects that it cannot be reached.",
  ),
  metricsStatsdOptional: ALL.flag("CT_METRICS_STATSD_OPTIONAL").why(
    "Logs nothing while the StatsD server cannot be reached, for a server that does not always run; metrics arrive once it does.",
  ),
  metricsStatsdTags: ALL.choice("CT_METRICS_STATSD_TAGS", "none", [
    "none",
    "dogstatsd",
    "graphite",
  ]).why(
    "Sends the id of the process and the tag of a series as StatsD tags, for servers that support them, instead of as parts of the metric's name.",
  ),
  metricsPrefix: ALL.text("CT_METRICS_PREFIX", {
    default: "codetogether",
    pattern: /^(?=.{1,100}$)[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$/,
    allowed: "letters, digits, _ and - with dots between, like edge.berlin",
  }).why("Prefix of every metric name sent to StatsD; tells several edges apart."),
  metricsIntervalMs: ALL.number("CT_METRICS_INTERVAL_MS", 10_000, [100, 3_600_000]).why(
    "How often metrics are sent to StatsD; use the flush interval of the StatsD server.",
  ),
};

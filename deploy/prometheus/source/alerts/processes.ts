/** Alerts on balancers and workers as processes. */
import { type Alert, samples } from "../rules/alert.ts";
import { BALANCERS, metric, perEdge, WORKERS } from "../rules/metric.ts";

const LOST = metric("log.lines_dropped");
const STARTED = metric("process.start_time_ms");
const ONE_WORKER = 'job="codetogether-worker",instance="worker-1"';
const LABELS = { job: "codetogether-worker", instance: "worker-1" };

export const PROCESS_ALERTS: readonly Alert[] = [
  {
    name: "WorkerDown",
    severity: "warning",
    expr: `up{${WORKERS}} == 0`,
    // Longer than a worker needs to restart.
    for: "20s",
    summary: "Worker {{ $labels.instance }} does not respond",
    description:
      "Its status port cannot be scraped: the process has ended, hangs or is cut off. Its sessions go on at other workers. Check that it is running, then its log.",
    runbook: [
      "The status port of a worker does not respond to Prometheus: the process has ended, hangs, or cannot be reached. Balancers avoid it, and the other workers take its sessions over; people see a pause ([when sessions move](moves.md)).",
      "- `ct-edge list`: is it still a member? Then only Prometheus cannot reach it: check the network and the port.",
      "- Is the process running (`ct-edge ps`, `systemctl status`, `kubectl get pods`)? Its last log lines say why it ended.",
      "- A process that runs and does not respond hangs: restart it.",
      "- It was removed on purpose: remove it from Prometheus's targets too.",
    ],
    fires: { series: [samples(`up{${ONE_WORKER}}`, "1x11 0x20")], labels: LABELS },
    staysQuiet: { series: [samples(`up{${ONE_WORKER}}`, "1x20 0x1 1x20")] },
  },
  {
    name: "BalancerDown",
    severity: "warning",
    expr: `up{${BALANCERS}} == 0`,
    for: "20s",
    summary: "Balancer {{ $labels.instance }} does not respond",
    description:
      "Its status port cannot be scraped: the process has ended, hangs or is cut off. Its clients reconnect through another balancer. Check that it is running, then its log.",
    runbook: [
      "The status port of a balancer does not respond to Prometheus. Its connections have ended; clients reconnect through whatever is in front of the balancers.",
      "- Does what is in front (load balancer, DNS) still send clients to it? Its health check is `/health/ready` of the status port, or `/ct-health` of the public one.",
      "- Is the process running? Its last log lines say why it ended. One that hangs is restarted by `ct-edge` or its liveness probe.",
      "- It was removed on purpose: remove it from Prometheus's targets too.",
    ],
    fires: {
      series: [samples('up{job="codetogether-balancer",instance="balancer-1"}', "1x11 0x20")],
      labels: { job: "codetogether-balancer", instance: "balancer-1" },
    },
    staysQuiet: {
      series: [samples('up{job="codetogether-balancer",instance="balancer-1"}', "1x20 0x1 1x20")],
    },
  },
  {
    name: "NoBalancer",
    severity: "critical",
    expr: `${perEdge("max", `up{${BALANCERS}}`)} == 0 or absent(up{${BALANCERS}})`,
    for: "20s",
    summary: "No balancer responds",
    description:
      "Prometheus reaches no balancer, so probably nobody can work. Check the balancers and the network to them.",
    runbook: [
      "Either no balancer runs, or Prometheus has no target of the job `codetogether-balancer`, or its network to all of them is broken.",
      "- Open the edge's public address in a browser. If it works, the fault is in Prometheus's targets (Status → Targets) or its network.",
      "- Otherwise start the balancers; they need no state. A port that is in use, or a wrong setting, is one line in their log.",
    ],
    fires: {
      series: [
        samples('up{job="codetogether-balancer",instance="balancer-1",namespace="a"}', "0x24"),
        samples('up{job="codetogether-balancer",instance="balancer-2",namespace="a"}', "1x5 0x20"),
      ],
      labels: { namespace: "a" },
    },
    staysQuiet: {
      series: [
        samples('up{job="codetogether-balancer",instance="balancer-1"}', "0x24"),
        samples('up{job="codetogether-balancer",instance="balancer-2"}', "1x24"),
      ],
    },
  },
  {
    name: "ProcessRestarted",
    severity: "info",
    expr: `changes(${STARTED}[2m]) > 0`,
    for: "0s",
    summary: "{{ $labels.instance }} has restarted",
    description:
      "Expected during an upgrade. Otherwise its log says why the process before it ended.",
    runbook: [
      "A process has a new start time at the same address. In a rolling restart each process does this once; people notice little ([when sessions move](moves.md)).",
      "Nobody restarted it: look for the end of the process before it, in its log (`uncaught exception`), in `journalctl`, or as `OOMKilled` in `kubectl describe pod`. `ct-edge` logs the exit status of its processes.",
    ],
    fires: {
      series: [samples(`${STARTED}{${ONE_WORKER}}`, "1000x11 1060x12")],
      labels: LABELS,
    },
    staysQuiet: { series: [samples(`${STARTED}{${ONE_WORKER}}`, "1000x24")] },
  },
  {
    name: "ProcessKeepsRestarting",
    severity: "critical",
    expr: `changes(${STARTED}[10m]) > 3`,
    for: "0s",
    summary: "{{ $labels.instance }} keeps restarting",
    description:
      "It has restarted more than three times within ten minutes. Its log says why; go back to the version or setting before.",
    runbook: [
      "A process that ends soon after each start. Sessions move away from it each time, so people see repeated pauses.",
      "- The last log lines before each end: a setting, a full disk, memory (`OOMKilled`), an uncaught exception.",
      "- Did it begin with an upgrade or a changed setting? Go back first, then look for the cause ([upgrade](upgrade.md)).",
      "- Until it is repaired, stop that process: the others take over.",
    ],
    fires: {
      series: [samples(`${STARTED}{${ONE_WORKER}}`, "1000x4 1020x4 1040x4 1060x4 1080x4")],
      labels: LABELS,
    },
    staysQuiet: {
      series: [samples(`${STARTED}{${ONE_WORKER}}`, "1000x8 1040x8 1080x8")],
    },
  },
  {
    name: "LoopStalls",
    severity: "warning",
    expr: `${metric("process.lag.p99")} > 0.5`,
    for: "30s",
    summary: "{{ $labels.instance }} stalls repeatedly",
    description:
      "Its event loop was blocked for more than half a second several times, which people notice as pauses. Check the CPU of its machine or container, and its memory.",
    runbook: [
      "The 99th percentile of the event-loop delay in the worst of the last ten seconds is above half a second, for 30 s.",
      "- The process gets too little CPU: other programs on the machine, a CPU limit of the container (throttling), a machine that swaps.",
      "- It has too much to do: see [ProcessSaturated](#codetogetherprocesssaturated).",
      "- It is near its memory limit, and collects garbage all the time: compare `codetogether_process_rss_bytes` with the limit.",
    ],
    fires: {
      series: [samples(`${metric("process.lag.p99")}{${ONE_WORKER}}`, "0.01x11 0.9x12")],
      labels: LABELS,
    },
    staysQuiet: {
      series: [samples(`${metric("process.lag.p99")}{${ONE_WORKER}}`, "0.01x20 0.9x2 0.02x9")],
    },
  },
  {
    name: "ProcessSaturated",
    severity: "warning",
    expr: `avg_over_time(${metric("process.elu")}[2m]) > 0.9`,
    for: "30s",
    summary: "{{ $labels.instance }} is busy all the time",
    description:
      "Its event loop has been busy for more than 90 % of two minutes. Add workers or balancers, or move sessions away.",
    runbook: [
      "One process uses one core, and this one has none left. Latencies rise until something times out.",
      "- All workers are busy: add workers ([capacity](capacity.md)).",
      "- Only this worker: `ct-edge sessions` shows its busiest sessions; `ct-edge rebalance --idle` moves idle ones away.",
      "- A balancer: add one. The cause may be a flood: see [RequestsRefused](#codetogetherrequestsrefused).",
    ],
    fires: {
      series: [samples(`${metric("process.elu")}{${ONE_WORKER}}`, "0.97x60")],
      at: "4m",
      labels: LABELS,
    },
    staysQuiet: {
      series: [samples(`${metric("process.elu")}{${ONE_WORKER}}`, "0.4x24 1x6 0.4x30")],
      at: "4m",
    },
  },
  {
    name: "LogLinesDropped",
    severity: "warning",
    expr: `increase(${LOST}[2m]) > 0`,
    for: "0s",
    summary: "{{ $labels.instance }} drops log lines",
    description:
      "Its log file or standard output does not accept them: the disk is full, slow or read-only. Free space on the disk of CT_LOG_DIR.",
    runbook: [
      "A process that cannot write its log drops lines instead of waiting; requests are not affected.",
      "- `df -h` and `df -i` for the folder of `CT_LOG_DIR`; `log lines were dropped` in the process's log has the reason.",
      "- How much the logs may take: `CT_LOG_MAX_BYTES` and `CT_LOG_MAX_FILES` ([logs](logs.md)).",
      "- The same disk has `CT_DATA_DIR`: with an embedded store, changes are in memory only until there is room.",
    ],
    fires: { series: [samples(`${LOST}{${ONE_WORKER}}`, "0x11 7x12")], labels: LABELS },
    staysQuiet: { series: [samples(`${LOST}{${ONE_WORKER}}`, "7x24")] },
  },
];

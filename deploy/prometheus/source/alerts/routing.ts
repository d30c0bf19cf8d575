/** Alerts on workers as balancers see them, and on the links between them. */
import { type Alert, samples } from "../rules/alert.ts";
import { metric, perEdge } from "../rules/metric.ts";

const LINKS = metric("balancer.links");
const RINGS = metric("balancer.rings");
const OF_BALANCER = 'job="codetogether-balancer",instance="balancer-1"';
const LABELS = { job: "codetogether-balancer", instance: "balancer-1" };
const workers = (state: string): string =>
  `${metric("balancer.workers")}{${OF_BALANCER},state="${state}"}`;

export const ROUTING_ALERTS: readonly Alert[] = [
  {
    name: "NoWorker",
    severity: "critical",
    expr: `${metric("balancer.workers", 'state="up"')} == 0`,
    for: "10s",
    summary: "Balancer {{ $labels.instance }} has no worker for new sessions",
    description:
      "Its clients get 503 when they start a session. Check that workers run and that balancer and workers have the same store, secret and version.",
    runbook: [
      "This balancer knows no worker that is up: there is none, all are suspended or draining, it cannot reach them, or it ignores them.",
      "- `ct-edge list`: which workers are there, and in which state? Resume one that is suspended: `ct-edge resume ID`.",
      "- Workers run, and this balancer does not list them: another `CT_REDIS_URL` or `CT_SECRET`; see [MembersIgnored](#codetogethermembersignored).",
      "- They are listed as unhealthy: see [WorkerUnhealthy](#codetogetherworkerunhealthy).",
    ],
    fires: { series: [samples(workers("up"), "2x11 0x12")], labels: { ...LABELS, state: "up" } },
    staysQuiet: {
      series: [samples(workers("up"), "1x24"), samples(workers("draining"), "2x24")],
    },
  },
  {
    name: "WorkerUnhealthy",
    severity: "warning",
    expr: `${perEdge("max", metric("balancer.workers", 'state=~"unhealthy|down"'))} > 0`,
    // A worker that has ended is on the list for 5 s, until its lease expires.
    for: "15s",
    summary: "Balancers avoid a worker that is still a member",
    description:
      "A worker renews its lease, but a balancer gets no proper response from its traffic port. `ct-edge list` names it and the reason: check the network between them and the worker's log.",
    runbook: [
      "The worker is alive in the store, and its probe fails at a balancer for 15 s: its port refuses connections, does not respond, or responds with something else than HTTP.",
      "- `ct-edge list` names the worker, and the balancer's log has `worker is unhealthy` with the reason.",
      "- `refused`, `unreachable`, `no-response`: the address that the worker announces (`CT_WORKER_URL`), a firewall, a network policy.",
      "- `misrouted`: another process answers at that address. `invalid-response`: something that is not a worker does.",
      "- The worker hangs: restart it.",
    ],
    fires: {
      series: [samples(workers("up"), "3x11 2x12"), samples(workers("unhealthy"), "0x11 1x12")],
      labels: {},
    },
    staysQuiet: {
      series: [samples(workers("up"), "3x24"), samples(workers("unhealthy"), "0x18 1x1 0x8")],
    },
  },
  {
    name: "RingsDiffer",
    severity: "warning",
    expr: `${perEdge("max", RINGS)} > 1`,
    for: "30s",
    summary: "Processes disagree about where sessions belong",
    description:
      "They have different hash rings, so a new session may be looked for at the wrong worker. Upgrade all of them to the same version, with the same weights.",
    runbook: [
      "Members publish a fingerprint of their ring. Different ones mean that they see different workers or weights, or have different versions. For seconds this is normal; in an upgrade it may last until all processes have the new version.",
      "- `ct-edge list` shows which processes have another ring, and their versions.",
      "- One that differs alone, with the same version: restart it.",
    ],
    fires: { series: [samples(`${RINGS}{${OF_BALANCER}}`, "1x11 2x12")], labels: {} },
    staysQuiet: { series: [samples(`${RINGS}{${OF_BALANCER}}`, "1x18 2x2 1x6")] },
  },
  {
    name: "LinkDown",
    severity: "warning",
    expr: `${LINKS} == 0 and max_over_time(${LINKS}[1h]) > 0`,
    for: "30s",
    summary: "Balancer {{ $labels.instance }} has no link to worker {{ $labels.worker }}",
    description:
      "Requests take connections of their own, and sessions cannot move without a disconnect. The error is in the balancer's log; check the network between them.",
    runbook: [
      "There was a link within the last hour, and it cannot be opened again. Requests still work, at a higher cost; people reconnect when their session moves ([the link](link.md)).",
      "- `no link to the worker` in the balancer's log has the reason.",
      "- Something between them does not pass upgrades of HTTP, or closes connections.",
      "- With `CT_LINK=off` at the balancers this alert ends within an hour.",
    ],
    fires: {
      series: [samples(`${LINKS}{${OF_BALANCER},worker="worker-1"}`, "1x11 0x12")],
      labels: { ...LABELS, worker: "worker-1" },
    },
    // Links that are turned off.
    staysQuiet: { series: [samples(`${LINKS}{${OF_BALANCER},worker="worker-1"}`, "0x24")] },
  },
  {
    name: "LinkErrors",
    severity: "warning",
    expr: `increase(${metric("balancer.link.errors")}[5m]) > 0 or increase(${metric("worker.link.errors")}[5m]) > 0`,
    for: "0s",
    summary: "{{ $labels.instance }} received invalid bytes over a link",
    description:
      "Something between balancers and workers changes bytes, or it is a bug. The link is closed and opened again; if it repeats, set CT_LINK=off at the balancers and report it.",
    runbook: [
      "A frame broke the protocol of links. TCP does not deliver changed bytes by accident: a proxy or an intrusion detection in between rewrites them, or a version has a bug.",
      "- Are there proxies between balancers and workers? There should be none ([the link](link.md#what-its-metrics-tell)).",
      "- `link to a worker has ended` in the log has the error: report it. `CT_LINK=off` at the balancers avoids links meanwhile.",
    ],
    fires: {
      series: [
        samples(`${metric("worker.link.errors")}{instance="worker-1"}`, "0x11 1x12"),
        samples(`${metric("balancer.link.errors")}{instance="balancer-1"}`, "0x24"),
      ],
      labels: { instance: "worker-1" },
    },
    staysQuiet: {
      series: [
        samples(`${metric("worker.link.errors")}{instance="worker-1"}`, "1x24"),
        samples(`${metric("balancer.link.errors")}{instance="balancer-1"}`, "0x24"),
      ],
    },
  },
];

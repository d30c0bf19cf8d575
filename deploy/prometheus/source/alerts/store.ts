/** Alerts on the store: Redis as the processes see it. */
import { type Alert, ofOneWorker, samples } from "../rules/alert.ts";
import { metric, perEdge } from "../rules/metric.ts";
import { STORE_P95 } from "../rules/recording-rules.ts";

const UP = metric("store.up");
const REASSERTED = metric("worker.sessions_reasserted");
const IGNORED = metric("balancer.members_ignored");
const FENCED = metric("worker.fenced");
const other = (name: string): string => `${name}{job="codetogether-worker",instance="worker-2"}`;

function refusals(reason: "full" | "refused", range: string): string {
  const counted = metric("store.refusals", `reason="${reason}"`);
  return `${perEdge("sum", `increase(${counted}[${range}])`)} > 0`;
}

export const STORE_ALERTS: readonly Alert[] = [
  {
    name: "StoreAway",
    severity: "critical",
    expr: `${perEdge("max", UP)} == 0`,
    for: "10s",
    summary: "No process reaches the store",
    description:
      "Running sessions continue, but nobody can sign in or join, and no worker can replace another one. Repair Redis, or the network to it.",
    runbook: [
      "No balancer and no worker reaches Redis. Running sessions go on and signed-in users can start new ones, but sign-ins and joins fail, and sessions of a worker that ends meanwhile are not taken over.",
      "- `store unavailable` in any log has the reason: refused, no response, wrong password, a replica that is read-only, TLS.",
      "- `redis-cli -u URL PING`, and Redis's own log. [Redis](redis.md) has what its user may do.",
      "- Do not restart workers or balancers now: they hold what Redis does not have. If Redis returns empty, they write their sessions again.",
    ],
    fires: {
      series: [samples(ofOneWorker(UP), "1x11 0x20"), samples(other(UP), "0x30")],
      labels: {},
    },
    staysQuiet: { series: [samples(ofOneWorker(UP), "1x30"), samples(other(UP), "0x30")] },
  },
  {
    name: "StoreCutOff",
    severity: "warning",
    expr: `${UP} == 0 unless on (namespace) ${perEdge("max", UP)} == 0`,
    for: "10s",
    summary: "{{ $labels.instance }} does not reach the store",
    description:
      "Other processes do. A worker that is cut off loses its sessions to others after 5 s; a balancer routes by what it knew. Check its network and its CT_REDIS_URL.",
    runbook: [
      "One part of the edge reaches Redis and another does not. A worker without the store loses its lease after 5 s, and others take its sessions; a balancer learns the members from workers.",
      "- `store unavailable` in its log has the reason.",
      "- Network policies, security groups, DNS, and Redis's `maxclients` (`max number of clients reached`).",
      "- Does it have the same `CT_REDIS_URL` and password as the others?",
    ],
    fires: {
      series: [samples(ofOneWorker(UP), "1x11 0x20"), samples(other(UP), "1x30")],
      labels: { job: "codetogether-worker", instance: "worker-1" },
    },
    // All are away: that is StoreAway.
    staysQuiet: { series: [samples(ofOneWorker(UP), "0x30"), samples(other(UP), "0x30")] },
  },
  {
    name: "StoreFull",
    severity: "critical",
    expr: refusals("full", "1m"),
    for: "0s",
    summary: "The store is full",
    description:
      "Redis is at its maxmemory and refuses new records: sign-ins, joins and new sessions fail. Raise maxmemory.",
    runbook: [
      "Redis refuses records because its memory is at `maxmemory`. Leases, take-overs and running sessions continue.",
      "- `redis-cli INFO memory`, then `redis-cli CONFIG SET maxmemory 512mb` (and in its configuration file).",
      "- Something else uses the same Redis: `redis-cli --bigkeys`. All keys of an edge begin with `CT_REDIS_PREFIX`.",
      "- Keep `maxmemory-policy noeviction`: with another policy Redis drops records of sessions.",
    ],
    fires: {
      series: [samples(ofOneWorker(metric("store.refusals"), ',reason="full"'), "0x11 0+1x12")],
      labels: {},
    },
    staysQuiet: {
      series: [
        samples(ofOneWorker(metric("store.refusals"), ',reason="full"'), "4x24"),
        samples(ofOneWorker(metric("store.refusals"), ',reason="refused"'), "0+1x24"),
      ],
    },
  },
  {
    name: "StoreRefuses",
    severity: "warning",
    expr: refusals("refused", "5m"),
    for: "0s",
    summary: "The store refuses operations",
    description:
      "Redis responds and refuses some operations, probably because its user may not run them. `Redis refused an operation` in a log names it.",
    runbook: [
      "Redis is reachable, but an operation failed there for a reason that retrying does not remove.",
      "- `Redis refused an operation` in the logs has the operation and Redis's reason.",
      "- `NOPERM`: give the user the rights that [Redis](redis.md) lists; after an upgrade there may be new ones.",
      "- Anything else may be a bug: report it with that line.",
    ],
    fires: {
      series: [samples(ofOneWorker(metric("store.refusals"), ',reason="refused"'), "0x11 2x12")],
      labels: {},
    },
    staysQuiet: {
      series: [samples(ofOneWorker(metric("store.refusals"), ',reason="refused"'), "2x24")],
    },
  },
  {
    name: "StoreSlow",
    severity: "warning",
    expr: `${STORE_P95} > 0.1`,
    for: "30s",
    summary: "The store responds slowly",
    description:
      "5 % of the operations take more than 100 ms, which delays sign-ins, joins and take-overs. Check Redis's CPU, its disk and the network.",
    runbook: [
      "From an operation to its reply, 95th percentile over all processes. Normal is below 5 ms.",
      "- `redis-cli --latency`, `SLOWLOG GET`; a disk that delays `appendfsync`, a machine that swaps, another user of the same Redis.",
      "- Processes that stall measure this too: see [LoopStalls](#codetogetherloopstalls).",
    ],
    fires: {
      series: [
        samples(`${metric("store.latency_ms")}_bucket{le="0.1"}`, "0+1x30"),
        samples(`${metric("store.latency_ms")}_bucket{le="0.25"}`, "0+10x30"),
        samples(`${metric("store.latency_ms")}_bucket{le="+Inf"}`, "0+10x30"),
      ],
      labels: {},
    },
    staysQuiet: {
      series: [
        samples(`${metric("store.latency_ms")}_bucket{le="0.1"}`, "0+99x30"),
        samples(`${metric("store.latency_ms")}_bucket{le="0.25"}`, "0+100x30"),
        samples(`${metric("store.latency_ms")}_bucket{le="+Inf"}`, "0+100x30"),
      ],
    },
  },
  {
    name: "StoreLostRecords",
    severity: "warning",
    expr: `${perEdge("sum", `increase(${REASSERTED}[2m])`)} > 0`,
    for: "0s",
    summary: "The store has lost records of sessions",
    description:
      "Workers had to write sessions again that were missing in Redis: it was restarted without its data, flushed, or a fail-over lost writes. Sessions are repaired; check Redis's persistence.",
    runbook: [
      "A worker found that the record of a session it serves was missing, and wrote it again. Sessions continue; counters, history and some sign-ins are lost.",
      "- Did Redis restart without a file (`appendonly no`), was it flushed, or did a replica take over that was behind? Its log and `INFO persistence` tell.",
      "- `maxmemory-policy` must be `noeviction` ([Redis](redis.md)).",
    ],
    fires: { series: [samples(ofOneWorker(REASSERTED), "0x11 12x12")], labels: {} },
    staysQuiet: { series: [samples(ofOneWorker(REASSERTED), "12x24")] },
  },
  {
    name: "WorkerFenced",
    severity: "warning",
    expr: `increase(${FENCED}[2m]) > 0`,
    for: "0s",
    summary: "Worker {{ $labels.instance }} stopped relaying for a while",
    description:
      "It could not renew its lease within 4 s, because it stalled or the store did not respond, and may have lost its sessions to other workers. Check its CPU and its network to Redis.",
    runbook: [
      "A worker relays only while its lease is certain. It was not renewed in time, so the worker buffered, and closed its connections if the lease may have expired.",
      "- Together with [StoreAway](#codetogetherstoreaway), [StoreCutOff](#codetogetherstorecutoff) or [LoopStalls](#codetogetherloopstalls) that alert is the cause.",
      "- Alone: the machine was suspended or migrated (a virtual machine that is paused for seconds), or its connection to Redis lost packets.",
    ],
    fires: {
      series: [samples(ofOneWorker(FENCED), "0x11 1x12")],
      labels: { job: "codetogether-worker", instance: "worker-1" },
    },
    staysQuiet: { series: [samples(ofOneWorker(FENCED), "1x24")] },
  },
  {
    name: "MembersIgnored",
    severity: "warning",
    expr: `${perEdge("max", IGNORED)} > 0`,
    for: "15s",
    summary: "Processes are ignored by the others",
    description:
      "A process in the store has another CT_SECRET, or an address that is not allowed, so it gets no traffic. `ignoring a member` in a log names it and the reason.",
    runbook: [
      "Balancers and workers use only members whose secret and address they accept.",
      "- `ignoring a member` in their logs names the process and the reason.",
      "- Another secret: give it the same `CT_SECRET` ([security](security.md)). An address: list it in `CT_WORKER_NETWORKS`.",
      "- A stranger in your Redis: change its password.",
    ],
    fires: { series: [samples(ofOneWorker(IGNORED), "0x11 1x12")], labels: {} },
    staysQuiet: { series: [samples(ofOneWorker(IGNORED), "0x18 1x1 0x8")] },
  },
];

/** Alerts on sessions, their people, and sign-in. */
import { type Alert, ofOneWorker, samples } from "../rules/alert.ts";
import { metric, perEdge } from "../rules/metric.ts";

const TAKEN_OVER = metric("worker.sessions_resumed", 'cause=~"exited|refused|lease-expired"');
const KEPT = metric("worker.sessions_drained", 'outcome="kept"');
const WAITING = metric("balancer.resume.waiting");
const OVERFLOWS = metric("worker.buffer_overflows", 'peer="slow"');
const CREDENTIALS = metric("worker.credentials_refused");
const checks = (outcome: "failed" | "confirmed"): string =>
  perEdge("sum", `increase(${metric("worker.sign_ins.checked", `outcome="${outcome}"`)}[5m])`);

export const SESSION_ALERTS: readonly Alert[] = [
  {
    name: "SessionsTakenOver",
    severity: "warning",
    expr: `${perEdge("sum", `increase(${TAKEN_OVER}[2m])`)} > 0`,
    for: "0s",
    summary: "Sessions were taken over from a worker that failed",
    description:
      "A worker ended without a drain, hung, or lost its lease, and others serve its sessions now. Find out which one and why; `ct-edge events` lists the moves.",
    runbook: [
      "Workers have taken sessions over that were not handed to them: their owner had exited (`exited`), refused connections (`refused`), or had no lease any more (`lease-expired`). People saw a pause or reconnected ([when sessions move](moves.md)).",
      "- `ct-edge events --session KEY` and the logs name the former owner: was it killed (memory), did it crash, hang, or lose its network?",
      "- Together with [WorkerDown](#codetogetherworkerdown) or [StoreCutOff](#codetogetherstorecutoff) that alert names it.",
      "- It was stopped with SIGKILL, or too early: give a stop enough time ([upgrade](upgrade.md)).",
    ],
    fires: {
      series: [
        samples(
          ofOneWorker(metric("worker.sessions_resumed"), ',cause="lease-expired"'),
          "0x11 5x12",
        ),
      ],
      labels: {},
    },
    staysQuiet: {
      series: [
        samples(ofOneWorker(metric("worker.sessions_resumed"), ',cause="handed"'), "0x11 5x12"),
        samples(ofOneWorker(metric("worker.sessions_resumed"), ',cause="lease-expired"'), "5x24"),
      ],
    },
  },
  {
    name: "WebSocketsWait",
    severity: "warning",
    expr: `${perEdge("sum", WAITING)} > 0`,
    for: "10s",
    summary: "People wait for another worker to go on with their session",
    description:
      "Their worker has gone, their WebSockets are open, and no other worker has taken their sessions for 10 s, so nothing arrives. Check that workers are up and reach the store.",
    runbook: [
      "WebSockets stay open while their session moves to another worker, usually for milliseconds. After 20 s they are closed, and their clients reconnect ([when sessions move](moves.md)).",
      "- `ct-edge list`: is another worker up? `ct-edge explain KEY` shows where the session belongs.",
      "- The store is away: see [StoreAway](#codetogetherstoreaway). No worker can take sessions over without it.",
      "- The former worker hangs instead of exiting: others must wait until its lease of 5 s has expired.",
    ],
    fires: { series: [samples(`${WAITING}{instance="balancer-1"}`, "0x20 12x6")], labels: {} },
    staysQuiet: { series: [samples(`${WAITING}{instance="balancer-1"}`, "0x20 12x1 0x8")] },
  },
  {
    name: "SessionsKeptAtDrain",
    severity: "warning",
    expr: `increase(${KEPT}[5m]) > 0`,
    for: "0s",
    summary: "Worker {{ $labels.instance }} could not hand sessions over",
    description:
      "It drains, and no other worker took some of its sessions. Add a worker or resume a suspended one before it ends, else their people have to reconnect.",
    runbook: [
      "A session that no worker takes stays where it is and is tried again until `CT_DRAIN_TIMEOUT_MS`.",
      "- `ct-edge list`: is another worker up, of the same or a newer version, and reachable from this one?",
      "- The worker's log names the session and the reason; `CT_DRAIN_TIMEOUT_MS` and the grace period of the container must be long enough ([upgrade](upgrade.md)).",
    ],
    fires: {
      series: [
        samples(ofOneWorker(metric("worker.sessions_drained"), ',outcome="kept"'), "0x11 2x12"),
      ],
      labels: { job: "codetogether-worker", instance: "worker-1", outcome: "kept" },
    },
    staysQuiet: {
      series: [
        samples(ofOneWorker(metric("worker.sessions_drained"), ',outcome="handed"'), "0x11 9x12"),
      ],
    },
  },
  {
    name: "BuffersOverflow",
    severity: "warning",
    expr: `${perEdge("sum", `increase(${OVERFLOWS}[5m])`)} > 5`,
    for: "0s",
    summary: "Clients that read slowly are disconnected",
    description:
      "Several connected clients read too slowly for what is sent to them, and reached CT_MAX_BUFFER_BYTES. Check the network to them, and the session that sends that much.",
    runbook: [
      "A client that reads slower than its session writes gets a buffer of `CT_MAX_BUFFER_BYTES`; beyond that, its pending messages are dropped and it is disconnected. It is back within a second and asks for what it lacks.",
      "- Many clients at once: the network between them and the edge, or a proxy that buffers ([proxies](proxies.md)).",
      "- One session: `ct-edge sessions` shows how much it relays; `CT_MAX_MESSAGES_PER_SECOND` slows a client that floods it.",
    ],
    fires: {
      series: [
        samples(ofOneWorker(metric("worker.buffer_overflows"), ',peer="slow"'), "0x5 0+1x18"),
      ],
      labels: {},
    },
    staysQuiet: {
      series: [
        samples(ofOneWorker(metric("worker.buffer_overflows"), ',peer="slow"'), "0x11 2x12"),
        samples(ofOneWorker(metric("worker.buffer_overflows"), ',peer="away"'), "0+3x24"),
      ],
    },
  },
  {
    name: "SignInChecksFail",
    severity: "warning",
    expr: `${checks("failed")} > 3 and ${checks("failed")} > ${checks("confirmed")}`,
    for: "15s",
    summary: "An identity provider does not confirm sign-ins",
    description:
      "Checks of who may still use the edge fail at the provider. Nobody is signed out before CT_OIDC_GRACE_MS has passed, then all are. Check the provider and the network to it.",
    runbook: [
      "Workers ask identity providers every `CT_OIDC_RECHECK_MS` whether people still may sign in. More of these checks fail than succeed.",
      "- The worker's log has the provider's error: no response, a client secret that has expired, a changed issuer ([sign-in](sign-in.md)).",
      "- After `CT_OIDC_GRACE_MS` of failures people are signed out; raise it, or repair the provider before.",
    ],
    fires: {
      series: [
        samples(ofOneWorker(metric("worker.sign_ins.checked"), ',outcome="failed"'), "0x5 0+1x18"),
        samples(ofOneWorker(metric("worker.sign_ins.checked"), ',outcome="confirmed"'), "8x24"),
      ],
      labels: {},
    },
    staysQuiet: {
      series: [
        samples(ofOneWorker(metric("worker.sign_ins.checked"), ',outcome="failed"'), "0x5 0+1x18"),
        samples(ofOneWorker(metric("worker.sign_ins.checked"), ',outcome="confirmed"'), "0+9x24"),
      ],
    },
  },
  {
    name: "WrongCredentials",
    severity: "warning",
    expr: `${perEdge("sum", `increase(${CREDENTIALS}[5m])`)} > 20`,
    for: "0s",
    summary: "Many wrong credentials for the operators' pages",
    description:
      "Somebody guesses the password of the dashboard, or a program has an old token. The worker's log has the addresses.",
    runbook: [
      "More than 20 requests with wrong credentials for the dashboard, `/metrics` or the logs within five minutes.",
      "- The log has their addresses: a program of yours with an old token, or a stranger.",
      "- A stranger: block the address in front, and let operators sign in at an identity provider instead ([sign-in](sign-in.md)).",
    ],
    fires: { series: [samples(ofOneWorker(CREDENTIALS), "0x5 0+3x18")], labels: {} },
    staysQuiet: { series: [samples(ofOneWorker(CREDENTIALS), "0x11 3x12")] },
  },
];

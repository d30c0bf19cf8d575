/** Alerts on requests and connections of clients, and on certificates. */
import { type Alert, samples } from "../rules/alert.ts";
import { buckets, metric, observations, perEdge } from "../rules/metric.ts";
import {
  FAILED_RATE,
  FIRST_BYTE_P95,
  FIRST_BYTE_RATE,
  REQUEST_RATE,
  WORKER_ERROR_RATE,
} from "../rules/recording-rules.ts";

const REFUSED = perEdge("sum", `rate(${metric("balancer.refused")}[1m])`);
const CONNECTIONS = metric("balancer.connections");
const LIMIT = metric("balancer.connections_limit");
const EXPIRES = metric("balancer.certificate_expires_in_ms");
const DAY_S = 86_400;
const ORDERS_FAILED = metric("balancer.acme.failures");
const NEXT_ORDER = metric("balancer.acme.next_order_in_ms");
const REVOKED = metric("balancer.acme.revoked");
const OBTAINED_EXPIRES = metric("balancer.acme.expires_in_ms");
const OF_BALANCER = '{job="codetogether-balancer",instance="balancer-1"}';
const LABELS = { job: "codetogether-balancer", instance: "balancer-1" };
const FIRST_BYTE = buckets("balancer.first_byte_ms");

const requests = (values: string) => samples(`${metric("balancer.requests")}{rule="sid"}`, values);

export const TRAFFIC_ALERTS: readonly Alert[] = [
  {
    name: "RequestsFail",
    severity: "critical",
    expr: `${FAILED_RATE} / ${REQUEST_RATE} > 0.01 and ${FAILED_RATE} > 0.1`,
    for: "15s",
    summary: "More than 1 % of the requests fail at the balancers",
    description:
      "Balancers respond with 502, 503 or 504 because no worker can take the request or its worker fails. error.log has each of them with the reason.",
    runbook: [
      "Responses with an error of the balancers themselves, over one minute.",
      "- Another alert explains most cases: [NoWorker](#codetogethernoworker), [WorkerUnhealthy](#codetogetherworkerunhealthy), [StoreAway](#codetogetherstoreaway).",
      "- `error.log` names the request, the worker and the reason ([logs](logs.md)); `ct-edge explain KEY` shows where a session's requests go and why.",
      "- 504: a worker accepts requests and does not respond; its log, and [LoopStalls](#codetogetherloopstalls).",
    ],
    fires: {
      series: [
        requests("0+50x30"),
        samples(`${metric("balancer.failed")}{status="503"}`, "0x5 0+2x30"),
      ],
      labels: {},
    },
    staysQuiet: {
      series: [
        requests("0+50x30"),
        samples(`${metric("balancer.failed")}{status="404"}`, "0+9x30"),
        samples(`${metric("balancer.failed")}{status="503"}`, "0x9 1x20"),
      ],
    },
  },
  {
    name: "WorkersRespondWithErrors",
    severity: "warning",
    expr: `${WORKER_ERROR_RATE} / ${REQUEST_RATE} > 0.01 and ${WORKER_ERROR_RATE} > 0.1`,
    for: "15s",
    summary: "More than 1 % of the responses of workers are errors",
    description:
      "Workers respond with 5xx, for example because the store is away or full, or an identity provider fails. Their logs have the reason.",
    runbook: [
      "Responses with a status of 500 and above that came from workers, over one minute.",
      "- The store: [StoreAway](#codetogetherstoreaway), [StoreFull](#codetogetherstorefull). Sign-in: [SignInChecksFail](#codetogethersigninchecksfail).",
      "- access.log shows the paths (`grep '\" 50'`), the worker's log the errors.",
    ],
    fires: {
      series: [
        requests("0+50x30"),
        samples(`${metric("balancer.answers")}{status="5xx"}`, "0x5 0+2x30"),
      ],
      labels: {},
    },
    staysQuiet: {
      series: [
        requests("0+50x30"),
        samples(`${metric("balancer.answers")}{status="4xx"}`, "0+9x30"),
        samples(`${metric("balancer.answers")}{status="5xx"}`, "0x9 1x20"),
      ],
    },
  },
  {
    name: "ResponsesSlow",
    severity: "warning",
    expr: `${FIRST_BYTE_P95} > 0.25 and ${FIRST_BYTE_RATE} > 1`,
    for: "15s",
    summary: "Responses are slow",
    description:
      "5 % of the requests wait more than 250 ms for the head of their response; long polls are left out. One slow worker is enough: compare the lag of the workers and the network to them.",
    runbook: [
      "From the head of a request to the head of its response, 95th percentile of all balancers over one minute. It is usually below 50 ms.",
      "- Which worker? The last fields of access.log have the worker and the time ([logs](logs.md)). *Event-loop delay* on the dashboard shows a worker that is busy.",
      "- No worker is busy: the network between balancers and workers, or [StoreSlow](#codetogetherstoreslow).",
      "- Many sign-ins at an identity provider that responds slowly count here too.",
    ],
    fires: {
      series: [
        samples(`${observations("balancer.first_byte_ms")}{}`, "0+25x30"),
        samples(`${FIRST_BYTE}{le="0.1"}`, "0+20x30"),
        samples(`${FIRST_BYTE}{le="0.25"}`, "0+20x30"),
        samples(`${FIRST_BYTE}{le="0.5"}`, "0+25x30"),
        samples(`${FIRST_BYTE}{le="+Inf"}`, "0+25x30"),
      ],
      labels: {},
    },
    staysQuiet: {
      series: [
        samples(`${observations("balancer.first_byte_ms")}{}`, "0+1000x30"),
        samples(`${FIRST_BYTE}{le="0.1"}`, "0+980x30"),
        samples(`${FIRST_BYTE}{le="0.25"}`, "0+980x30"),
        samples(`${FIRST_BYTE}{le="0.5"}`, "0+1000x30"),
        samples(`${FIRST_BYTE}{le="+Inf"}`, "0+1000x30"),
      ],
    },
  },
  {
    name: "RequestsRefused",
    severity: "warning",
    expr: `${REFUSED} > 1 and ${REFUSED} > 0.1 * ${REQUEST_RATE}`,
    for: "15s",
    summary: "Many connections or requests are refused",
    description:
      "Clients send invalid HTTP, time out, fail their TLS handshake or are too many. error.log has the reasons and addresses: a broken proxy in front, a scanner or a flood.",
    runbook: [
      "Refused before routing: more than one a second, and more than a tenth of all requests.",
      "- `codetogether_balancer_refused_total` by `reason`, and error.log with the addresses ([logs](logs.md)).",
      "- All requests are refused with `a client sent a PROXY protocol header`: set `CT_PROXY_PROTOCOL=on`, or turn that off in front ([proxies](proxies.md)).",
      "- `too many connections`: see [ConnectionsNearLimit](#codetogetherconnectionsnearlimit).",
      "- A scanner or a flood: block its addresses in front of the edge.",
    ],
    fires: {
      series: [
        requests("0+20x30"),
        samples(`${metric("balancer.refused")}{reason="no HTTP"}`, "0x5 0+50x30"),
      ],
      labels: {},
    },
    staysQuiet: {
      series: [
        requests("0+500x30"),
        samples(`${metric("balancer.refused")}{reason="no HTTP"}`, "0+10x30"),
      ],
    },
  },
  {
    name: "ConnectionsNearLimit",
    severity: "warning",
    expr: `${CONNECTIONS} / ${LIMIT} > 0.9`,
    for: "15s",
    summary: "Balancer {{ $labels.instance }} is near its limit of connections",
    description:
      "At the limit it refuses clients. Add a balancer, raise CT_MAX_CONNECTIONS, or raise the limit of file descriptors, which may be what bounds it.",
    runbook: [
      "More than 90 % of the connections that this balancer accepts are open. The limit is `CT_MAX_CONNECTIONS`, or what its file descriptors allow; the balancer logs which at its start.",
      "- People: add a balancer ([capacity](capacity.md)).",
      "- Descriptors (`ulimit -n`, `LimitNOFILE`, the container's limit): two for each connection.",
      "- Connections without people: a flood, or clients that never close; access.log shows their addresses.",
    ],
    fires: {
      series: [
        samples(CONNECTIONS + OF_BALANCER, "10x11 95x12"),
        samples(LIMIT + OF_BALANCER, "100x24"),
      ],
      labels: LABELS,
    },
    staysQuiet: {
      series: [samples(CONNECTIONS + OF_BALANCER, "80x24"), samples(LIMIT + OF_BALANCER, "100x24")],
    },
  },
  {
    name: "CertificateExpiresSoon",
    severity: "warning",
    expr: `${EXPIRES} < 14 * ${DAY_S}`,
    for: "0s",
    summary: "A certificate of balancer {{ $labels.instance }} expires within two weeks",
    description:
      "Renew it and replace the file of CT_TLS_CERT; balancers load it within 5 s, without a restart.",
    runbook: [
      "The first certificate of the HTTPS port that expires. The dashboard's checks name it.",
      "- Renew it and replace the files of `CT_TLS_CERT` and `CT_TLS_KEY` ([TLS](tls.md)); `certificates reloaded` in the log has the new date.",
      "- Only one balancer fires: it has an old file, or cannot read the new one.",
    ],
    fires: { series: [samples(EXPIRES + OF_BALANCER, `${13 * DAY_S}x24`)], labels: LABELS },
    staysQuiet: { series: [samples(EXPIRES + OF_BALANCER, `${15 * DAY_S}x24`)] },
  },
  {
    name: "CertificateExpires",
    severity: "critical",
    expr: `${EXPIRES} < 2 * ${DAY_S}`,
    for: "0s",
    summary: "A certificate of balancer {{ $labels.instance }} expires within two days",
    description:
      "Afterwards browsers and IDEs refuse to connect. Renew it and replace the file of CT_TLS_CERT now.",
    runbook: [
      "As [CertificateExpiresSoon](#codetogethercertificateexpiressoon), with less than two days left, or already expired.",
    ],
    fires: { series: [samples(EXPIRES + OF_BALANCER, "0x24")], labels: LABELS },
    staysQuiet: { series: [samples(EXPIRES + OF_BALANCER, `${3 * DAY_S}x24`)] },
  },
  {
    name: "CertificateNotRenewed",
    severity: "warning",
    expr: `max by (job) (${ORDERS_FAILED}) >= 1`,
    for: "20m",
    summary: "Orders of the certificate of CT_ACME_DOMAINS fail",
    description:
      "The certificate in use stays. ct-edge certificate shows why the last order failed, until when the certificate is valid, and when the next order is due.",
    runbook: [
      "For 20 minutes no order has succeeded after one that failed. Orders are repeated, at longer and longer intervals, so that the authority's limits are kept; or a balancer cannot read the certificate in the store, because of another CT_SECRET.",
      "- `ct-edge certificate` and the dashboard's checks have the reason; [TLS](tls.md#when-an-order-fails) has the cure of each.",
      "- When the cause is gone, `ct-edge certificate --renew` orders at once.",
    ],
    fires: {
      series: [samples(ORDERS_FAILED + OF_BALANCER, "1x300")],
      at: "21m",
      labels: { job: LABELS.job },
    },
    // The first order after one that failed succeeds.
    staysQuiet: { series: [samples(ORDERS_FAILED + OF_BALANCER, "1x150 0x150")], at: "21m" },
  },
  {
    name: "ObtainedCertificateExpires",
    severity: "critical",
    expr: `(min by (job) (${OBTAINED_EXPIRES}) < 2 * ${DAY_S} and (max by (job) (${ORDERS_FAILED}) >= 1 or min by (job) (${NEXT_ORDER}) > min by (job) (${OBTAINED_EXPIRES}))) or min by (job) (${OBTAINED_EXPIRES}) == 0 or max by (job) (${REVOKED}) == 1`,
    for: "0s",
    summary:
      "The certificate of CT_ACME_DOMAINS has expired, is revoked, or expires within two days while its renewal fails",
    description:
      "Browsers and IDEs refuse to connect, or soon will. ct-edge certificate shows why orders fail.",
    runbook: [
      "As [CertificateNotRenewed](#codetogethercertificatenotrenewed), with less than two days left, or already expired; or the authority has revoked the certificate, and there is no other one yet.",
      "- A certificate from elsewhere in `CT_TLS_CERT` and `CT_TLS_KEY` takes its place after a restart of the balancers.",
    ],
    fires: {
      series: [
        samples(OBTAINED_EXPIRES + OF_BALANCER, `${DAY_S}x24`),
        samples(ORDERS_FAILED + OF_BALANCER, "1x24"),
      ],
      labels: { job: LABELS.job },
    },
    staysQuiet: {
      series: [
        samples(OBTAINED_EXPIRES + OF_BALANCER, `${DAY_S}x24`),
        samples(ORDERS_FAILED + OF_BALANCER, "0x24"),
        samples(NEXT_ORDER + OF_BALANCER, "3600x24"),
        samples(REVOKED + OF_BALANCER, "0x24"),
      ],
    },
  },
];

/** Metrics of certificates: those in files, and the one that the edge obtains itself. */
import type { Metric } from "./metric.ts";

export const CERTIFICATE_METRICS = {
  "balancer.certificate_expires_in_ms": {
    scope: "balancer",
    kind: "gauge",
    unit: "ms",
    meaning:
      "until the first of the certificates in the files of CT_TLS_CERT expires, 0 afterwards; none without certificates",
  },
  "balancer.acme.orders": {
    scope: "balancer",
    kind: "counter",
    unit: "number",
    meaning: "orders of a certificate (CT_ACME_DOMAINS) that this balancer has led, by outcome",
    tag: "outcome",
    values: ["issued", "failed"],
  },
  "balancer.acme.failures": {
    scope: "balancer",
    kind: "gauge",
    unit: "number",
    meaning:
      "orders that failed since the last one that succeeded, in the whole edge; 1 too while the certificate in the store cannot be read",
  },
  "balancer.acme.revoked": {
    scope: "balancer",
    kind: "gauge",
    unit: "number",
    meaning: "1 while the certificate is one that its authority has revoked",
  },
  "balancer.acme.expires_in_ms": {
    scope: "balancer",
    kind: "gauge",
    unit: "ms",
    meaning: "until the certificate of CT_ACME_DOMAINS expires, 0 afterwards; none without one",
  },
  "balancer.acme.next_order_in_ms": {
    scope: "balancer",
    kind: "gauge",
    unit: "ms",
    meaning: "until that certificate is renewed, or an order that failed is tried again",
  },
} as const satisfies Record<string, Metric>;

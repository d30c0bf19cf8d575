/** Values that several alerts and panels of the dashboard use, computed once. */
import { buckets, metric, observations, perEdge } from "./metric.ts";

export interface RecordingRule {
  readonly record: string;
  readonly expr: string;
}

const requests = perEdge("sum", `rate(${metric("balancer.requests")}[1m])`);
const failed = perEdge("sum", `rate(${metric("balancer.failed", 'status=~"5.."')}[1m])`);
const workerErrors = perEdge("sum", `rate(${metric("balancer.answers", 'status="5xx"')}[1m])`);

function p95(name: "balancer.first_byte_ms" | "store.latency_ms"): string {
  return `histogram_quantile(0.95, sum by (namespace, le) (rate(${buckets(name)}[1m])))`;
}

export const REQUEST_RATE = "codetogether:balancer_requests:rate1m";
export const FAILED_RATE = "codetogether:balancer_failed_5xx:rate1m";
export const WORKER_ERROR_RATE = "codetogether:balancer_answers_5xx:rate1m";
export const FIRST_BYTE_RATE = "codetogether:balancer_first_byte:rate1m";
export const FIRST_BYTE_P95 = "codetogether:balancer_first_byte_seconds:p95_rate1m";
export const STORE_P95 = "codetogether:store_latency_seconds:p95_rate1m";

export const RECORDING_RULES: readonly RecordingRule[] = [
  { record: REQUEST_RATE, expr: requests },
  { record: FAILED_RATE, expr: failed },
  { record: WORKER_ERROR_RATE, expr: workerErrors },
  {
    record: FIRST_BYTE_RATE,
    expr: perEdge("sum", `rate(${observations("balancer.first_byte_ms")}[1m])`),
  },
  { record: FIRST_BYTE_P95, expr: p95("balancer.first_byte_ms") },
  { record: STORE_P95, expr: p95("store.latency_ms") },
];

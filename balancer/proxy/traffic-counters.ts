/**
 * What is counted and measured of every request: each counter is looked up by its name once, not once a request.
 */
import type { Counter, Counters, Histogram } from "../../shared/metrics/metrics.ts";
import type { Reason } from "../routing/router.ts";
import type { Rule } from "../routing/session-key.ts";

export interface TrafficCounters {
  /** By the rule that found the route. */
  readonly requests: Counter<Rule>;
  /** By the reason of the choice. */
  readonly routes: Counter<Reason>;
  /** Responses of workers. */
  readonly answers: Counter<StatusClass>;
  readonly firstByteMs: Histogram;
  readonly latencyMs: Histogram;
}

const STATUS_CLASSES = ["1xx", "2xx", "3xx", "4xx", "5xx"] as const;

export type StatusClass = (typeof STATUS_CLASSES)[number];

export function createTrafficCounters(counters: Counters): TrafficCounters {
  return {
    requests: counters.counter("balancer.requests"),
    routes: counters.counter("balancer.routes"),
    answers: counters.counter("balancer.answers"),
    firstByteMs: counters.histogram("balancer.first_byte_ms"),
    latencyMs: counters.histogram("balancer.latency_ms"),
  };
}

export function statusClass(status: number): StatusClass {
  return STATUS_CLASSES[Math.floor(status / 100) - 1] ?? "5xx";
}

/** Metrics of the links between balancers and workers. The counters are counted in link-counters.ts. */
import type { Metric } from "./metric.ts";

export const LINK_METRICS = {
  // --- balancer ---
  "balancer.links": {
    scope: "balancer",
    kind: "gauge",
    unit: "connections",
    meaning: "open links, by worker; 0 while requests to it take connections of their own",
    tag: "worker",
  },
  "balancer.link.streams": {
    scope: "balancer",
    kind: "gauge",
    unit: "number",
    meaning:
      "open streams of links, by worker: a WebSocket each, and those kept for the next small request",
    tag: "worker",
  },
  "balancer.link.received_frames": {
    scope: "balancer",
    kind: "counter",
    unit: "frames",
    meaning: "frames received over links, by worker",
    tag: "worker",
  },
  "balancer.link.sent_frames": {
    scope: "balancer",
    kind: "counter",
    unit: "frames",
    meaning: "frames sent over links, by worker",
    tag: "worker",
  },
  "balancer.link.received_bytes": {
    scope: "balancer",
    kind: "counter",
    unit: "bytes",
    meaning: "bytes received over links, with the headers of frames, by worker",
    tag: "worker",
  },
  "balancer.link.sent_bytes": {
    scope: "balancer",
    kind: "counter",
    unit: "bytes",
    meaning: "bytes sent over links, with the headers of frames, by worker",
    tag: "worker",
  },
  "balancer.link.stalls": {
    scope: "balancer",
    kind: "counter",
    unit: "events",
    meaning:
      "times that a stream had something to send and had to wait, because its receiver read slowly, by worker",
    tag: "worker",
  },
  "balancer.link.resets": {
    scope: "balancer",
    kind: "counter",
    unit: "events",
    meaning: "streams that either side aborted, or that ended with their link, by worker",
    tag: "worker",
  },
  "balancer.link.errors": {
    scope: "balancer",
    kind: "counter",
    unit: "events",
    meaning: "frames that broke the protocol of links, by worker",
    tag: "worker",
  },

  // --- worker ---
  "worker.links": {
    scope: "worker",
    kind: "gauge",
    unit: "connections",
    meaning: "open links of balancers",
  },
  "worker.link.streams": {
    scope: "worker",
    kind: "gauge",
    unit: "number",
    meaning: "open streams of links",
  },
  "worker.link.received_frames": {
    scope: "worker",
    kind: "counter",
    unit: "frames",
    meaning: "frames received over links",
  },
  "worker.link.sent_frames": {
    scope: "worker",
    kind: "counter",
    unit: "frames",
    meaning: "frames sent over links",
  },
  "worker.link.received_bytes": {
    scope: "worker",
    kind: "counter",
    unit: "bytes",
    meaning: "bytes received over links, with the headers of frames",
  },
  "worker.link.sent_bytes": {
    scope: "worker",
    kind: "counter",
    unit: "bytes",
    meaning: "bytes sent over links, with the headers of frames",
  },
  "worker.link.stalls": {
    scope: "worker",
    kind: "counter",
    unit: "events",
    meaning:
      "times that a stream had something to send and had to wait, because its receiver read slowly",
  },
  "worker.link.resets": {
    scope: "worker",
    kind: "counter",
    unit: "events",
    meaning: "streams that either side aborted, or that ended with their link",
  },
  "worker.link.errors": {
    scope: "worker",
    kind: "counter",
    unit: "events",
    meaning: "frames that broke the protocol of links",
  },
} as const satisfies Record<string, Metric>;

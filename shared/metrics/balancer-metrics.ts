/** Metrics of a balancer. The links' counters are counted in link-counters.ts. */
import { by, counter, gauge, histogram } from "./metric.ts";

const RULES = ["sid", "token", "header", "path", "room", "claim", "cookie", "none"] as const;
const REASONS = ["tag", "record", "ring", "load", "misdirected", "told", "nobody"] as const;
const STATUS_CLASSES = ["1xx", "2xx", "3xx", "4xx", "5xx"] as const;
const WORKER_STATES = [
  "up",
  "suspended",
  "draining",
  "unhealthy",
  "down",
  "suspect",
  "dead",
] as const;
const CAUSES = ["crash", "move"] as const;

export const BALANCER_METRICS = {
  // --- requests and what became of them ---
  "balancer.requests": counter("requests", by("rule", RULES)).meaning(
    "requests whose head was accepted, by the rule that found the session key",
  ),
  "balancer.routes": counter("requests", by("reason", REASONS)).meaning(
    "choices of a worker, by reason; a retried request is counted again",
  ),
  "balancer.answers": counter("requests", by("status", STATUS_CLASSES)).meaning(
    "responses of workers passed on, by status class",
  ),
  "balancer.failed": counter("requests", by("status")).meaning(
    "requests to which the balancer itself responded with an error, by status",
  ),
  "balancer.refused": counter("requests", by("reason")).meaning(
    "connections and requests refused before routing, by reason; includes failed TLS handshakes",
  ),

  // --- limits for each address ---
  "balancer.limited": counter(
    "requests",
    by("kind", ["connections", "handshakes", "requests", "logins", "creates"]),
  ).meaning(
    "connections and requests beyond the limits of their address (CT_LIMIT_…), by kind; refused, unless CT_LIMIT_DRY_RUN is on",
  ),
  "balancer.limited_addresses": gauge("number").meaning(
    "addresses that have used some of what CT_LIMIT_… allows, and have not got it back yet",
  ),

  // --- certificates: those in files, and the one that the edge obtains itself ---
  "balancer.certificate_expires_in_ms": gauge("ms").meaning(
    "until the first of the certificates in the files of CT_TLS_CERT expires, 0 afterwards; none without certificates",
  ),
  "balancer.acme.orders": counter("number", by("outcome", ["issued", "failed"])).meaning(
    "orders of a certificate (CT_ACME_DOMAINS) that this balancer has led, by outcome",
  ),
  "balancer.acme.failures": gauge("number").meaning(
    "orders that failed since the last one that succeeded, in the whole edge; 1 too while the certificate in the store cannot be read",
  ),
  "balancer.acme.revoked": gauge("number").meaning(
    "1 while the certificate is one that its authority has revoked",
  ),
  "balancer.acme.expires_in_ms": gauge("ms").meaning(
    "until the certificate of CT_ACME_DOMAINS expires, 0 afterwards; none without one",
  ),
  "balancer.acme.next_order_in_ms": gauge("ms").meaning(
    "until that certificate is renewed, or an order that failed is tried again",
  ),

  // --- connections and requests ---
  "balancer.first_byte_ms": histogram("ms").meaning(
    "from the head of a request to the head of its response; long polls are left out",
  ),
  "balancer.latency_ms": histogram("ms").meaning(
    "from the head of a request to the end of its response; long polls are left out",
  ),
  "balancer.connections": gauge("connections").meaning("open client connections"),
  "balancer.connections_limit": gauge("connections").meaning(
    "client connections that it accepts at most: CT_MAX_CONNECTIONS, or fewer with too few file descriptors",
  ),
  "balancer.tunnels": gauge("connections").meaning("open WebSockets"),
  "balancer.upgrades": counter("connections").meaning("connections that became a tunnel"),
  "balancer.misdirected": counter("requests", by("outcome")).meaning(
    "responses of workers with status 421, by what the balancer did about them",
  ),
  "balancer.outdated": counter("events").meaning(
    "connections that a worker accepted for a session although another worker has it under a higher epoch",
  ),
  "balancer.retries": counter("requests").meaning("requests sent again after a worker failed"),
  "balancer.held": counter("requests").meaning(
    "requests queued for a retry because their worker could not be reached",
  ),
  "balancer.holding": gauge("requests").meaning("requests in the retry queue"),
  "balancer.lookups": counter("requests", by("result", ["found", "none", "late", "away"])).meaning(
    "lookups of a session's record in the store, by result",
  ),
  "balancer.moved": counter("events").meaning(
    "sessions seen to have moved to another worker (under a higher epoch)",
  ),

  // --- members ---
  "balancer.workers": gauge("number", by("state", WORKER_STATES)).meaning(
    "workers as this balancer sees them, by state",
  ),
  "balancer.rings": gauge("number").meaning(
    "different hash rings among the members; with more than one, processes route the same key differently",
  ),
  "balancer.members_ignored": gauge("number").meaning(
    "members that it ignores, because their CT_SECRET differs or their address is not allowed",
  ),

  // --- links to workers ---
  "balancer.links": gauge("connections", by("worker")).meaning(
    "open links, by worker; 0 while requests to it take connections of their own",
  ),
  "balancer.link.streams": gauge("number", by("worker")).meaning(
    "open streams of links, by worker: a WebSocket each, and those kept for the next small request",
  ),
  "balancer.link.received_frames": counter("frames", by("worker")).meaning(
    "frames received over links, by worker",
  ),
  "balancer.link.sent_frames": counter("frames", by("worker")).meaning(
    "frames sent over links, by worker",
  ),
  "balancer.link.received_bytes": counter("bytes", by("worker")).meaning(
    "bytes received over links, with the headers of frames, by worker",
  ),
  "balancer.link.sent_bytes": counter("bytes", by("worker")).meaning(
    "bytes sent over links, with the headers of frames, by worker",
  ),
  "balancer.link.stalls": counter("events", by("worker")).meaning(
    "times that a stream had something to send and had to wait, because its receiver read slowly, by worker",
  ),
  "balancer.link.resets": counter("events", by("worker")).meaning(
    "streams that either side aborted, or that ended with their link, by worker",
  ),
  "balancer.link.errors": counter("events", by("worker")).meaning(
    "frames that broke the protocol of links, by worker",
  ),

  // --- WebSockets that stay open while their session moves to another worker ---
  "balancer.resume.waiting": gauge("connections").meaning(
    "open WebSockets that wait for another worker to go on with them",
  ),
  "balancer.resume.done": counter("connections", by("cause", CAUSES)).meaning(
    "open WebSockets that another worker went on with, by cause: `move` (its worker gave the session away), `crash` (it had gone, or had lost the session)",
  ),
  "balancer.resume.closed": counter("connections", by("reason")).meaning(
    "closed WebSockets, because no worker could go on with them, by reason; their clients reconnect",
  ),
  "balancer.resume.gap_ms": histogram("ms").meaning(
    "for resumed WebSockets: from the loss of one worker until the next one went on",
  ),
  "balancer.resume.messages": counter("messages").meaning(
    "messages of clients that were sent again to the next worker",
  ),
  "balancer.resume.repeats": counter("messages").meaning(
    "messages that were dropped because their receivers had got them before a crash",
  ),
};

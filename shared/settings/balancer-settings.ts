/** Settings of the balancer: certificates that the edge obtains itself (ACME, RFC 8555), trusted proxies, limits and timeouts. */
import { ALL, BALANCER } from "./setting.ts";

/** Host names of at least two labels: no addresses, no wildcards. */
const DOMAIN =
  /^(?=.{4,253}$)(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z][A-Za-z0-9-]{0,61}[A-Za-z0-9]$/;
/** A key id, and a key of at least 128 bits in base64url, as authorities give them. */
const BINDING = /^[^\s:]{1,200}:[A-Za-z0-9_+/-]{22,400}={0,2}$/;

export const BALANCER_SETTINGS = {
  // --- certificates ---
  acmeDomains: BALANCER.list("CT_ACME_DOMAINS", {
    pattern: DOMAIN,
    allowed:
      "host names like edge.example.com; a wildcard would need a record in DNS, which the edge cannot write",
  }).why(
    "Host names for which the edge obtains one certificate and renews it, which means that you agree to the terms of the authority. Each must lead to this edge: its port 80 to CT_PORT, or its port 443 to CT_TLS_PORT. The same for every balancer.",
  ),
  acmeEmail: BALANCER.text("CT_ACME_EMAIL", {
    pattern: /^[^\s@,<>]{1,64}@[^\s@,<>]{1,253}$/,
    allowed: "an email address",
  }).why("Where the authority may write to about the account; some require it."),
  acmeUrl: BALANCER.text("CT_ACME_URL", {
    default: "https://acme-v02.api.letsencrypt.org/directory",
    pattern: /^https:\/\/[^\s?#@]+$/,
    allowed: "the https URL of an authority's ACME directory",
  }).why(
    "Directory of the certificate authority (ACME); https://acme-staging-v02.api.letsencrypt.org/directory for a trial.",
  ),
  acmeCa: BALANCER.text("CT_ACME_CA").why(
    "PEM file with the root of the authority at CT_ACME_URL, when that is your own; it is trusted besides the public ones.",
  ),
  acmeEab: BALANCER.text("CT_ACME_EAB", {
    secret: true,
    pattern: BINDING,
    allowed: "the key id and the key that the authority gives, like kid-1:zWNDZM6eQGHWpSRTPal5eA",
  }).why(
    "Binds the account to one that you have with the authority (external account binding), `id:key`.",
  ),

  // --- limits and timeouts ---
  trustedProxies: BALANCER.list("CT_TRUSTED_PROXIES", {
    pattern: /^[0-9A-Fa-f:.]+(\/\d{1,3})?$/,
    allowed: "addresses or ranges like 10.0.0.0/8",
  }).why(
    "Proxies in front of the edge whose X-Forwarded-*, Forwarded and X-Real-IP headers are trusted, in this order of precedence (default: none).",
  ),
  proxyProtocol: BALANCER.flag("CT_PROXY_PROTOCOL").why(
    "Peers in CT_TRUSTED_PROXIES begin each connection to the public ports with a header of the PROXY protocol, version 1 or 2, which names the client; without it they are answered health checks only. Of other peers none is taken.",
  ),
  limitConnections: BALANCER.number("CT_LIMIT_CONNECTIONS", 30_000, [0, 100_000_000]).why(
    "For each address (IPv6: each /64), at once and then per minute: new connections to the public ports; more are closed. 20 times as many where a room token of this edge was seen in the last 10 minutes. 0: no limit.",
  ),
  limitHandshakes: BALANCER.number("CT_LIMIT_HANDSHAKES", 3000, [0, 100_000_000]).why(
    "For each address (IPv6: each /64), at once and then per minute: new connections of the protocol (socket.io handshakes) without a room token of this edge; more get 429. Each room token has 600. 0: no limit.",
  ),
  limitRequests: BALANCER.number("CT_LIMIT_REQUESTS", 60_000, [0, 100_000_000]).why(
    "For each address (IPv6: each /64), at once and then per minute: requests of all kinds; more get 429. Requests of open connections of the protocol, and handshakes with a room token of this edge, are counted apart, and may be 10 times as many. 0: no limit.",
  ),
  limitLogins: BALANCER.number("CT_LIMIT_LOGINS", 3000, [0, 100_000_000]).why(
    "For each address (IPv6: each /64), at once and then per minute: steps of sign-ins, not counting polls; more get 429. 0: no limit.",
  ),
  limitCreates: BALANCER.number("CT_LIMIT_CREATES", 600, [0, 100_000_000]).why(
    "For each address (IPv6: each /64), at once and then per minute: new sessions; more get 429. 0: no limit.",
  ),
  limitDryRun: BALANCER.flag("CT_LIMIT_DRY_RUN").why(
    "Counts what is beyond CT_LIMIT_… in the metric balancer.limited, and refuses nothing.",
  ),
  maxConnections: BALANCER.number("CT_MAX_CONNECTIONS", undefined, [1, 1_000_000]).why(
    "Most open client connections; more get 503 (default: 20000, or as many as the process's file descriptors allow at two per connection).",
  ),
  maxRequestsPerWorker: BALANCER.number("CT_MAX_REQUESTS_PER_WORKER", 2000, [1, 1_000_000]).why(
    "Most concurrent requests per worker, WebSockets not counted; more get 503 with Retry-After. Each person who is signing in occupies one. New sessions get it at 80 %, join requests and sign-ins at 90 % (each share at least one request, so below 10 some are the same); handshakes of sessions may be 1.5 times as many, long-polling requests of open connections twice.",
  ),
  fastReads: BALANCER.flag("CT_FAST_READS", true).why(
    "Reads clients into buffers that are used again, which saves a fifth of the CPU time. Node has no documented option for it, so each start tests it and otherwise reads as usual; `off` skips both.",
  ),
  link: ALL.flag("CT_LINK", true).why(
    "Carries WebSockets and small requests between a balancer and a worker over one connection, which saves up to two fifths of the CPU time of WebSockets; `off`, at either side, gives each its own connection.",
  ),
  maxHeadBytes: ALL.number("CT_MAX_HEAD_BYTES", 32_768, [4096, 1024 * 1024]).why(
    "Largest request head (request line and headers); a larger one gets 431. The same for balancers and workers; raise it only for clients with very large cookies.",
  ),
  maxTargetBytes: BALANCER.number("CT_MAX_TARGET_BYTES", 8192, [1024, 512 * 1024]).why(
    "Longest path and query of a request; a longer one gets 414.",
  ),
  connectTimeoutMs: BALANCER.number("CT_CONNECT_TIMEOUT_MS", 1000, [50, 60_000]).why(
    "How long a worker may take to accept a connection before another one is tried.",
  ),
  upstreamTimeoutMs: BALANCER.number("CT_UPSTREAM_TIMEOUT_MS", 60_000, [100, 3_600_000]).why(
    "How long a worker may take to start a response or to continue it; long polls need more than 30 s.",
  ),
  headerTimeoutMs: BALANCER.number("CT_HEADER_TIMEOUT_MS", 10_000, [100, 600_000]).why(
    "How long a client may take to send the head of a request, and to finish the TLS handshake; bounds how long a slow attacker holds a connection.",
  ),
  bodyTimeoutMs: BALANCER.number("CT_BODY_TIMEOUT_MS", 30_000, [100, 3_600_000]).why(
    "Longest pause of a client while it sends a request body or reads a response.",
  ),
  keepaliveTimeoutMs: BALANCER.number("CT_KEEPALIVE_TIMEOUT_MS", 65_000, [100, 7_200_000]).why(
    "How long an idle client connection stays open between two requests.",
  ),
  warmUpMs: BALANCER.number("CT_WARM_UP_MS", 1000, [0, 10_000]).why(
    "Longest time that a balancer warms up before it opens its ports, by sending requests to itself on the loopback address, so that the first clients do not wait for its code to be compiled; 0 turns it off.",
  ),
};

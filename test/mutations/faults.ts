/**
 * Faults that are planted in the sources one at a time: at least one of the tests named with each must fail. `npm run mutations`
 * (run.ts) does that; mutations.test.ts checks that each fits the sources.
 */
export interface Fault {
  /** What the product would do wrong. */
  readonly name: string;
  readonly file: string;
  /** Occurs once in the file. */
  readonly code: string;
  readonly instead: string;
  /** Files or folders of tests, of which at least one test notices. */
  readonly tests: readonly string[];
}

export const FAULTS: readonly Fault[] = [
  // --- balancer ---
  {
    name: "a request that may not be repeated is sent to a second worker",
    file: "balancer/proxy/retry-policy.ts",
    code: 'reached === "response" || !isRepeatable || history.lost > MAX_LOST',
    instead: 'reached === "response" || history.lost > MAX_LOST',
    tests: ["test/balancer/proxy/retry-policy.test.ts", "test/balancer/proxy/exchange.test.ts"],
  },
  {
    name: "a request that workers die of is sent to all of them",
    file: "balancer/proxy/retry-policy.ts",
    code: "return { ...NO_RETRIES, lost, heldUntilMs };",
    instead: "return { ...NO_RETRIES, heldUntilMs };",
    tests: ["test/balancer/proxy/retry-policy.test.ts"],
  },
  {
    name: "a request follows a 421 to the worker that sent it",
    file: "balancer/routing/decision.ts",
    code: 'if (named.isSender) return "owner names itself";',
    instead: "",
    tests: ["test/balancer/proxy/misdirected.test.ts"],
  },
  {
    name: "a new session is placed beyond the load cap",
    file: "balancer/routing/decision.ts",
    code: "const pool = isCreate && view.isLeased ? withinLoadCap(notLate) : usable;",
    instead: "const pool = isCreate && view.isLeased ? notLate : usable;",
    tests: ["test/balancer/routing"],
  },
  {
    name: "an owner of a lower epoch replaces a cached one",
    file: "balancer/routing/owner-cache.ts",
    code: "if (known !== undefined && known.epoch > epoch) return;",
    instead: "",
    tests: ["test/balancer/routing/router.test.ts"],
  },
  {
    name: "a create follows the cookie of an earlier session",
    file: "balancer/routing/session-key.ts",
    code: "if (isCreate) return undefined;",
    instead: "",
    tests: ["test/balancer/routing/session-key.test.ts"],
  },
  {
    name: "a late response to an old probe makes a failed worker healthy",
    file: "balancer/upstreams/health.ts",
    code: 'before.state === "healthy" || askedMs < before.lastFailure.atMs',
    instead: 'before.state === "healthy"',
    tests: ["test/balancer/upstreams/health.test.ts"],
  },
  {
    name: "two thirds of the workers in doubt are no panic",
    file: "balancer/upstreams/health.ts",
    code: "return doubted * 2 > all;",
    instead: "return doubted > all;",
    tests: ["test/balancer/upstreams/health.test.ts"],
  },
  {
    name: "an address gets more tokens than its limit after a pause",
    file: "balancer/limits/token-buckets.ts",
    code: "bucket.tokens = Math.min(this.#perMinute, bucket.tokens + gained);",
    instead: "bucket.tokens = bucket.tokens + gained;",
    tests: ["test/balancer/limits/limiter.test.ts"],
  },
  {
    name: "an endless size of a chunk is read",
    file: "balancer/http1/framing.ts",
    code: 'if (this.#digits > MAX_SIZE_DIGITS) throw this.#bad("chunk size");',
    instead: "",
    tests: ["test/balancer/http1/framing.test.ts"],
  },
  {
    name: "a port beyond 65535 in a PROXY header is taken",
    file: "balancer/transport/proxy-header.ts",
    code: "Number(text) <= 65_535",
    instead: "Number(text) <= 99_999",
    tests: ["test/balancer/transport/proxy-header.test.ts"],
  },
  {
    name: "an order by hand ignores the limit that the authority named",
    file: "balancer/acme/schedule.ts",
    code: 'if (failure.kind === "rate-limited") return nowMs >= failure.retryMs;',
    instead: "",
    tests: ["test/balancer/acme/acme.test.ts"],
  },
  // --- worker ---
  {
    name: "a worker relays until its lease ends, without a margin",
    file: "shared/membership/fence-rule.ts",
    code: "export const FENCE_MS = MEMBER_LEASE_MS - 1000;",
    instead: "export const FENCE_MS = MEMBER_LEASE_MS + 1000;",
    tests: ["test/shared/membership/fence-rule.test.ts", "test/worker/sessions/fence.test.ts"],
  },
  {
    name: "a response reaches its requester although another one answered before",
    file: "worker/sessions/peers/relay.ts",
    code: 'if (!requests.take(relayedId) && request.epoch === deps.epoch()) return "late";',
    instead: "requests.take(relayedId);",
    tests: ["test/worker/sessions/main-path.test.ts"],
  },
  {
    name: "a peer forges the id of a request, and its answer reaches whom it likes",
    file: "worker/sessions/wire/relay-id.ts",
    code: 'return isProven ? text.split(".") : undefined;',
    instead: 'return isProven || text !== "" ? text.split(".") : undefined;',
    tests: ["test/worker/sessions/parts.test.ts"],
  },
  {
    name: "a peer that is away buffers without limit",
    file: "worker/sessions/peers/peer.ts",
    code: "if (outbound.own && this.#waitingOwn >= MAX_OWN_WAITING) {",
    instead: "if (false) {",
    tests: ["test/worker/sessions/peer.test.ts"],
  },
  {
    name: "a ticket that no worker signed resumes a WebSocket",
    file: "worker/sessions/resume-ticket.ts",
    code: "if (dot < 0 || !isProven) return undefined;",
    instead: "if (dot < 0) return undefined;",
    tests: ["test/worker/sessions/resume-ticket.test.ts"],
  },
  {
    name: "a page of another site drains a worker with the operator's cookie",
    file: "worker/dashboard/routes.ts",
    code: 'if (request.method === "POST" && operator.way !== "token" && !isOwnPage(request)) {',
    instead: "if (false) {",
    tests: ["test/worker/dashboard/routes.test.ts"],
  },
  {
    name: "a token that has expired signs a person in",
    file: "worker/login/tokens.ts",
    code: "if (isExpired(expMs) || (await isRevoked(jti, user, expMs))) return undefined;",
    instead: "if (await isRevoked(jti, user, expMs)) return undefined;",
    tests: ["test/worker/tokens.test.ts"],
  },
  {
    name: "more events of one receiver are sent at once than it takes",
    file: "worker/webhooks/lanes.ts",
    code: "if (this.#sending.size >= atOnce) break;",
    instead: "",
    tests: ["test/worker/webhooks/lanes.test.ts"],
  },
  {
    name: "a changed line of the audit log verifies",
    file: "shared/audit/line.ts",
    code: "first.length === second.length && timingSafeEqual(first, second)",
    instead: "first.length === second.length",
    tests: ["test/edge/audit"],
  },
  {
    name: "a person whose teams are unknown passes a rule that denies",
    file: "shared/policy/decide.ts",
    code: 'if (isFor === "no") continue;\n      if (rule[action] === "deny") {',
    instead: 'if (isFor !== "yes") continue;\n      if (rule[action] === "deny") {',
    tests: ["test/shared/policy/decide.test.ts"],
  },
  // --- store and membership ---
  {
    name: "a take-over of a refused owner does not wait for its heartbeat to be old",
    file: "shared/store/ownership.ts",
    code: 'claimant.evidence === "refused" && holder.sinceLastHeartbeatMs >= REFUSED_HEARTBEAT_AGE_MS',
    instead: 'claimant.evidence === "refused"',
    tests: ["test/shared/store/ownership.test.ts"],
  },
  {
    name: "an epoch falls when the store's clock goes back",
    file: "shared/store/ownership.ts",
    code: "return Math.max(previous + 1, nowMs);",
    instead: "return nowMs;",
    tests: ["test/shared/store/ownership.test.ts"],
  },
  {
    name: "Redis renews the lease of a replaced incarnation",
    file: "shared/store/redis/scripts/renew.lua",
    code: "if string.sub(value, 1, 16) ~= incarnation then return 'replaced' end",
    instead: "",
    tests: ["test/shared/store/redis.test.ts"],
  },
  {
    name: "a user creates one session more than the quota",
    file: "shared/store/embedded/state/sessions.ts",
    code: "table.countOpen(now, create.userId) >= create.maxPerUser",
    instead: "table.countOpen(now, create.userId) > create.maxPerUser",
    tests: ["test/shared/store/embedded.test.ts"],
  },
  {
    name: "a worker that is missing while the store settles loses its sessions",
    file: "shared/membership/missing-owners.ts",
    code: "if (!seen.booted) return new Map();",
    instead: "",
    tests: ["test/shared/membership/missing-owners.test.ts"],
  },
  {
    name: "two balancers that learn of the workers in another order have other rings",
    file: "shared/membership/ring.ts",
    code: "const sorted = [...members].sort((a, b) => (a.id < b.id ? -1 : 1));",
    instead: "const sorted = [...members];",
    tests: ["test/shared/membership/ring.test.ts"],
  },
  // --- operations ---
  {
    name: "a process that keeps failing restarts without a longer delay",
    file: "shared/children/backoff.ts",
    code: "backoffMs(BACKOFF, ends - 1, random)",
    instead: "backoffMs(BACKOFF, 0, random)",
    tests: ["test/shared/children/backoff.test.ts"],
  },
  {
    name: "rotated logs exceed their budget",
    file: "shared/logs/rotation.ts",
    code: "if (kept.length + 1 < maxFiles - 1 && bytes <= budget) kept.push(number);",
    instead: "if (kept.length < maxFiles && bytes <= 2 * budget) kept.push(number);",
    tests: ["test/shared/logs/line-file.test.ts"],
  },
];

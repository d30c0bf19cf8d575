/**
 * The promises that `ct-edge verify` checks, in the order in which they are printed, each with the section of the documents
 * that says how it is checked and what to do when it is broken.
 */
export const CHECKS = {
  edge: { promise: "an edge responds at the URL", link: "no-edge" },
  certificate: { promise: "the certificate is trusted and valid", link: "certificate" },
  clock: { promise: "its clock is right", link: "clock" },
  "server-url": { promise: "the edge knows its URL", link: "server-url" },
  "base-path": { promise: "pages and files below the URL are found", link: "base-path" },
  cors: { promise: "pages of other origins may use it", link: "cors" },
  websocket: { promise: "WebSockets pass", link: "websockets" },
  polling: { promise: "long polling passes", link: "long-polling" },
  idle: { promise: "nothing in front cuts what is idle", link: "idle-connections" },
  "request-buffering": { promise: "requests pass before they are complete", link: "buffering" },
  "response-buffering": { promise: "responses pass before they are complete", link: "buffering" },
  "body-limit": { promise: "large messages pass", link: "large-messages" },
  "front-cookie": { promise: "nothing in front is sticky", link: "sticky-fronts" },
  "sticky-header": { promise: "the header ctstickiness routes", link: "stickiness" },
  "sticky-cookie": { promise: "the cookie ctstickiness routes", link: "stickiness" },
  "sticky-room": { promise: "the room of a token routes", link: "stickiness" },
  "sticky-path": { promise: "the path /k/KEY routes", link: "stickiness" },
  "sign-in": { promise: "people can sign in", link: "sign-in" },
  session: { promise: "people can share a session", link: "sessions" },
  "two-workers": { promise: "sessions work on two workers", link: "two-workers" },
  inside: { promise: "the inside is that of this edge", link: "the-inside" },
  "one-edge": { promise: "the store serves one edge", link: "one-edge-per-prefix" },
  secret: { promise: "all processes have one secret", link: "one-secret" },
  reachable: { promise: "every balancer reaches every worker", link: "unreachable-workers" },
  ring: { promise: "all processes have one ring", link: "one-ring" },
  versions: { promise: "all processes have one version", link: "versions" },
  "redis-policy": { promise: "Redis evicts nothing", link: "redis" },
  "redis-persistence": { promise: "Redis can write", link: "redis" },
  statsd: { promise: "metrics arrive", link: "statsd" },
  drain: { promise: "a drain disconnects nobody", link: "watching-a-drain" },
  kill: { promise: "the death of a worker ends no session", link: "watching-a-kill" },
} as const;

export type CheckId = keyof typeof CHECKS;
export const CHECK_IDS = Object.keys(CHECKS) as CheckId[];

const PAGE = "docs/operators/verify.md";

/** Relative to the root of the product. */
export function linkOf(id: CheckId): string {
  return `${PAGE}#${CHECKS[id].link}`;
}

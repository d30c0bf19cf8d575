import { afterEach, beforeEach, expect, test } from "vitest";
import { parseResponseHead } from "../../../balancer/http1/response-head.ts";
import { type Redirection, redirect } from "../../../balancer/proxy/misdirected.ts";
import { NO_RETRIES, type RetryHistory } from "../../../balancer/proxy/retry-policy.ts";
import type { Router } from "../../../balancer/routing/router.ts";
import type { Route } from "../../../balancer/routing/session-key.ts";
import type { Upstream } from "../../../balancer/upstreams/upstream.ts";
import type { SessionKey, WorkerId } from "../../../shared/base/ids.ts";
import { type Counters, createCounters } from "../../../shared/metrics/metrics.ts";
import { createView, workerRecord } from "../rig.ts";
import { openRouter } from "../router-rig.ts";

const KEY = "key" as SessionKey;
const ROUTE: Route = {
  tag: undefined,
  key: { rule: "header", key: KEY },
  target: "/",
  isCreate: false,
  isSignIn: false,
  isRepeatable: true,
};
const FOLLOWS_B = "x-ct-owner: b\r\nx-ct-epoch: 7";

let router: Router;
let counters: Counters;

beforeEach(() => {
  counters = createCounters();
  const view = createView([workerRecord("a", 1), workerRecord("b", 2)]);
  router = openRouter({ view, findSession: async () => undefined, counters });
});

afterEach(() => router.close());

function upstream(id: string): Upstream {
  const found = router.byId(id as WorkerId);
  if (found === undefined) throw new Error(`no worker ${id}`);
  return found;
}

/** Worker `a` responds 421 with these headers. */
function refuse(
  headers: string,
  request: { history?: Partial<RetryHistory>; hasOwner?: boolean; isReplayable?: boolean } = {},
): Redirection {
  const head = parseResponseHead(`HTTP/1.1 421 Misdirected Request\r\n${headers}`, "GET");
  return redirect(
    head,
    {
      route: ROUTE,
      upstream: upstream("a"),
      history: { ...NO_RETRIES, ...request.history },
      hasOwner: request.hasOwner ?? false,
      isReplayable: request.isReplayable ?? true,
    },
    { router, counters },
  );
}

test("a 421 that names a healthy owner is followed to it, and the owner is cached", () => {
  expect(refuse(FOLLOWS_B)).toEqual({ action: "follow", to: upstream("b") });
  expect(router.choose(ROUTE, new Set())).toMatchObject({ upstream: upstream("b") });
  expect(counters.value("balancer.misdirected", "replayed")).toBe(1);
});

test.each([
  ["names its sender", "x-ct-owner: a\r\nx-ct-epoch: 7", {}, "owner names itself"],
  ["names an unknown worker", "x-ct-owner: c\r\nx-ct-epoch: 7", {}, "owner unknown"],
  ["has been followed twice before", FOLLOWS_B, { history: { hops: 2 } }, "too many hops"],
  ["has a body that is not kept", FOLLOWS_B, { isReplayable: false }, "body too large"],
] as const)("a 421 to a request is given up when it %s", (_, headers, request, why) => {
  expect(refuse(headers, request)).toEqual({ action: "give-up", why });
  expect(counters.value("balancer.misdirected", why.replaceAll(" ", "-"))).toBe(1);
});

test("a 421 without an owner sends a request to another worker once; then the client gets it", () => {
  expect(refuse("x: y")).toEqual({ action: "reroute" });
  expect(counters.value("balancer.misdirected", "misrouted")).toBe(1);
  const again = { history: { hasLeftMisrouted: true } };
  expect(refuse("x: y", again)).toEqual({ action: "pass" });
  expect(refuse("x: y", { isReplayable: false })).toEqual({ action: "pass" });
});

test("a second 421 without an owner is given up when the session has one", () => {
  const again = { history: { hasLeftMisrouted: true }, hasOwner: true };
  expect(refuse("x: y", again)).toEqual({ action: "give-up", why: "owner not reached" });
});

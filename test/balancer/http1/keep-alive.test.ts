import { describe, expect, test } from "vitest";
import {
  type KeepAliveHint,
  readKeepAlive,
  usableIdleMs,
} from "../../../balancer/http1/keep-alive.ts";
import { parseResponseHead } from "../../../balancer/http1/response-head.ts";

const NEVER = Number.POSITIVE_INFINITY;

function hintOf(...lines: string[]): KeepAliveHint {
  const head = parseResponseHead(["HTTP/1.1 200 OK", ...lines].join("\r\n"), "GET");
  return readKeepAlive(head.values.keepAlive);
}

describe("the Keep-Alive fields of a response", () => {
  test.each([
    ["timeout=5", 5000, NEVER],
    ["timeout=5, max=100", 5000, 100],
    ["max=0", NEVER, 0],
    ["Timeout = 15 ; MAX=3", 15_000, 3],
    ['timeout="7"', 7000, NEVER],
    ["timeout=0", 0, NEVER],
    ["timeout=9, timeout=2", 2000, NEVER],
    ["", NEVER, NEVER],
    ["timeout=", NEVER, NEVER],
    ["timeout=-1", NEVER, NEVER],
    ["mytimeout=1", NEVER, NEVER],
    ["300", NEVER, NEVER],
  ])("the value %j gives a timeout of %s ms and %s more requests", (value, timeoutMs, max) => {
    expect(hintOf(`Keep-Alive: ${value}`)).toEqual({ timeoutMs, max });
  });

  test("the smallest limit of several Keep-Alive fields counts", () => {
    const hint = hintOf("Keep-Alive: timeout=9", "keep-alive: timeout=4");
    expect(hint).toEqual({ timeoutMs: 4000, max: NEVER });
    expect(hintOf("Server: timeout=1").timeoutMs).toBe(NEVER);
  });
});

test("a connection is reused until a second, or half of a shorter limit, before its announced end", () => {
  expect([5000, 2000, 1000, 0, NEVER].map(usableIdleMs)).toEqual([4000, 1000, 500, 0, NEVER]);
});

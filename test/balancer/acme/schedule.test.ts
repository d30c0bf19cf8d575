/** When certificates are ordered, renewed, and when failed orders are tried again. */
import { expect, test } from "vitest";
import type { Failure, FailureKind, IssuedCertificate } from "../../../balancer/acme/record.ts";
import {
  chooseRenewal,
  digestOf,
  type Lifetime,
  mayOrder,
  nextCheckMs,
  nextOrder,
  retryDelayMs,
  type Wanted,
} from "../../../balancer/acme/schedule.ts";

const DAY = 86_400_000;
const HOUR = 3_600_000;
const WANTED: Wanted = {
  directory: "https://ca.test/directory",
  domains: ["a.test", "b.test"],
  email: undefined,
  binding: undefined,
  ca: undefined,
};
const NINETY_DAYS = (): Lifetime => ({ startMs: 0, endMs: 90 * DAY });

function issued(more: Partial<IssuedCertificate> = {}): IssuedCertificate {
  return {
    directory: WANTED.directory,
    domains: WANTED.domains,
    cert: "",
    key: "",
    orderedMs: 0,
    challenge: "http-01",
    ...more,
  };
}

const next = (certificate: IssuedCertificate | undefined, lifetime = NINETY_DAYS) =>
  nextOrder(certificate === undefined ? {} : { certificate }, WANTED, lifetime, 1000 * DAY);

test("without a certificate, with other names, or another authority, an order is due at once", () => {
  expect(next(undefined)).toEqual({ atMs: 0, reason: "none" });
  expect(next(issued({ domains: ["a.test"] })).reason).toBe("names");
  expect(next(issued({ directory: "https://other.test" })).reason).toBe("authority");
});

test("after the first certificate that was revoked an order is due at once, and later each time that the next one is revoked too", () => {
  const renewal = { checkedMs: 0, nextCheckMs: 0, isRevoked: true } as const;
  const waits = [undefined, 1, 2, 3, 4, 100].map((revokedBefore) => {
    const more = revokedBefore === undefined ? {} : { revokedBefore };
    const { atMs, reason } = next(issued({ renewal, orderedMs: DAY, ...more }));
    expect(reason).toBe("revoked");
    return (atMs - DAY) / 60_000;
  });
  expect(waits).toEqual([0, 10, 60, 360, 1440, 1440]);
});

test("the order of the names does not matter", () => {
  expect(next(issued({ domains: ["b.test", "a.test"] })).reason).toBe("renewal");
});

test("a certificate is renewed after two thirds of its lifetime, or when its authority says", () => {
  expect(next(issued())).toEqual({ atMs: 60 * DAY, reason: "renewal" });
  const renewal = { checkedMs: 0, nextCheckMs: 0, renewAtMs: 20 * DAY };
  expect(next(issued({ renewal })).atMs).toBe(20 * DAY);
});

test("an order that another leader has begun is due at once, unless it is for other names", () => {
  const order = { directory: WANTED.directory, domains: WANTED.domains, url: "", key: "" };
  const due = (domains: readonly string[]) =>
    nextOrder({ certificate: issued(), order: { ...order, domains } }, WANTED, NINETY_DAYS, DAY);
  expect(due(WANTED.domains)).toEqual({ atMs: 0, reason: "unfinished" });
  expect(due(["a.test"]).reason).toBe("renewal");
});

test("a window that is over renews at most every two days, and one after the end of the certificate is not waited for", () => {
  const at = (renewAtMs: number, orderedMs: number) =>
    next(issued({ orderedMs, renewal: { checkedMs: 0, nextCheckMs: 0, renewAtMs } })).atMs;
  expect(at(1, 40 * DAY)).toBe(42 * DAY);
  expect(at(1, 0)).toBe(2 * DAY);
  expect(at(100 * DAY, 0)).toBe(81 * DAY);
});

test("a certificate that seems to have expired already, by a clock that is off, is renewed after a third of its lifetime", () => {
  expect(next(issued({ orderedMs: 400 * DAY })).atMs).toBe(430 * DAY);
});

test("an order of the future, by a clock that was off, does not delay the next one", () => {
  const early = nextOrder(
    { certificate: issued({ orderedMs: 5000 * DAY }) },
    WANTED,
    NINETY_DAYS,
    10 * DAY,
  );
  expect(early.atMs).toBe(60 * DAY);
});

test("an operator may order again after a first failure, then every half hour, and not before a limit is over", () => {
  const failure = (kind: FailureKind, count: number): Failure => ({
    ...{ kind, count, detail: "", wanted: "" },
    ...{ failedMs: 0, retryMs: 3 * HOUR },
  });
  expect(mayOrder(undefined, 0)).toBe(true);
  expect(mayOrder(failure("challenge", 1), 0)).toBe(true);
  expect(mayOrder(failure("challenge", 2), HOUR / 2 - 1)).toBe(false);
  expect(mayOrder(failure("challenge", 2), HOUR / 2)).toBe(true);
  expect(mayOrder(failure("rate-limited", 1), HOUR)).toBe(false);
  expect(mayOrder(failure("rate-limited", 1), 3 * HOUR)).toBe(true);
  expect(mayOrder(failure("unreachable", 9), 0)).toBe(true);
});

test("after a failure an order waits, but not with other settings", () => {
  const failure = { count: 1, kind: "challenge", detail: "", failedMs: 0, retryMs: 5000 } as const;
  const at = (wanted: string) =>
    nextOrder({ failure: { ...failure, wanted } }, WANTED, NINETY_DAYS, 0).atMs;
  expect(at(digestOf(WANTED))).toBe(5000);
  expect(at(digestOf({ ...WANTED, email: "a@b.test" }))).toBe(0);
});

test("failed verifications stay below what authorities allow in any hour, and go on indefinitely", () => {
  const atMs = [0];
  for (let count = 1; count < 30; count++) {
    atMs.push((atMs.at(-1) ?? 0) + retryDelayMs("challenge", count, 0));
  }
  for (const startMs of atMs) {
    const attempts = atMs.filter((ms) => ms >= startMs && ms < startMs + HOUR).length;
    // Two verifications each, of the five that Let's Encrypt allows.
    expect(attempts * 2).toBeLessThanOrEqual(4);
  }
  const delays = atMs.slice(1).map((ms, index) => ms - (atMs[index] ?? 0));
  expect(Math.max(...delays)).toBe(12 * HOUR);
});

test("an authority that is away is asked again sooner, and one that names a time not before it", () => {
  expect(retryDelayMs("unreachable", 1, 0)).toBe(60_000);
  expect(retryDelayMs("unreachable", 100, 1)).toBe(6 * HOUR * 1.25);
  expect(retryDelayMs("rate-limited", 1, 0, 3 * HOUR)).toBe(3 * HOUR);
});

test("the authority is asked about a certificate hourly to daily, whatever it says", () => {
  expect(nextCheckMs(0, undefined)).toBe(6 * HOUR);
  expect(nextCheckMs(0, 1000)).toBe(HOUR);
  expect(nextCheckMs(0, 30 * DAY)).toBe(DAY);
});

test("a renewal is somewhere in the authority's window", () => {
  const window = { startMs: 10 * DAY, endMs: 12 * DAY };
  expect([0, 0.5, 1].map((random) => chooseRenewal(window, random) / DAY)).toEqual([10, 11, 12]);
});

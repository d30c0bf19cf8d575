/** The health checks, which are never good when their inputs are unknown. */
import { generateKeyPairSync } from "node:crypto";
import { describe, expect, test } from "vitest";
import type { BalancerView, View, WorkerView } from "../../../shared/cluster/status-reports.ts";
import { issueLicense } from "../../../shared/settings/license.ts";
import type { WorkerRecord } from "../../../shared/store/member.ts";
import { StoreAwayError } from "../../../shared/store/store.ts";
import { checkLicense, checkMembers, checkStore } from "../../../worker/dashboard/checks.ts";
import type { Snapshot } from "../../../worker/dashboard/snapshot.ts";
import { worker as workerRecord } from "../../contract/store.ts";

const DAY_MS = 86_400_000;

function member(kind: "worker" | "balancer", id: string, more: Partial<WorkerRecord> = {}) {
  const record = { ...workerRecord(id), ringFingerprint: "r", secretFingerprint: "s", ...more };
  return { ...record, kind } as Snapshot["membership"]["members"][number];
}

function snapshot(
  members: Snapshot["membership"]["members"],
  views: Readonly<Record<string, View>>,
  isCurrent = true,
): Snapshot {
  return {
    nowMs: 1,
    isCurrent,
    storeLatencyMs: 1,
    membership: { members, ignored: 0, booted: true },
    views: Object.entries(views).map(([id, view]) => ({ id, seenMs: 1, view })),
    cluster: [],
    ownerById: new Map(),
  };
}

function balancer(more: Partial<BalancerView> = {}): BalancerView {
  return {
    role: "balancer",
    uptimeMs: 1,
    rssBytes: 1,
    connections: 1,
    tunnels: 1,
    workers: [],
    ...more,
  };
}

function worker(more: Partial<WorkerView> = {}): WorkerView {
  return { role: "worker", uptimeMs: 1, rssBytes: 1, sessions: [], ...more };
}

/** The check of what each of the workers w1, w2, … reports as `part`. */
function checkOf(name: string, part: keyof WorkerView, reports: readonly unknown[]) {
  const views = reports.map((one, index) => [
    `w${index + 1}`,
    worker(one === undefined ? {} : { [part]: one }),
  ]);
  return checkMembers(snapshot([], Object.fromEntries(views))).find((one) => one.name === name);
}

const outcomes = (checks: ReturnType<typeof checkMembers>) =>
  Object.fromEntries(checks.map(({ name, outcome }) => [name, outcome]));

test("checks of a healthy edge are good, and unused features are off", () => {
  const checks = checkMembers(
    snapshot([member("worker", "w1"), member("balancer", "b1")], {
      b1: balancer({ certificates: [{ names: "DNS:edge", expiresInMs: 80.5 * DAY_MS }] }),
      w1: worker(),
    }),
  );
  expect(checks).toEqual([
    { name: "Workers", outcome: "good", detail: "1 of 1 take new sessions" },
    { name: "Balancers agree", outcome: "good", detail: "1 of 1 have the same ring" },
    { name: "Secret", outcome: "good", detail: "2 processes have the same" },
    { name: "TLS certificate", outcome: "good", detail: "DNS:edge: expires in 80 days" },
    {
      name: "Policy",
      outcome: "off",
      detail: "CT_POLICY is not set: everyone who has signed in may host",
    },
    { name: "Webhooks", outcome: "off", detail: "CT_WEBHOOKS is not set" },
    { name: "Audit", outcome: "off", detail: "CT_AUDIT is not set" },
    { name: "StatsD", outcome: "off", detail: "CT_METRICS_STATSD_HOST is not set" },
  ]);
});

test("the webhooks check names receivers that are down, gone, or behind, and workers without webhooks", () => {
  const of = (...webhooks: WorkerView["webhooks"][]) => checkOf("Webhooks", "webhooks", webhooks);
  const fine = { name: "chat", state: "ok", backlog: 0, oldestMs: 0 } as const;
  const idle = { pending: 0 };
  expect(of(idle, { pending: 0, receivers: [fine] })).toMatchObject({
    outcome: "good",
    detail: "chat has all events",
  });
  expect(of(idle)).toMatchObject({ outcome: "unknown" });
  expect(of(undefined, { pending: 0, receivers: [fine] })).toMatchObject({
    outcome: "bad",
    detail: "CT_WEBHOOKS is not set for w1: its events are not sent",
  });
  const down = {
    ...fine,
    ...({ name: "billing", state: "down", backlog: 7, oldestMs: 9000 } as const),
    lastFailure: { reason: "status 503", agoMs: 10 },
  } as const;
  expect(of({ pending: 0, receivers: [fine, down] })).toMatchObject({
    outcome: "bad",
    detail: "billing accepts nothing, 7 events wait (last failure: status 503)",
  });
  const gone = { ...fine, state: "gone" } as const;
  expect(of({ pending: 0, receivers: [gone] })).toMatchObject({
    outcome: "bad",
    detail: "chat has answered 410 and gets no more events",
  });
  const behind = { ...fine, backlog: 1, oldestMs: 301_000 };
  expect(of({ pending: 0, receivers: [behind] })).toMatchObject({
    outcome: "bad",
    detail: "chat: 1 event waits",
  });
  expect(of({ pending: 0, receivers: [fine], problem: "line 2: no" })).toMatchObject({
    outcome: "bad",
  });
});

test("the policy check is good when all workers have the same, and says which file has mistakes", () => {
  const of = (...policies: WorkerView["policy"][]) => checkOf("Policy", "policy", policies);
  expect(of({ digest: "a1" }, { digest: "a1" })).toMatchObject({
    outcome: "good",
    detail: "2 workers have policy a1",
  });
  expect(of({ digest: "a1" }, { digest: "b2" }, undefined)).toMatchObject({
    outcome: "bad",
    detail: "workers have different policies: a1 (w1), b2 (w2), none (w3)",
  });
  expect(of({ digest: "a1" }, { digest: "a1", problem: "line 3: no" })).toMatchObject({
    outcome: "bad",
    detail:
      "the file has mistakes, so the last good policy stays in force: line 3: no (seen by w2)",
  });
});

test("during a store outage, or without reports, no check is good", () => {
  for (const unknown of [
    snapshot([], {}, false),
    snapshot([member("worker", "w1")], {}, false),
    snapshot([member("worker", "w1", { state: "suspended" })], {}),
  ]) {
    expect(Object.values(outcomes(checkMembers(unknown)))).not.toContain("good");
  }
});

test("a worker that is down, rings and secrets that differ, and certificates that expire are bad", () => {
  const members = [
    member("worker", "w1"),
    member("balancer", "b1"),
    member("balancer", "b2"),
    member("balancer", "b3", { ringFingerprint: "other", secretFingerprint: "t" }),
  ];
  const checks = checkMembers(
    snapshot(members, {
      b1: balancer({
        workers: [{ id: "w9", status: "healthy" }],
        certificates: [
          { names: "old", expiresInMs: -1 },
          { names: "soon", expiresInMs: 20 * DAY_MS },
        ],
      }),
      b2: balancer({ certificates: [{ names: "soon", expiresInMs: 13 * DAY_MS }] }),
    }),
  );
  expect(checks.slice(0, 5)).toEqual([
    { name: "Workers", outcome: "bad", detail: "w9 is down: its lease has expired" },
    {
      name: "Balancers agree",
      outcome: "bad",
      detail:
        "Ring differs from the majority: b3; if this persists, the same key is routed to different workers: check that all processes run the same version and reach the same store.",
    },
    {
      name: "Secret",
      outcome: "bad",
      detail: "CT_SECRET differs, so that processes ignore each other: b1, b2, w1 | b3",
    },
    { name: "TLS certificate", outcome: "bad", detail: "old: has expired" },
    { name: "TLS certificate", outcome: "bad", detail: "soon: expires in 13 days" },
  ]);
});

test.each([
  [
    { expiresInMs: 60 * DAY_MS, nextOrderInMs: 30 * DAY_MS },
    "good",
    "expires in 60 days, is renewed in 30 days",
  ],
  [
    { expiresInMs: DAY_MS, nextOrderInMs: -5 },
    "good",
    "expires in 24 hours, is renewed in 0 hours",
  ],
  [{ nextOrderInMs: 0 }, "unknown", "there is none yet"],
  [
    { nextOrderInMs: 1, failures: 2, problem: "no route" },
    "bad",
    "there is none yet; 2 orders failed, the last one because of: no route",
  ],
  [
    { expiresInMs: 9 * DAY_MS, nextOrderInMs: 1, failures: 1, problem: "no route" },
    "bad",
    "expires in 9 days; 1 order failed, the last one because of: no route",
  ],
  [
    { expiresInMs: 9 * DAY_MS, nextOrderInMs: 1, problem: "made with another secret" },
    "bad",
    "expires in 9 days; made with another secret",
  ],
  [{ expiresInMs: -1, nextOrderInMs: 0 }, "bad", "has expired"],
  [
    { expiresInMs: DAY_MS, nextOrderInMs: 0, isRevoked: true as const },
    "bad",
    "was revoked, another one is being ordered",
  ],
] as const)("of a certificate that the edge obtains, %j is %s", (acme, outcome, detail) => {
  const checks = checkMembers(
    snapshot([], {
      b1: balancer({ certificates: [], acme: { domains: ["edge.test"], failures: 0, ...acme } }),
    }),
  );
  const found = checks.filter(({ name }) => name === "TLS certificate");
  expect(found).toEqual([{ name: "TLS certificate", outcome, detail: `edge.test: ${detail}` }]);
});

test("of balancers with different certificates that the edge has obtained, the latest counts", () => {
  const acme = (days: number) => ({
    domains: ["edge.test"],
    expiresInMs: days * DAY_MS,
    nextOrderInMs: DAY_MS,
    failures: 0,
  });
  const checks = checkMembers(
    snapshot([], { b1: balancer({ acme: acme(-1) }), b2: balancer({ acme: acme(90) }) }),
  );
  const [found] = checks.filter(({ name }) => name === "TLS certificate");
  expect(found).toMatchObject({ outcome: "good" });
});

test("the StatsD check shows the last error of any process", () => {
  const statsd = (state: "sending" | "away", agoMs: number) => ({
    state,
    lastError: { reason: `refused ${agoMs}`, agoMs },
  });
  const check = (views: Readonly<Record<string, View>>) =>
    checkMembers(snapshot([], views)).find(({ name }) => name === "StatsD");
  expect(
    check({
      b1: balancer({ statsd: statsd("sending", 90_000) }),
      b2: balancer({ statsd: statsd("away", 4000) }),
    }),
  ).toMatchObject({
    outcome: "bad",
    detail: "1 of 2 cannot send; last error 4 s ago at b2: refused 4000",
  });
  expect(check({ b1: balancer({ statsd: { state: "sending" } }) })).toMatchObject({
    outcome: "good",
    detail: expect.stringContaining("1 of 1 send; no error since start"),
  });
});

describe("store", () => {
  test("the store check measures the median response time", async () => {
    const delays = [1, 2, 300, 3, 4];
    let nowMs = 0;
    const store = {
      async timeMs() {
        nowMs += delays.shift() ?? 0;
        return 0;
      },
    };
    expect(await checkStore(store, { nowMs: () => nowMs })).toEqual({
      name: "Store",
      outcome: "good",
      detail: "median response time 3.0 ms over 5 requests (limit 50 ms), worst 300.0 ms",
    });
  });

  test("the store check is bad when the store is slow, and when it does not respond", async () => {
    let nowMs = 0;
    const slow = { timeMs: async () => (nowMs += 60) };
    expect((await checkStore(slow, { nowMs: () => nowMs })).outcome).toBe("bad");
    const away = {
      async timeMs(): Promise<number> {
        throw new StoreAwayError("timeMs");
      },
    };
    expect(await checkStore(away, { nowMs: () => 0 })).toMatchObject({
      outcome: "bad",
      detail: expect.stringContaining("the store did not answer"),
    });
  });
});

test("the license check shows the licensee, the expiration and the connections in use", () => {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const written = { licensee: "Acme", maxConnections: 10, expiration: "2030/01/31" };
  const license = issueLicense(written, privateKey);
  const wallMs = Date.UTC(2030, 0, 1);
  expect(checkLicense({ license, publicKey }, wallMs, 4)).toEqual({
    name: "License",
    outcome: "good",
    detail: "Acme, valid until 2030/01/31; 4 of 10 connections in use",
  });
  const outcome = (...args: Parameters<typeof checkLicense>) => checkLicense(...args).outcome;
  expect(outcome({ license, publicKey }, wallMs, 10)).toBe("bad");
  expect(outcome({ license, publicKey }, wallMs + 31 * DAY_MS, 0)).toBe("bad");
  const forged = { ...license, maxConnections: 1000 };
  expect(outcome({ license: forged, publicKey }, wallMs, 0)).toBe("bad");
  expect(outcome({ license: undefined, publicKey: undefined }, wallMs, 0)).toBe("off");
});

test("the audit check is good while all workers record everything, and says which does not and why", () => {
  const of = (...audits: WorkerView["audit"][]) => checkOf("Audit", "audit", audits);
  expect(of()).toMatchObject({ outcome: "unknown" });
  expect(of(undefined)).toMatchObject({ outcome: "off", detail: "CT_AUDIT is not set" });
  expect(of({ dropped: 0 }, { dropped: 0 })).toMatchObject({
    outcome: "good",
    detail: "2 of 2 workers record; no event is missing",
  });
  expect(of({ dropped: 0 }, { dropped: 7 })).toMatchObject({
    outcome: "bad",
    detail: "2 of 2 workers record; 7 events are missing since the start",
  });
  expect(of({ dropped: 0 }, undefined)).toMatchObject({
    outcome: "bad",
    detail: "w2 records nothing: CT_AUDIT is not set there",
  });
  const problem = "no checkpoint could be stored since 2030-01-01T00:00:00.000Z";
  expect(of({ dropped: 0 }, { dropped: 7, problem })).toMatchObject({
    outcome: "bad",
    detail: `w2: ${problem}`,
  });
});

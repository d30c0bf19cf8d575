/** What `ct-edge verify` makes of where requests go, of sessions, and of what a deployment says of itself. */
import { expect, test } from "vitest";
import { describeDashboard } from "../../../edge/verify/inside/from-dashboard.ts";
import { describeInside } from "../../../edge/verify/inside/from-redis.ts";
import type { Inside } from "../../../edge/verify/inside/inside.ts";
import { parseInfo } from "../../../edge/verify/inside/redis-info.ts";
import { judgeInside } from "../../../edge/verify/judge/inside.ts";
import { judgeDrain, judgeKill } from "../../../edge/verify/judge/moves.ts";
import { judgeSession, judgeSignIn, judgeTwoWorkers } from "../../../edge/verify/judge/people.ts";
import { judgeRedis } from "../../../edge/verify/judge/redis.ts";
import { judgeStickiness, keyPerWorker } from "../../../edge/verify/judge/stickiness.ts";
import type { Verdicts } from "../../../edge/verify/model/finding.ts";
import type { Responded } from "../../../edge/verify/model/observations.ts";
import { formFor } from "../../../edge/verify/people/sign-in.ts";
import type { KeyedHandshakes } from "../../../edge/verify/probes/stickiness.ts";
import type { Incarnation } from "../../../shared/base/ids.ts";
import { type WorkerTag, workerTag } from "../../../shared/base/worker-tag.ts";
import { VERSION } from "../../../shared/process/version.ts";
import type { BalancerRecord, WorkerRecord } from "../../../shared/store/member.ts";
import { balancer as balancerRecord, worker as workerRecord } from "../../contract/store.ts";

const A = "a".repeat(16) as WorkerTag;
const B = "b".repeat(16) as WorkerTag;

// --- stickiness ---

const INVITATION: Responded = {
  outcome: "response",
  status: 200,
  headers: { "set-cookie": "ctstickiness=x; Path=/" },
  body: "",
  tookMs: 1,
};

type Tags = KeyedHandshakes["tags"];

function keyed(key: string, tag: WorkerTag, more: Partial<Tags> = {}): KeyedHandshakes {
  const both = [tag, tag];
  return { key, tags: { header: both, cookie: both, room: both, path: both, ...more } };
}

const states = (verdicts: Verdicts) =>
  Object.fromEntries(Object.entries(verdicts).map(([id, { state }]) => [id, state]));

test("keys that reach their workers in every way are held", () => {
  const all = [keyed("k1", A), keyed("k2", B)];
  expect(new Set(Object.values(states(judgeStickiness(all, INVITATION, undefined))))).toEqual(
    new Set(["held"]),
  );
  expect([...keyPerWorker(all)]).toEqual([
    [A, "k1"],
    [B, "k2"],
  ]);
});

test("the way that leads elsewhere is broken, and only that one", () => {
  const all = [keyed("k1", A), keyed("k2", B, { cookie: [A, A] })];
  const findings = judgeStickiness(all, INVITATION, 2);
  expect(states(findings)).toEqual({
    "sticky-header": "held",
    "sticky-cookie": "broken",
    "sticky-room": "held",
    "sticky-path": "held",
  });
  expect(findings["sticky-cookie"]?.cause).toBe(
    "1 of 2 keys lead to another worker than they should: the header Cookie does not arrive",
  );
});

test("when all ways are unsteady the balancers differ", () => {
  const mixed = [A, B];
  const all = [keyed("k1", A, { header: mixed, cookie: mixed, room: mixed, path: mixed })];
  for (const { state, cause } of Object.values(judgeStickiness(all, INVITATION, 2))) {
    expect(state).toBe("broken");
    expect(cause).toMatch(/balancers route differently/);
  }
});

test("keys that all reach one worker prove nothing, unless there is only one worker", () => {
  const all = [keyed("k1", A), keyed("k2", A)];
  expect(judgeStickiness(all, INVITATION, undefined)["sticky-header"]?.state).toBe("unknown");
  expect(judgeStickiness(all, INVITATION, 3)["sticky-header"]).toMatchObject({
    state: "unknown",
    cure: expect.stringContaining("other 2 workers"),
  });
  expect(judgeStickiness(all, INVITATION, 1)["sticky-header"]?.state).toBe("held");
});

test("an invitation without its cookie, and no handshake at all, are not held", () => {
  const bare = { ...INVITATION, headers: {} };
  expect(judgeStickiness([keyed("k", A)], bare, 1)["sticky-cookie"]?.cause).toMatch(
    /without the cookie/,
  );
  const none = [undefined, undefined];
  const all = [keyed("k", A, { header: none, cookie: none, room: none, path: none })];
  expect(Object.values(states(judgeStickiness(all, INVITATION, 2)))).toEqual(
    Array.from({ length: 4 }, () => "unknown"),
  );
  expect(judgeStickiness([], INVITATION, 2)["sticky-header"]?.state).toBe("unknown");
});

// --- people ---

test("signing in needs a way that a program can take", () => {
  expect(formFor(["keycloak", "apikey"], { apiKey: undefined })).toBeUndefined();
  expect(formFor(["unverified", "apikey"], { apiKey: "k" })?.by).toBe("API key");
  expect(formFor(["unverified"], { apiKey: undefined })?.by).toBe("name");
  expect(judgeSignIn({ outcome: "no way", ways: ["keycloak"] })).toMatchObject({
    state: "unknown",
    cure: expect.stringContaining("--api-key"),
  });
  expect(judgeSignIn({ outcome: "failed", detail: "status 403" }).state).toBe("broken");
});

const played = (tag: WorkerTag, transport = "websocket") =>
  ({ outcome: "done", tag, transport, tookMs: 900 }) as const;

test("sessions are held, broken at a step, or unknown without a sign-in", () => {
  expect(judgeSession(undefined).state).toBe("unknown");
  expect(judgeSession(played(A)).warning).toBeUndefined();
  expect(judgeSession(played(A, "polling")).warning).toMatch(/long polling/);
  expect(
    judgeSession({ outcome: "failed", step: "connect the guest", detail: "xhr poll error" }),
  ).toMatchObject({ state: "broken", cause: "connect the guest: xhr poll error" });
});

test("an edge of another protocol version is unknown, with the version to use", () => {
  const detail = "Incompatible protocol versions: client 0.3.1, server 0.4.0";
  expect(judgeSession({ outcome: "failed", step: "create the session", detail })).toMatchObject({
    state: "unknown",
    cause: detail,
    cure: "use the ct-edge of the version that runs there",
  });
});

test("two workers are held when each had a session", () => {
  expect(judgeTwoWorkers(played(A), played(B), undefined).state).toBe("held");
  expect(judgeTwoWorkers(played(A), played(A), undefined).state).toBe("unknown");
  expect(judgeTwoWorkers(played(A), played(A), 1)).toMatchObject({
    state: "held",
    warning: expect.stringContaining("cannot drain"),
  });
});

// --- inside ---

const INCARNATION = "i".repeat(16) as Incarnation;

function worker(id: string, more: Partial<WorkerRecord> = {}): WorkerRecord {
  return { ...workerRecord(id, INCARNATION), version: VERSION, ringFingerprint: "r", ...more };
}

function balancer(id: string, more: Partial<BalancerRecord> = {}): BalancerRecord {
  return { ...balancerRecord(id), version: VERSION, ringFingerprint: "r", ...more };
}

type Views = Parameters<typeof describeInside>[1];

function view(
  ...workers: { id: string; status: "healthy" | "unhealthy" | "down" }[]
): Views[number] {
  const reported = workers.map((one) =>
    one.status === "healthy"
      ? one
      : { ...one, lastFailure: { reason: "refused", by: "a probe", agoMs: 1 } },
  );
  return {
    id: "b1",
    view: {
      role: "balancer",
      uptimeMs: 1,
      rssBytes: 1,
      connections: 1,
      tunnels: 1,
      workers: reported,
    },
  };
}

const W1 = worker("w1");
const GOOD = describeInside([W1, balancer("b1")], [view({ id: "w1", status: "healthy" })]);
const SEEN = new Set([workerTag(W1.id, W1.incarnation)]);

const judge = (inside: Inside, seen: ReadonlySet<WorkerTag> = SEEN) =>
  judgeInside({ outcome: "read", inside }, seen);

const INSIDE_IDS = ["inside", "one-edge", "secret", "reachable", "ring", "versions", "statsd"];

test("the inside of a good edge is held", () => {
  expect(states(judge(GOOD))).toEqual(Object.fromEntries(INSIDE_IDS.map((id) => [id, "held"])));
});

test("without means, and with means that fail, the inside is unknown", () => {
  for (const answer of [
    { outcome: "not asked" },
    { outcome: "failed", detail: "refused" },
  ] as const) {
    const findings = judgeInside(answer, SEEN);
    expect(Object.keys(findings)).toEqual(INSIDE_IDS);
    for (const { state, cure } of Object.values(findings)) {
      expect(state).toBe("unknown");
      expect(cure).not.toBe("");
    }
  }
});

test("nothing is concluded from the inside of another edge", () => {
  const { inside, ...others } = judge(GOOD, new Set([A]));
  expect(inside?.state).toBe("broken");
  expect(new Set(Object.values(states(others)))).toEqual(new Set(["unknown"]));
});

test("a process with another secret is named, and its ring follows from that", () => {
  const inside = describeInside(
    [W1, balancer("b1"), worker("w2", { secretFingerprint: "11111111", ringFingerprint: "q" })],
    [],
  );
  const { secret, ring, "one-edge": one } = judge(inside);
  expect(secret).toMatchObject({ state: "broken", cause: expect.stringContaining("b1, w1 | w2") });
  expect(ring?.state).toBe("unknown");
  expect(one?.state).toBe("held");
});

test("two edges in one store are one fault, not two", () => {
  const other = { secretFingerprint: "11111111" };
  const inside = describeInside(
    [W1, balancer("b1"), worker("w2", other), balancer("b2", other)],
    [],
  );
  const { secret, "one-edge": one } = judge(inside);
  expect(one).toMatchObject({ state: "broken", cure: expect.stringContaining("CT_REDIS_PREFIX") });
  expect(secret?.state).toBe("unknown");
});

test("a worker that one balancer does not reach is named with the balancer", () => {
  const inside = describeInside([W1, balancer("b1")], [view({ id: "w1", status: "unhealthy" })]);
  expect(judge(inside)["reachable"]).toMatchObject({
    state: "broken",
    cause: "worker w1 is not reached from balancer b1: unhealthy, refused",
  });
});

test("a store without workers or balancers, and mixed versions, are broken", () => {
  expect(judge(describeInside([balancer("b1")], []), new Set())["reachable"]?.state).toBe("broken");
  expect(judge(describeInside([W1], []))["reachable"]?.cause).toBe("no balancer has a lease");
  const mixed = describeInside([W1, balancer("b1", { version: "0.0.1" })], []);
  expect(judge(mixed)["versions"]).toMatchObject({ state: "broken" });
  const old = describeInside(
    [worker("w1", { version: "9.9.9" }), balancer("b1", { version: "9.9.9" })],
    [],
  );
  expect(judge(old)["versions"]?.warning).toMatch(/verify with the version that runs there/);
});

test("the dashboard tells the same as the store, and an older one that it does not know", () => {
  const workers = {
    workers: [
      { id: "w1", status: "up", reason: "", version: VERSION, sessions: 1 },
      {
        id: "w2",
        status: "unhealthy",
        reason: "refused (seen by 1 of 2 balancers)",
        version: VERSION,
        sessions: null,
      },
      { id: "w3", status: "down", reason: "its lease has expired", version: "", sessions: null },
    ],
    balancers: [{ id: "b1", version: VERSION }],
  };
  const checks = [
    { name: "Balancers agree", outcome: "good", detail: "" },
    { name: "Secret", outcome: "bad", detail: "two edges share this store: b1, w1 | b2, w2" },
    { name: "StatsD", outcome: "bad", detail: "1 of 2 cannot send" },
  ];
  const findings = judge(describeDashboard(workers, checks));
  expect(findings["reachable"]?.cause).toBe(
    "worker w2 is not reached from 1 of 2 balancers: unhealthy, refused",
  );
  expect(findings["one-edge"]?.state).toBe("broken");
  expect(findings["statsd"]?.state).toBe("broken");
  const older = judge(describeDashboard(workers, []));
  expect(older["secret"]?.state).toBe("unknown");
  expect(older["statsd"]?.state).toBe("unknown");
});

// --- Redis ---

const info = (text: string) => ({ outcome: "read", fields: parseInfo(text) }) as const;

test("Redis is judged by what INFO says", () => {
  const good = "# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\nrole:master\r\n";
  expect(Object.values(states(judgeRedis(info(good))))).toEqual(["held", "held"]);
  const evicting = judgeRedis(
    info("maxmemory_human:100M\nmaxmemory_policy:allkeys-lru\nevicted_keys:3"),
  );
  expect(evicting["redis-policy"]).toMatchObject({
    state: "broken",
    cause: expect.stringMatching(/allkeys-lru \(maxmemory 100M\); 3 keys were evicted/),
  });
  const failing = judgeRedis(info(`${good}rdb_last_bgsave_status:err\r\n`));
  expect(failing["redis-persistence"]?.state).toBe("broken");
  expect(judgeRedis(info("role:slave"))["redis-persistence"]?.state).toBe("broken");
  expect(judgeRedis(info(`${good}connected_slaves:1\r\n`))["redis-persistence"]?.warning).toMatch(
    /min-replicas/,
  );
});

test("without Redis, or without INFO, its promises are unknown; an embedded store needs none", () => {
  const statesOf = (answer: Parameters<typeof judgeRedis>[0]) =>
    Object.values(states(judgeRedis(answer)));
  expect(statesOf("not asked")).toEqual(["unknown", "unknown"]);
  expect(statesOf({ outcome: "failed", detail: "NOPERM" })).toEqual(["unknown", "unknown"]);
  expect(statesOf("embedded")).toEqual(["held", "held"]);
});

// --- moves ---

test("a drain is held only without a disconnect and without a loss", () => {
  const moved = {
    outcome: "moved",
    from: A,
    to: B,
    pauseMs: 70,
    disconnects: 0,
    said: 60,
    lost: 0,
  } as const;
  const name = () => "worker-2";
  expect(judgeDrain(moved, name).cause).toBe(
    "the session moved to worker-2: no disconnect, 60 messages, longest pause 70 ms",
  );
  expect(judgeDrain({ ...moved, disconnects: 2 }, name).state).toBe("broken");
  expect(judgeDrain({ ...moved, lost: 1 }, name).cause).toBe("1 of 60 messages were lost");
  expect(judgeDrain({ outcome: "stayed", waitedMs: 60_000 }, name).state).toBe("broken");
  expect(judgeKill({ ...moved, lost: 1 }, name)).toMatchObject({ state: "held" });
  expect(judgeKill({ outcome: "stayed", waitedMs: 180_000 }, name).state).toBe("unknown");
});

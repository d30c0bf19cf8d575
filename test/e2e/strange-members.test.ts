/**
 * Invalid records in the store, and processes that do not fit together: each is named in the log, and the rest keeps
 * working.
 */
import type { Redis } from "ioredis";
import { fetch } from "undici";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import { deriveKeys } from "../../shared/settings/secret.ts";
import type { WorkerRecord } from "../../shared/store/member.ts";
import { worker } from "../contract/store.ts";
import {
  CLUSTER_SECRET,
  type Cluster,
  countersOf,
  type Member,
  sees,
  startCluster,
  workersSeenBy,
} from "../support/cluster.ts";
import { expectMainJob, person } from "../support/people.ts";
import { until } from "../support/until.ts";

let cluster: Cluster;
let balancer: Member;
let admin: Redis;

beforeAll(async () => {
  cluster = await startCluster({ workers: 2, balancers: 1 });
  [balancer] = cluster.balancers as [Member];
  admin = cluster.redis.admin();
});

const mainJob = (): Promise<void> => expectMainJob(balancer.url, 1);

/** Keeps a foreign value in the store, renewed like a heartbeat. */
async function plant(id: string, text: string): Promise<void> {
  const heartbeat = async (): Promise<void> => {
    const [seconds = "0"] = (await admin.time()).map(String);
    await admin
      .multi()
      .set(`{ct}:member:${id}`, text, "PX", 5000)
      .zadd("{ct}:members", Number(seconds) * 1000, id)
      .exec();
  };
  await heartbeat();
  let last = Promise.resolve();
  const heartbeats = setInterval(() => {
    last = heartbeat();
  }, 500);
  onTestFinished(async () => {
    clearInterval(heartbeats);
    // One that is under way would write the value again.
    await last;
    await admin.multi().del(`{ct}:member:${id}`).zrem("{ct}:members", id).exec();
  });
}

const EVIL = worker("evil");

/** A record in the store's format. */
function stored(member: WorkerRecord): string {
  return member.incarnation + JSON.stringify(member);
}

function record(id: string, url: string, more: Partial<WorkerRecord> = {}): WorkerRecord {
  const { fingerprint } = deriveKeys(CLUSTER_SECRET);
  return { ...worker(id), url, statusUrl: url, secretFingerprint: fingerprint, ...more };
}

/** Every process of the cluster has logged a line with all of `texts`. */
async function allSay(...texts: string[]): Promise<void> {
  for (const process of [balancer, ...cluster.workers]) {
    await until(`${process.id} says ${texts.join(" … ")}`, () =>
      process
        .output()
        .split("\n")
        .some((line) => texts.every((text) => line.includes(text))),
    );
  }
}

test.each([
  ["a hostile URL", "http://evil.example.com:3001", "see CT_WORKER_NETWORKS"],
  ["a foreign host", "http://203.0.113.66:3001", "see CT_WORKER_NETWORKS"],
  ["the cloud's metadata service", "http://169.254.169.254:8080", "see CT_WORKER_NETWORKS"],
  ["port 22", "http://127.0.0.1:22", "its port is below 1024"],
])("a record with %s is named and not used", async (what, url, reason) => {
  const id = `evil-${what.replaceAll(/\W/g, "")}`;
  await plant(id, stored(record(id, url)));
  await allSay("ignoring a member", id, reason);
  expect(await workersSeenBy(balancer)).toEqual(["worker-1", "worker-2"]);
  const { refused } = (await balancer.view()) as { refused: { id: string; reason: string }[] };
  expect(refused).toEqual([{ id, reason: expect.stringContaining(reason) as string }]);
  await mainJob();
});

test.each([
  ["no JSON", "nonsense"],
  ["a URL with a path", stored({ ...EVIL, url: "http://127.0.0.1:3001/path" })],
  ["a URL of another scheme", stored({ ...EVIL, url: "file:///etc/passwd" })],
  ["credentials", stored({ ...EVIL, url: "http://user:pw@127.0.0.1:3001" })],
  ["a weight of a billion", stored({ ...EVIL, weight: 1e9 })],
])("a record that cannot be parsed (%s) is counted and left out", async (_what, text) => {
  await plant("evil", text);
  const before = await ignoredBy(balancer);
  await until("it is counted", async () => (await ignoredBy(balancer)) > before);
  expect(await workersSeenBy(balancer)).toEqual(["worker-1", "worker-2"]);
});

async function ignoredBy(process: Member): Promise<number> {
  return (await countersOf(process))["store.ignored{member}"] ?? 0;
}

async function scrape(name: string): Promise<string | undefined> {
  const page = await fetch(`http://127.0.0.1:${balancer.statusPort}/metrics`);
  return new RegExp(`^${name} (\\d+)$`, "m").exec(await page.text())?.[1];
}

test("a member with another ring is counted", async () => {
  const rings = () => scrape("codetogether_balancer_rings");
  expect(await rings()).toBe("1");
  const { incarnation, statusUrl, version, secretFingerprint } = record(
    "other",
    "http://127.0.0.1:3001",
  );
  const other = { kind: "balancer", id: "other", incarnation, statusUrl, version };
  const rest = { ringFingerprint: "fedcba9876543210", secretFingerprint };
  await plant("other", incarnation + JSON.stringify({ ...other, ...rest }));
  await until("the other ring is counted", async () => (await rings()) === "2");
});

test("100,000 stale records do no harm, and are removed", async () => {
  const stale = Array.from({ length: 100_000 }, (_, i) => [
    String(Date.now() - 60_000 - i),
    `s-${i}`,
  ]);
  for (let at = 0; at < stale.length; at += 10_000) {
    await admin.zadd("{ct}:members", ...stale.slice(at, at + 10_000).flat());
  }
  await mainJob();
  expect(await workersSeenBy(balancer)).toEqual(["worker-1", "worker-2"]);
  // Each read of the members removes as many as a process may ever see.
  await until("they become fewer", async () => (await admin.zcard("{ct}:members")) < 90_000);
  await admin.zremrangebyscore("{ct}:members", "-inf", Date.now() - 30_000);
});

test("processes with another secret are named in the logs of both sides, and get no traffic", async () => {
  const stranger = await cluster
    .launch("worker", { env: { CT_WORKER_ID: "stranger", CT_SECRET: "y".repeat(40) } })
    .ready();
  await allSay("ignoring a member", "stranger", "its CT_SECRET differs");
  expect(await scrape("codetogether_balancer_members_ignored")).toBe("1");
  await until("the stranger says so too", () =>
    stranger.output().includes("its CT_SECRET differs"),
  );
  expect(await workersSeenBy(balancer)).toEqual(["worker-1", "worker-2"]);
  expect(balancer.output()).not.toContain("different rings");
  await mainJob();
  await stranger.stop();
});

test("of two live processes with one worker id the later one keeps it; the other logs that and exits", async () => {
  const env = { CT_WORKER_ID: "twin" };
  const first = cluster.launch("worker", { env });
  await first.ready();
  await sees(balancer, 3);
  const second = await cluster.launch("worker", { env }).ready();
  expect(await first.ended()).toBe(1);
  expect(first.output()).toContain("another process has announced itself under the same id");
  expect(await workersSeenBy(balancer)).toEqual(["twin", "worker-1", "worker-2"]);
  await mainJob();
  await second.stop();
  await sees(balancer, 2);
});

test("clocks that differ by an hour, either way, make no difference", async () => {
  const hourMs = 3_600_000;
  const late = await cluster
    .launch("worker", { clockOffsetMs: -hourMs, env: { CT_WORKER_ID: "late" } })
    .ready();
  const early = await cluster.launch("balancer", { clockOffsetMs: hourMs }).ready();
  await sees(balancer, 3);
  await sees(early, 3);
  const rings = await Promise.all([balancer, early].map(async (one) => (await one.view())["ring"]));
  expect(rings[0]).toBe(rings[1]);
  for (const url of [balancer.url, early.url]) {
    for (let i = 0; i < 3; i++) await expectMainJob(url, 1);
  }
  await late.stop();
  await sees(balancer, 2);
});

test("a worker with a loopback address and a remote store does not start, and says what to set", async () => {
  const refused = cluster.launch("worker", {
    env: { CT_WORKER_ID: "w", CT_WORKER_URL: "http://127.0.0.1:22" },
  });
  expect(await refused.ended()).toBe(1);
  expect(refused.output()).toContain("CT_WORKER_URL=http://127.0.0.1:22");
});

test("with a full Redis new sessions are refused with a reason, running ones continue, and freed memory ends it", async () => {
  const before = await fetch(`${balancer.url}/api/meta`);
  expect(before.status).toBe(200);
  await admin.config("SET", "maxmemory-policy", "noeviction");
  await admin.config("SET", "maxmemory", "1");
  const host = person({ baseUrl: balancer.url, name: "Host" });
  // No one can sign in, and the client says why.
  await expect(host.host()).rejects.toThrow("Failed to get login URL");
  await until("somebody says that Redis is full", () =>
    cluster.workers.some((one) => one.output().includes("the store is full")),
  );
  // Leases are still renewed: no member is considered gone.
  expect(await workersSeenBy(balancer)).toEqual(["worker-1", "worker-2"]);
  expect((await fetch(`${balancer.url}/api/meta`)).status).toBe(200);
  await admin.config("SET", "maxmemory", "0");
  await mainJob();
});

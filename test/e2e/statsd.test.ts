/**
 * The cluster's metrics as StatsD receives them from several workers and balancers: exact, from one sender, over crashes of
 * workers and a restart of everything except Redis.
 */
import { beforeAll, expect, test } from "vitest";
import { type Cluster, type Member, sees, startCluster } from "../support/cluster.ts";
import { EXPECTED, play } from "../support/metrics-workload.ts";
import { type StatsdSink, startStatsdSink } from "../support/statsd-sink.ts";
import { until } from "../support/until.ts";

const INTERVAL_MS = 500;

let sink: StatsdSink;
let cluster: Cluster;

beforeAll(async () => {
  sink = await startStatsdSink();
  cluster = await startCluster({
    workers: 2,
    balancers: 2,
    env: {
      CT_METRICS_STATSD_HOST: "127.0.0.1",
      CT_METRICS_STATSD_PORT: String(sink.port),
      // As CodeTogether deployments write it.
      CT_METRICS_STATSD_PROTOCOL: "UDP",
      CT_METRICS_PREFIX: "ct.test",
      CT_METRICS_INTERVAL_MS: String(INTERVAL_MS),
      // Set for an agent that this machine may run.
      DD_ENV: "prod",
      DD_SERVICE: "edge",
      DD_AGENT_HOST: "192.0.2.1",
    },
  });
});

test("people, sessions and connections are exact, and 0 within two intervals after all have left", async () => {
  const workload = await play(cluster.balancers.map(({ url }) => url));
  await until("the cluster's gauges show everybody", () => seen() === shown(EXPECTED));
  expect(sink.gauges.get("ct.test.workers.counted")).toBe(2);
  // Workers send their own series independently.
  await until("the workers' gauges show everybody", () => ofWorkers() === ofWorkersShown(EXPECTED));
  await until("both are counted as hosted", () => hosted() === EXPECTED.hosted);
  expect(sink.gauges.get("ct.test.sessions.hosted_total")).toBe(EXPECTED.hosted);
  const lag = sink.gauges.get("ct.test.lag.average") ?? -1;
  expect(lag).toBeGreaterThanOrEqual(0);
  expect(sink.gauges.get("ct.test.lag.worst")).toBeGreaterThanOrEqual(lag);

  await workload.leave();
  const before = sink.history("ct.test.users.online").length;
  await until("nobody is there", () => seen() === shown({ users: 0, sessions: 0, connections: 0 }));
  // Counted in flushes, one per interval, so that a slow machine does not matter.
  const later = sink.history("ct.test.users.online").slice(before);
  expect(later.indexOf(0)).toBeLessThan(2);
  await until(
    "the workers' gauges show nobody",
    () => ofWorkers() === ofWorkersShown({ connections: 0, sessions: 0 }),
  );
  expect(hosted()).toBe(EXPECTED.hosted);
  expect(sink.badLines).toEqual([]);
});

test("a balancer sends its own metrics: requests, tunnels, and its view of the workers", async () => {
  const balancer = /^ct\.test\.balancer\.[A-Za-z0-9_-]+\./;
  const names = [...sink.gauges.keys()].filter((name) => balancer.test(name));
  const ends = new Set(names.map((name) => name.replace(balancer, "")));
  for (const end of [
    "tunnels",
    "connections",
    "workers.up",
    "links.worker-1",
    "link.streams.worker-2",
    "latency_ms.p99",
    "rss_bytes",
    "lag.max",
  ]) {
    expect(ends).toContain(end);
  }
  expect([...sink.counts.keys()].some((name) => /\.requests\.none$/.test(name))).toBe(true);
});

// A new sender is elected up to 9.5 s after the old one was lost.
test("one worker sends for all; when it dies another continues, and no session is counted twice or lost", async () => {
  for (const worker of [...cluster.workers]) {
    await worker.kill();
    const before = sink.history("ct.test.users.online").length;
    await until("somebody sends for the cluster", () => {
      return sink.history("ct.test.users.online").length > before + 2;
    });
    expect(hosted()).toBe(EXPECTED.hosted);
    await replace(worker);
  }
  const workload = await play(cluster.balancers.map(({ url }) => url));
  await until("the cluster's gauges show everybody", () => seen() === shown(EXPECTED));
  await until("the new ones are counted", () => hosted() === 2 * EXPECTED.hosted);
  expect(sink.gauges.get("ct.test.sessions.hosted_total")).toBe(2 * EXPECTED.hosted);
  await workload.leave();
}, 60_000);

test("totals survive a restart of everything except Redis", async () => {
  const total = hosted();
  const { workers, balancers } = cluster;
  await Promise.all([...workers, ...balancers].map((member) => member.stop()));
  for (let i = 0; i < 2; i++) await replace(workers[i] as Member);
  const balancer = await cluster.addBalancer();
  await sees(balancer, 2);
  const before = sink.history("ct.test.users.online").length;
  await until("the cluster's series are back", () => {
    return sink.history("ct.test.users.online").length > before + 2;
  });
  expect(hosted()).toBe(total);
  expect(sink.gauges.get("ct.test.sessions.hosted_total")).toBe(total);
  const workload = await play([balancer.url]);
  await until("the new ones are counted", () => hosted() === total + EXPECTED.hosted);
  await workload.leave();
});

/** Starts a worker under the name of one that has exited. */
async function replace({ id }: Member): Promise<void> {
  await cluster.addWorker({ env: { CT_WORKER_ID: id } });
}

function hosted(): number {
  return sink.counts.get("ct.test.sessions.hosted") ?? 0;
}

function sum(name: RegExp): number {
  let all = 0;
  for (const [gauge, value] of sink.gauges) if (name.test(gauge)) all += value;
  return all;
}

/** The sum of the workers' own series. */
function ofWorkers(): string {
  return ofWorkersShown({
    connections: sum(/^ct\.test\.worker\.worker-\d\.connections\.active$/),
    sessions: sum(/^ct\.test\.worker\.worker-\d\.sessions\.active$/),
  });
}

function ofWorkersShown(numbers: { sessions: number; connections: number }): string {
  return `${numbers.sessions} sessions, ${numbers.connections} connections`;
}

function seen(): string {
  return shown({
    users: sink.gauges.get("ct.test.users.online") ?? -1,
    sessions: sink.gauges.get("ct.test.sessions.active") ?? -1,
    connections: sink.gauges.get("ct.test.connections.active") ?? -1,
  });
}

function shown(numbers: { users: number; sessions: number; connections: number }): string {
  return `${numbers.users} people, ${numbers.sessions} sessions, ${numbers.connections} connections`;
}

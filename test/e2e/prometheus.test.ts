/**
 * What Prometheus scrapes from a balancer and a worker under use, checked by promtool too.
 */
import { spawnSync } from "node:child_process";
import { fetch } from "undici";
import { beforeAll, expect, test } from "vitest";
import { type Cluster, type Member, startCluster } from "../support/cluster.ts";
import { hasProgram } from "../support/debian.ts";
import { HAS_LINKS } from "../support/link-mode.ts";
import { openSession } from "../support/people.ts";
import { until } from "../support/until.ts";

let cluster: Cluster;
let balancer: Member;
let worker: Member;

beforeAll(async () => {
  cluster = await startCluster({
    workers: 1,
    balancers: 1,
    env: {
      CT_PROMETHEUS_ENABLED: "true",
      CT_DASHBOARD_USER: "ops",
      CT_DASHBOARD_PASSWORD: "not for everybody",
    },
  });
  [balancer] = cluster.balancers as [Member];
  [worker] = cluster.workers as [Member];
});

test("a worker exposes its people, sessions and connections, a balancer its requests and tunnels", async () => {
  const { guests } = await openSession({ baseUrl: balancer.url, guestCount: 2 });
  // A member publishes its new ring with its next heartbeat, and the others read that with theirs.
  await until("the members have published one ring", async () => {
    return (await samplesOf(balancer)).get("codetogether_balancer_rings") === 1;
  });
  const host = await samplesOf(worker);
  expect(host.get("codetogether_worker_users_online")).toBe(3);
  expect(host.get("codetogether_worker_sessions_active")).toBe(1);
  expect(host.get("codetogether_worker_connections_active")).toBe(3);
  expect(host.get("codetogether_worker_peers_away")).toBe(0);
  expect(host.get("codetogether_worker_sessions_created_total")).toBe(1);
  expect(host.get('codetogether_worker_joins_total{result="accepted"}')).toBe(2);
  expect(host.get("codetogether_store_up")).toBe(1);
  expect(host.get("codetogether_process_rss_bytes")).toBeGreaterThan(10_000_000);
  expect(host.get("codetogether_store_latency_seconds_count")).toBeGreaterThan(5);
  expect(host.get('codetogether_store_refusals_total{reason="full"}')).toBe(0);
  const startedS = host.get("codetogether_process_start_time_seconds") ?? 0;
  expect(Date.now() / 1000 - startedS).toBeGreaterThan(0);
  expect(Date.now() / 1000 - startedS).toBeLessThan(300);
  expect(host.get("codetogether_process_cpu_seconds_total")).toBeGreaterThan(0.05);
  expect(host.get("codetogether_process_cpu_seconds_total")).toBeLessThan(60);

  const way = await samplesOf(balancer);
  expect(way.get("codetogether_balancer_tunnels")).toBe(3);
  expect(way.get("codetogether_balancer_connections_limit")).toBeGreaterThan(100);
  expect(way.get("codetogether_balancer_rings")).toBe(1);
  expect(way.has("codetogether_balancer_certificate_expires_in_seconds")).toBe(false);
  expect(way.get('codetogether_balancer_answers_total{status="1xx"}')).toBe(3);
  expect(way.get('codetogether_balancer_workers{state="up"}')).toBe(1);
  expect(way.get('codetogether_balancer_workers{state="unhealthy"}')).toBe(0);
  // The name of the version before.
  expect(way.get('codetogether_balancer_workers{state="suspect"}')).toBe(0);
  const timed = way.get("codetogether_balancer_latency_seconds_count") ?? 0;
  expect(timed).toBeGreaterThan(0);
  expect(way.get("codetogether_balancer_first_byte_seconds_count")).toBe(timed);
  expect(way.get('codetogether_balancer_latency_seconds_bucket{le="+Inf"}')).toBe(timed);

  for (const guest of guests) await guest.close();
  await until("the guests are not counted any more", async () => {
    const left = await samplesOf(worker);
    return left.get("codetogether_worker_users_online") === 1;
  });
});

test("the public port exposes the cluster's metrics, to operators only", async () => {
  const url = `${balancer.url}/metrics`;
  const stranger = await fetch(url);
  expect(stranger.status).toBe(401);
  expect(stranger.headers.get("www-authenticate")).toMatch(/^Basic realm=/);
  expect(await stranger.text()).not.toContain("codetogether_");

  const authorization = `Basic ${Buffer.from("ops:not for everybody").toString("base64")}`;
  const answer = await fetch(url, { headers: { authorization } });
  expect(answer.status).toBe(200);
  expect(answer.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
  const page = await answer.text();
  expect(page).toContain("\ncodetogether_users_online ");
  expect(page).toContain("\ncodetogether_sessions_hosted_total 1\n");
  // Nothing of the single worker that happened to be asked.
  expect(page).not.toMatch(/codetogether_(worker|process|store)_/);
  const posted = await fetch(url, { method: "POST" });
  expect(posted.status).toBe(405);
});

if (hasProgram("promtool", ["prometheus"], "the check of /metrics with promtool")) {
  test("promtool accepts the pages of workers and balancers", async () => {
    for (const member of [balancer, worker]) {
      const page = await pageOf(member);
      const { status, stdout, stderr } = spawnSync("promtool", ["check", "metrics"], {
        input: page,
        encoding: "utf8",
      });
      expect({ status, said: stdout + stderr }).toEqual({ status: 0, said: "" });
    }
  });
}

test.runIf(HAS_LINKS)(
  "workers and balancers expose the links, a balancer those to each worker",
  async () => {
    await openSession({ baseUrl: balancer.url, guestCount: 2 });
    const ofWorker = await samplesOf(worker);
    expect(ofWorker.get("codetogether_worker_links")).toBeGreaterThan(0);
    expect(ofWorker.get("codetogether_worker_link_streams")).toBeGreaterThanOrEqual(3);
    expect(ofWorker.get("codetogether_worker_link_received_frames_total")).toBeGreaterThan(10);
    expect(ofWorker.get("codetogether_worker_link_errors_total")).toBe(0);

    const ofBalancer = await samplesOf(balancer);
    const link = (name: string) =>
      ofBalancer.get(`codetogether_balancer_${name}{worker="${worker.id}"}`);
    expect(link("links")).toBeGreaterThan(0);
    expect(link("link_streams")).toBeGreaterThanOrEqual(3);
    expect(link("link_sent_bytes_total")).toBeGreaterThan(1000);
    expect(link("link_received_frames_total")).toBeGreaterThan(10);
    expect(link("link_errors_total")).toBe(0);
  },
);

async function pageOf({ statusPort }: Member): Promise<string> {
  const answer = await fetch(`http://127.0.0.1:${statusPort}/metrics`);
  expect(answer.status).toBe(200);
  expect(answer.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
  return answer.text();
}

async function samplesOf(member: Member): Promise<Map<string, number>> {
  const lines = (await pageOf(member)).split("\n").filter((line) => /^[a-z]/.test(line));
  return new Map(
    lines.map((line) => {
      const at = line.lastIndexOf(" ");
      return [line.slice(0, at), Number(line.slice(at + 1))];
    }),
  );
}

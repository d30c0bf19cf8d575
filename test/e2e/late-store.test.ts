/**
 * Processes that start before their store log that, wait, and work as soon as it is reachable.
 */
import { fetch } from "undici";
import { expect, test } from "vitest";
import { buildOnce } from "../support/build.ts";
import { launch } from "../support/cluster.ts";
import { expectMainJob } from "../support/people.ts";
import { freePort } from "../support/ports.ts";
import { startRedis } from "../support/redis.ts";
import { until } from "../support/until.ts";

test("a balancer without a store answers 503, and works once the store is reachable", async () => {
  await buildOnce();
  const redisPort = await freePort();
  const env = { CT_REDIS_URL: `redis://127.0.0.1:${redisPort}` };
  const balancer = await launch("balancer", { env }).ready();

  const ask = () => fetch(`${balancer.url}/api/meta`);
  const [first, second] = [await ask(), await ask()];
  expect([first.status, second.status]).toEqual([503, 503]);
  expect(first.headers.get("retry-after")).toBe("1");
  const text = "No worker can take this request now. Try again.";
  for (const answer of [first, second]) {
    expect(await answer.json()).toEqual({
      code: "EDGE_NO_UPSTREAM",
      params: [],
      message: text,
      requestId: expect.any(String) as string,
    });
  }
  expect(await health(`${balancer.url}/ct-health/`)).toEqual([503, { status: "no worker" }]);
  const status = `http://127.0.0.1:${balancer.statusPort}`;
  const notReady = { status: "not ready", reasons: ["no worker takes new sessions"] };
  expect(await health(`${status}/health/ready`)).toEqual([503, notReady]);
  expect(await health(`${status}/ct-health/`)).toEqual([503, notReady]);
  expect(await health(`${status}/health/live`)).toEqual([200, { status: "live" }]);
  expect(balancer.output()).toContain("store unavailable");

  // A worker waits as well: it is of no use before it is a member.
  const worker = launch("worker", { env: { ...env, CT_WORKER_ID: "worker-1", ...SIMPLE_LOGIN } });
  await until("the worker has begun", () => worker.output().includes("store unavailable"));

  const redis = await startRedis({ port: redisPort });
  const { statusPort } = await worker.ready();
  await until("the balancer is ready", async () => {
    const [code] = await health(`${status}/health/ready`);
    return code === 200;
  });
  expect(await health(`${balancer.url}/ct-health/`)).toEqual([200, { status: "ok" }]);
  expect(await health(`http://127.0.0.1:${statusPort}/ct-health/`)).toEqual([
    200,
    { status: "ready", reasons: [] },
  ]);
  await expectMainJob(balancer.url, 1);

  await redis.kill();
  await until("both say that the store is unavailable", async () => {
    for (const port of [balancer.statusPort, statusPort]) {
      const [code, body] = await health(`http://127.0.0.1:${port}/health/ready`);
      if (code !== 200 || (body as { status: string }).status !== "degraded") return false;
    }
    return true;
  });
});

const SIMPLE_LOGIN = { CT_LOGIN_SIMPLE: "on" };

async function health(url: string): Promise<[number, unknown]> {
  const answer = await fetch(url);
  return [answer.status, await answer.json()];
}

/** `GET /autoscale` over a real status port. */
import { fetch } from "undici";
import { expect, onTestFinished, test } from "vitest";
import { autoscalePage } from "../../../shared/autoscale/autoscale-page.ts";
import { type WishState, watchDemand } from "../../../shared/autoscale/watch.ts";
import { openStatusPort, type StatusPage } from "../../../shared/process/status-port.ts";
import { workerRecord } from "../../balancer/rig.ts";
import { createStepClock } from "../../support/step-clock.ts";

const WISH: WishState = {
  wish: {
    wanted: 4,
    current: 3,
    by: "sessions",
    needs: { sessions: 3.2, connections: 1, cpu: 0.4, lag: 0 },
  },
};

async function serve(pages: Record<string, StatusPage>): Promise<string> {
  const status = await openStatusPort({
    host: "127.0.0.1",
    port: 0,
    source: {
      readiness: () => ({ notReady: [], degraded: [] }),
      view: () => ({}),
      metrics: async () => "",
      pages,
    },
  });
  onTestFinished(() => status.close());
  return `http://127.0.0.1:${status.port}`;
}

test("responds with the number as JSON that a scaler reads", async () => {
  const url = await serve({ "/autoscale": autoscalePage(() => WISH, undefined) });
  const response = await fetch(`${url}/autoscale`);
  expect(response.status).toBe(200);
  expect(await response.json()).toEqual(WISH.wish);
  const head = await fetch(`${url}/autoscale`, { method: "HEAD" });
  expect([head.status, await head.text()]).toEqual([200, ""]);
  const post = await fetch(`${url}/autoscale`, { method: "POST", body: "x" });
  expect([post.status, post.headers.get("allow")]).toEqual([405, "GET, HEAD"]);
});

test("without a number responds 503 with the reason, and without any number", async () => {
  const why = "the store is away: refused";
  const url = await serve({
    "/autoscale": autoscalePage(() => ({ wish: undefined, why }), undefined),
  });
  const response = await fetch(`${url}/autoscale`);
  expect(response.status).toBe(503);
  expect(await response.json()).toEqual({ error: `no number is known: ${why}` });
});

test("with a token set, only requests with it get the number", async () => {
  const token = "a-token-of-sixteen-or-more";
  const url = await serve({ "/autoscale": autoscalePage(() => WISH, token) });
  const statusOf = async (authorization?: string): Promise<number> => {
    const headers = authorization === undefined ? {} : { authorization };
    return (await fetch(`${url}/autoscale`, { headers })).status;
  };
  expect(await statusOf(`Bearer ${token}`)).toBe(200);
  expect(await statusOf(`bearer  ${token}`)).toBe(200);
  expect(await statusOf()).toBe(401);
  expect(await statusOf(`Bearer ${token}x`)).toBe(401);
  expect(await statusOf(`Basic ${token}`)).toBe(401);
});

test("a page that fails gets 500, and the port serves on; names of objects are no pages", async () => {
  const url = await serve({
    "/bad": () => {
      throw new Error("bug");
    },
  });
  expect((await fetch(`${url}/bad`)).status).toBe(500);
  expect((await fetch(`${url}/health/live`)).status).toBe(200);
  const unknown = await fetch(`${url}/constructor`);
  expect(unknown.status).toBe(404);
  expect(await unknown.json()).toEqual({
    error: "unknown path; try /health/live, /health/ready, /view, /metrics, /bad",
  });
});

test("the number is known once the workers are, and not while the store is away", () => {
  const clock = createStepClock();
  let why: string | undefined = "the workers have not been read yet";
  let workers = [workerRecord("w1", 3001, {})];
  const watch = watchDemand({
    settings: {
      sessions: 10,
      connections: 40,
      cpu: 0.5,
      lagMs: 20,
      headroom: 0,
      upMs: 2000,
      downMs: 5000,
    },
    clock,
    workers: () => workers,
    unknownBecause: () => why,
  });
  clock.advance(1000);
  expect(watch.state).toEqual({ wish: undefined, why });
  why = undefined;
  const load = { sessions: 35, connections: 0, lagMs: 0, cpu: 0 };
  workers = [workerRecord("w1", 3001, { load })];
  for (let s = 0; s < 3; s++) clock.advance(1000);
  expect(watch.state).toMatchObject({ wish: { wanted: 4, current: 1, by: "sessions" } });
  why = "the store is away: refused";
  clock.advance(1000);
  expect(watch.state).toEqual({ wish: undefined, why });
  why = undefined;
  workers = [];
  clock.advance(1000);
  expect(watch.state).toEqual({ wish: undefined, why: "no worker has a lease" });
  watch.close();
});

/** `GET /autoscale` over a real status port. */
import { fetch } from "undici";
import { expect, test } from "vitest";
import { autoscalePage } from "../../../shared/autoscale/autoscale-page.ts";
import { type WishState, watchDemand } from "../../../shared/autoscale/watch.ts";
import { workerRecord } from "../../balancer/rig.ts";
import { serveStatusPages } from "../../support/status-pages.ts";
import { createStepClock } from "../../support/step-clock.ts";

const WISH: WishState = {
  wish: {
    wanted: 4,
    current: 3,
    by: "sessions",
    needs: { sessions: 3.2, connections: 1, cpu: 0.4, lag: 0 },
  },
};

const SCALING = {
  sessions: 10,
  connections: 40,
  cpu: 0.5,
  lagMs: 20,
  headroom: 0,
  upMs: 2000,
  downMs: 5000,
};

test("the autoscaler's page responds with the number as JSON that a scaler reads", async () => {
  const url = await serveStatusPages({ "/autoscale": autoscalePage(() => WISH, undefined) });
  const response = await fetch(`${url}/autoscale`);
  expect(response.status).toBe(200);
  expect(await response.json()).toEqual(WISH.wish);
  const head = await fetch(`${url}/autoscale`, { method: "HEAD" });
  expect([head.status, await head.text()]).toEqual([200, ""]);
  const post = await fetch(`${url}/autoscale`, { method: "POST", body: "x" });
  expect([post.status, post.headers.get("allow")]).toEqual([405, "GET, HEAD"]);
});

test("the autoscaler's page responds without a number with 503 and the reason, and with no number", async () => {
  const why = "the store is away: refused";
  const url = await serveStatusPages({
    "/autoscale": autoscalePage(() => ({ wish: undefined, why }), undefined),
  });
  const response = await fetch(`${url}/autoscale`);
  expect(response.status).toBe(503);
  expect(await response.json()).toEqual({ error: "no number is known", why });
});

test("the autoscaler's page gives the number only to requests with the token, when one is set", async () => {
  const token = "a-token-of-sixteen-or-more";
  const url = await serveStatusPages({ "/autoscale": autoscalePage(() => WISH, token) });
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

test("an autoscaler's page that fails gets 500, and the port serves on; names of objects are no pages", async () => {
  const url = await serveStatusPages({
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

test("processes that have started at different times say the same number of workers", () => {
  const clock = createStepClock();
  const load = { sessions: 30, connections: 0, lagMs: 0, cpu: 0 };
  const wanted = new Map<string, number | undefined>();
  let current = 4;
  const start = (id: string) => {
    const watch = watchDemand({
      // Three workers suffice, and four are not too many.
      settings: { ...SCALING, sessions: 40 },
      clock,
      workers: () =>
        Array.from({ length: current }, (_, index) =>
          workerRecord(`w${index}`, 3001, { load, wanted: wanted.get(`w${index}`) }),
        ),
      balancers: () => [],
      unknownBecause: () => undefined,
    });
    return {
      watch,
      note: () => wanted.set(id, watch.own),
    };
  };
  const first = start("w0");
  const pass = (seconds: number, ...all: (typeof first)[]): void => {
    for (let s = 0; s < seconds; s++) {
      clock.advance(1000);
      for (const one of all) one.note();
    }
  };
  pass(1, first);
  // One worker is away for a moment when the second one starts.
  current = 3;
  const second = start("w1");
  pass(2, first, second);
  current = 4;
  pass(20, first, second);
  expect(first.watch.own).not.toBe(second.watch.own);
  expect(first.watch.state.wish?.wanted).toBe(second.watch.state.wish?.wanted);
});

test("the number of workers is known once the workers are, and not while the store is away", () => {
  const clock = createStepClock();
  let why: string | undefined = "the workers have not been read yet";
  let workers = [workerRecord("w1", 3001, {})];
  const watch = watchDemand({
    settings: SCALING,
    clock,
    workers: () => workers,
    balancers: () => [],
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

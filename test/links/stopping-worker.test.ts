/** What becomes of requests at a worker that stops, over links as over plain connections. */
import { expect, onTestFinished, test } from "vitest";
import { type Clock, systemClock } from "../../shared/base/clock.ts";
import { type Rig, startRig } from "../balancer/rig.ts";
import { post } from "../conformance/case.ts";
import { until } from "../support/until.ts";
import { pollsWait, startTwoWorkers, startWorker, type Worker } from "../worker/api/fixture.ts";
import { KEYS } from "../worker/worker-parts.ts";
import { linkTargets } from "./accept-links.ts";

/** A balancer that knows `worker`, and whether it has links. */
async function startBalancer(worker: Worker): Promise<Rig> {
  const rig = await startRig({
    workers: [worker.record],
    edgeKey: KEYS.edge,
    linkTarget: linkTargets({ edgeKey: KEYS.edge }),
    probe: { async ask() {} },
  });
  onTestFinished(() => rig.close());
  const state = worker.record.linkVersion === undefined ? "unsupported" : "open";
  await until(`links are ${state}`, () => rig.path.router.upstreams[0]?.links.state === state);
  return rig;
}

const at = (path: string, ...fields: string[]): string =>
  post("", "Content-Length: 0", ...fields).replace(" / ", ` ${path} `);

/** Requests for new sessions wait in the store until `release`. */
function holdCreates({ store }: Worker): { readonly waiting: number; release(): void } {
  const createSession = store.createSession.bind(store);
  const held: (() => void)[] = [];
  store.createSession = async (request) => {
    await new Promise<void>((resolve) => held.push(resolve));
    return createSession(request);
  };
  return {
    get waiting() {
      return held.length;
    },
    release() {
      for (const resume of held) resume();
    },
  };
}

/** With it a worker that stops gives responses under way much longer than 200 ms: this machine may be busy. */
const PATIENT: Clock = {
  ...systemClock,
  after: (ms, action) => systemClock.after(ms === 200 ? 20_000 : ms, action),
};

const WAYS = [
  ["a link", true],
  ["a plain connection", false],
] as const;

test.each(WAYS)(
  "a long poll over %s gets its response when the worker stops",
  async (_, hasLinks) => {
    const worker = await startWorker({ hasLinks });
    const rig = await startBalancer(worker);
    const client = await rig.send(at(`/api/login/poll/${await worker.begin()}`));
    await pollsWait(worker, 1);
    const stopped = worker.stop();
    expect(await client.head()).toMatch(/^HTTP\/1\.1 20/);
    await stopped;
  },
);

test.each(WAYS)(
  "a response under way over %s completes when the worker stops",
  async (_, hasLinks) => {
    const worker = await startWorker({ hasLinks, clock: PATIENT });
    const rig = await startBalancer(worker);
    const user = await worker.signIn("Ann");
    const { host } = await worker.openSession();
    const creates = holdCreates(worker);
    const client = await rig.send(at("/api/session/create", `x-oct-jwt: ${user}`));
    await until("it is at work", () => creates.waiting === 1);
    const stopped = worker.stop();
    await until("clients are disconnected", () => host.disconnects.length === 1);
    creates.release();
    expect(await client.head()).toMatch(/^HTTP\/1\.1 200 /);
    await stopped;
  },
);

test("a request that comes over a link while its worker stops is not executed there, but by another worker", async () => {
  const [stopping, other] = await startTwoWorkers({ clock: PATIENT });
  const rig = await startBalancer(stopping);
  const user = await stopping.signIn("Ann");
  const creates = holdCreates(stopping);
  const slow = await rig.send(at("/api/session/create", `x-oct-jwt: ${user}`));
  await until("it is at work", () => creates.waiting === 1);
  const stopped = stopping.stop();
  // The stopping one has fewer sessions.
  const load = { ...other.record.load, sessions: 1000 };
  rig.view.set([stopping.record, { ...other.record, load }]);
  const client = await rig.send(at("/api/session/create", `x-oct-jwt: ${user}`));
  expect(await client.head()).toMatch(/^HTTP\/1\.1 200 /);
  expect(stopping.counters.value("worker.link.resets")).toBe(1);
  expect(creates.waiting).toBe(1);
  creates.release();
  expect(await slow.head()).toMatch(/^HTTP\/1\.1 200 /);
  await stopped;
});

/** Balancers that share a certificate: one orders it, all serve it, whatever fails. */
import { beforeAll, expect, test } from "vitest";
import type { CaFailure, CaResult } from "../../../balancer/acme/ca-protocol.ts";
import { createWorld, makePairs, type Pair, settle, WANTED, type World } from "./world.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

let pairs: readonly Pair[];
let startMs: number;

beforeAll(async () => {
  startMs = Math.floor(Date.now() / 1000) * 1000;
  pairs = await makePairs(6, startMs);
});

const create = (): Promise<World> => createWorld(pairs, startMs);

/** A world whose only balancer leads. */
async function createLed() {
  const world = await create();
  const leader = await world.open();
  leader.isLeading = true;
  return { world, leader };
}

/** A world of two balancers, one of which leads. */
async function createPair() {
  const world = await create();
  const [leader, other] = [await world.open(), await world.open()];
  leader.isLeading = true;
  return { world, leader, other };
}

const orders = ({ jobs }: World): number => jobs.filter(({ kind }) => kind === "order").length;

const FAILED: CaFailure = {
  outcome: "failed",
  kind: "challenge",
  detail: "edge.test by http-01: connection refused",
  retryAfterMs: undefined,
};

test("the leader orders one certificate, and the others serve it within 5 s", async () => {
  const world = await create();
  const [one, two, three] = [await world.open(), await world.open(), await world.open()];
  await world.pass(10_000);
  expect(orders(world)).toBe(0);
  two.isLeading = true;
  await world.pass(2000);
  expect(two.cert()).toBe(pairs[0]?.cert);
  await world.pass(3000);
  expect([one.cert(), three.cert()]).toEqual([two.cert(), two.cert()]);
  await world.pass(HOUR);
  expect(orders(world)).toBe(1);
});

test("any balancer gives the responses to the leader's challenges, and nobody reads them in the store", async () => {
  const world = await create();
  const [leader, other, stranger] = [
    await world.open(),
    await world.open(),
    await world.open({ secret: "another" }),
  ];
  let during: unknown;
  const { order } = world;
  world.order = async (job, takeStep) => {
    const result = await order(job, takeStep);
    await takeStep({
      step: "challenges",
      challenges: [
        { type: "http-01", token: "token", response: "token.thumbprint" },
        { type: "tls-alpn-01", domain: "edge.test", cert: "CERT", key: "KEY" },
      ],
    });
    const { challenges } = other.acme;
    during = [
      await challenges.httpResponse("token"),
      await challenges.httpResponse("other"),
      await challenges.httpResponse("../token"),
      await challenges.tlsCertificate("EDGE.test"),
      await challenges.tlsCertificate("other.test"),
      await stranger.acme.challenges.httpResponse("token"),
    ];
    return result;
  };
  leader.isLeading = true;
  await world.pass(2000);
  expect(during).toEqual([
    "token.thumbprint",
    undefined,
    undefined,
    { cert: "CERT", key: "KEY" },
    undefined,
    undefined,
  ]);
});

test("the certificate is renewed after two thirds of its lifetime, and stays in use when that fails", async () => {
  const { world, leader, other } = await createPair();
  await world.pass(5000);
  world.order = async () => FAILED;
  world.jump(59 * DAY);
  await world.pass(5000);
  expect(orders(world)).toBe(1);
  world.jump(DAY);
  await world.pass(5000);
  expect(orders(world)).toBe(2);
  expect([leader.cert(), other.cert()]).toEqual([pairs[0]?.cert, pairs[0]?.cert]);
  expect(other.acme.status).toMatchObject({ failures: 1, problem: FAILED.detail });
  const said = (): string[] => leader.lines.filter((line) => line.includes("no new certificate"));
  expect(said()).toHaveLength(1);
  expect(said()[0]).toContain("connection refused");
  // No loop: it is tried again after 10 to 12 minutes, then after an hour.
  await world.pass(9 * MINUTE);
  expect(orders(world)).toBe(2);
  await world.pass(5 * MINUTE);
  expect(orders(world)).toBe(3);
  await world.pass(50 * MINUTE);
  expect(orders(world)).toBe(3);
  expect(said()).toHaveLength(2);
});

test("failures are known to the next leader, and other settings are tried at once", async () => {
  const world = await create();
  const [one, two] = [await world.open(), await world.open()];
  world.order = async () => FAILED;
  one.isLeading = true;
  await world.pass(5000);
  one.isLeading = false;
  two.isLeading = true;
  await world.pass(5 * MINUTE);
  expect(orders(world)).toBe(1);
  two.isLeading = false;
  const changed = await world.open({ wanted: { ...WANTED, email: "operator@edge.test" } });
  changed.isLeading = true;
  await world.pass(2000);
  expect(orders(world)).toBe(2);
});

test("an authority that limits orders is left alone as long as it says, also by an operator", async () => {
  const world = await create();
  const leader = await world.open();
  world.order = async () => ({ ...FAILED, kind: "rate-limited", retryAfterMs: 30 * HOUR });
  leader.isLeading = true;
  await world.pass(2000);
  expect(leader.acme.renew()).toBe("too soon");
  world.jump(29 * HOUR);
  await world.pass(5000);
  expect(orders(world)).toBe(1);
});

test("an operator can renew at any time, at the leader, one order at a time", async () => {
  const { world, leader, other } = await createPair();
  await world.pass(5000);
  expect(other.acme.renew()).toBe("not leading");
  let finish: (result: CaResult) => void = () => {};
  world.order = () =>
    new Promise((resolve) => {
      finish = resolve;
    });
  expect(leader.acme.renew()).toBeUndefined();
  await settle();
  expect(leader.acme.renew()).toBe("busy");
  finish({ outcome: "issued", ...(pairs[1] ?? { cert: "", key: "" }), challenge: "http-01" });
  await world.pass(5000);
  expect([leader.cert(), other.cert()]).toEqual([pairs[1]?.cert, pairs[1]?.cert]);
});

test("the authority's window decides when the certificate is renewed, and one that was revoked is replaced at once", async () => {
  const world = await create();
  const leader = await world.open();
  const startsMs = world.clock.wallMs() + 10 * DAY;
  world.inspect = async () => ({
    outcome: "inspected",
    window: { startMs: startsMs, endMs: startsMs + 2 * DAY },
    retryAfterMs: 12 * HOUR,
    isRevoked: false,
  });
  leader.isLeading = true;
  await world.pass(10_000);
  expect(leader.acme.status.nextMs).toBe(startsMs + DAY);
  expect(world.jobs.map(({ kind }) => kind)).toEqual(["order", "inspect"]);
  world.jump(12 * HOUR);
  await world.pass(5000);
  expect(world.jobs).toHaveLength(3);
  // The same time stays chosen while the window is the same.
  expect(leader.acme.status.nextMs).toBe(startsMs + DAY);

  world.inspect = async (job) => ({
    outcome: "inspected",
    window: undefined,
    retryAfterMs: undefined,
    isRevoked: job.cert === pairs[0]?.cert,
  });
  world.jump(12 * HOUR);
  await world.pass(10_000);
  expect(leader.lines.join("\n")).toContain("was revoked by its authority; another one is ordered");
  expect(leader.cert()).toBe(pairs[1]?.cert);
  expect(leader.acme.status.isRevoked).toBe(false);
});

test("an authority that says nothing about a certificate changes nothing", async () => {
  const { world, leader } = await createLed();
  world.inspect = async () => FAILED;
  await world.pass(20_000);
  expect(world.jobs.map(({ kind }) => kind)).toEqual(["order", "inspect"]);
  expect(leader.acme.status.problem).toBeUndefined();
});

test("a leader that loses the lead in the middle stops, and the next one goes on with its account and order", async () => {
  const world = await create();
  const [one, two] = [await world.open(), await world.open()];
  const { order } = world;
  world.order = async (job, takeStep) => {
    await takeStep({ step: "account", url: "account", key: "account key" });
    await takeStep({ step: "order", url: "order", key: pairs[0]?.key ?? "" });
    one.isLeading = false;
    await takeStep({ step: "challenges", challenges: [] });
    return order(job, takeStep);
  };
  one.isLeading = true;
  await world.pass(2000);
  expect(one.cert()).toBeUndefined();
  world.order = order;
  two.isLeading = true;
  await world.pass(5000);
  const [, second] = world.jobs;
  expect(second).toMatchObject({
    kind: "order",
    account: { url: "account", key: "account key" },
    open: { url: "order", key: pairs[0]?.key },
  });
  expect([one.cert(), two.cert()]).toEqual([pairs[0]?.cert, pairs[0]?.cert]);
});

test("a certificate that arrives while the store is away is used, and written when the store is back", async () => {
  const world = await create();
  const [leader, other] = [await world.open(), await world.open()];
  const { order } = world;
  world.order = async (job, takeStep) => {
    const result = await order(job, takeStep);
    world.store.isAway = true;
    // By then nobody leads.
    leader.isLeading = false;
    return result;
  };
  leader.isLeading = true;
  await world.pass(10_000);
  expect([leader.cert(), other.cert()]).toEqual([pairs[0]?.cert, undefined]);
  world.store.isAway = false;
  leader.isLeading = true;
  await world.pass(5000);
  expect(other.cert()).toBe(pairs[0]?.cert);
  expect(orders(world)).toBe(1);
});

test("a store that was emptied gets the certificate again from any balancer, before there is a leader", async () => {
  const { world, leader: one, other: two } = await createPair();
  await world.pass(10_000);
  world.store.isAway = true;
  one.isLeading = false;
  await world.pass(5000);
  world.store.empty();
  world.store.isAway = false;
  await world.pass(3000);
  two.isLeading = true;
  await world.pass(3000);
  expect(world.store.isEmpty).toBe(false);
  const fresh = await world.open();
  expect(fresh.cert()).toBe(pairs[0]?.cert);
  expect(orders(world)).toBe(1);
});

test("without a store a balancer starts with the certificate that it has kept, and goes on with the store's", async () => {
  const world = await create();
  let kept: string | undefined;
  const copy = {
    read: async () => kept,
    async write(sealed: string) {
      kept = sealed;
    },
  };
  const leader = await world.open({ copy });
  leader.isLeading = true;
  await world.pass(5000);
  world.store.isAway = true;
  const fresh = await world.open({ copy });
  expect(fresh.cert()).toBe(pairs[0]?.cert);
  world.store.isAway = false;
  expect(leader.acme.renew()).toBeUndefined();
  await world.pass(5000);
  expect(fresh.cert()).toBe(pairs[1]?.cert);
  // It was made with another secret.
  world.store.isAway = true;
  const stranger = await world.open({ copy, secret: "another" });
  expect(stranger.cert()).toBeUndefined();
  expect(stranger.lines.join("\n")).toContain("or CT_SECRET_PREVIOUS to the secret before");
});

test("a balancer with another secret touches nothing, says so once, and replaces the certificate only when an operator wants it", async () => {
  const world = await create();
  const one = await world.open();
  one.isLeading = true;
  await world.pass(10_000);
  one.isLeading = false;
  const two = await world.open({ secret: "another" });
  two.isLeading = true;
  await world.pass(2 * MINUTE);
  expect(orders(world)).toBe(1);
  expect(two.cert()).toBeUndefined();
  expect(two.acme.status.problem).toContain("set CT_SECRET as on the other balancers");
  const said = two.lines.filter((line) => line.includes("made with another secret"));
  expect(said).toHaveLength(1);
  const fresh = await world.open();
  expect(fresh.cert()).toBe(pairs[0]?.cert);

  expect(two.acme.renew()).toBeUndefined();
  await world.pass(10_000);
  expect(two.cert()).toBe(pairs[1]?.cert);
  expect(two.acme.status.problem).toBeUndefined();
  // What it serves, it goes on to serve.
  expect(one.cert()).toBe(pairs[0]?.cert);
  expect(orders(world)).toBe(2);
});

test("a former leader whose job ends late does not bring back an old certificate, nor a failure", async () => {
  const world = await create();
  const [one, two] = [await world.open(), await world.open()];
  const { order, inspect } = world;
  let end: (result: CaResult) => void = () => {};
  const hang = (): Promise<CaResult> =>
    new Promise((resolve) => {
      end = resolve;
    });

  // Its order hangs, and the next leader's is issued.
  world.order = hang;
  one.isLeading = true;
  await world.pass(2000);
  one.isLeading = false;
  world.order = order;
  two.isLeading = true;
  await world.pass(6000);
  expect(two.cert()).toBe(pairs[0]?.cert);
  end(FAILED);
  await world.pass(6000);
  expect(two.acme.status.problem).toBeUndefined();
  expect(one.cert()).toBe(pairs[0]?.cert);

  // It asks about the certificate, which is replaced meanwhile.
  world.jump(DAY);
  world.inspect = hang;
  two.isLeading = false;
  one.isLeading = true;
  await world.pass(4000);
  one.isLeading = false;
  world.inspect = inspect;
  two.isLeading = true;
  await world.pass(4000);
  expect(two.acme.renew()).toBeUndefined();
  await world.pass(6000);
  end({ outcome: "inspected", window: undefined, retryAfterMs: undefined, isRevoked: true });
  await world.pass(10_000);
  expect([one.cert(), two.cert()]).toEqual([pairs[1]?.cert, pairs[1]?.cert]);
  expect(two.acme.status.isRevoked).toBe(false);

  // Its order of before is issued at last.
  world.order = hang;
  two.isLeading = false;
  one.isLeading = true;
  await world.pass(2000);
  expect(one.acme.renew()).toBeUndefined();
  await world.pass(2000);
  one.isLeading = false;
  two.isLeading = true;
  world.order = order;
  world.jump(MINUTE);
  expect(two.acme.renew()).toBeUndefined();
  await world.pass(6000);
  end({ outcome: "issued", ...(pairs[5] ?? { cert: "", key: "" }), challenge: "http-01" });
  await world.pass(10_000);
  expect([one.cert(), two.cert()]).toEqual([pairs[2]?.cert, pairs[2]?.cert]);
});

test("a store that was restored from an old copy gets the newest certificate back", async () => {
  const { world, leader: one, other: two } = await createPair();
  await world.pass(10_000);
  const old = world.store.backUp();
  expect(one.acme.renew()).toBeUndefined();
  await world.pass(10_000);
  world.store.restore(old);
  await world.pass(10_000);
  expect([one.cert(), two.cert()]).toEqual([pairs[1]?.cert, pairs[1]?.cert]);
  const fresh = await world.open();
  expect(fresh.cert()).toBe(pairs[1]?.cert);
});

test("a job that fails in this program is a failure like others: recorded, told, and repeated later", async () => {
  const { world, leader } = await createLed();
  world.order = async () => {
    throw new Error("the thread ended with status 1");
  };
  await world.pass(HOUR);
  expect(orders(world)).toBeLessThan(6);
  expect(leader.acme.status.problem).toBe("the thread ended with status 1");
});

test("an order by hand that fails is tried again, and the log says when", async () => {
  const { world, leader } = await createLed();
  await world.pass(10_000);
  const { order } = world;
  world.order = async () => ({ ...FAILED, kind: "unreachable" });
  expect(leader.acme.renew()).toBeUndefined();
  await world.pass(4000);
  const { nextMs } = leader.acme.status;
  const said = leader.lines.find((line) => line.includes("no new certificate"));
  expect(said).toContain(`retry=${new Date(nextMs).toISOString()}`);
  world.order = order;
  await world.pass(2 * MINUTE);
  expect(leader.cert()).toBe(pairs[1]?.cert);
  expect(leader.acme.status.problem).toBeUndefined();
});

test("an operator's order is forgotten with the lead", async () => {
  const { world, leader } = await createLed();
  await world.pass(10_000);
  world.store.isAway = true;
  expect(leader.acme.renew()).toBeUndefined();
  await world.pass(4000);
  leader.isLeading = false;
  world.store.isAway = false;
  await world.pass(4000);
  leader.isLeading = true;
  await world.pass(MINUTE);
  expect(orders(world)).toBe(1);
});

test("a certificate that is not valid by this machine's clock is used, named, and not replaced over and over", async () => {
  const world = await createWorld(pairs, startMs - 2 * DAY);
  const leader = await world.open();
  leader.isLeading = true;
  await world.pass(10 * MINUTE);
  expect(leader.lines.join("\n")).toContain("not valid by this machine's clock; check the clock");
  expect(orders(world)).toBe(1);
  const late = await createWorld(pairs, startMs + 365 * DAY);
  const other = await late.open();
  other.isLeading = true;
  for (let day = 0; day < 29; day++) {
    await late.pass(10_000);
    late.jump(DAY);
  }
  expect(orders(late)).toBe(1);
});

test("a balancer that stops ends its job, and nothing happens afterwards", async () => {
  const { world, leader } = await createLed();
  world.order = async (_job, takeStep) => {
    await takeStep({ step: "account", url: "a", key: "k" });
    void leader.close();
    await takeStep({ step: "order", url: "o", key: "k" });
    return FAILED;
  };
  await world.pass(2000);
  await leader.close();
  await world.pass(10_000);
  expect(orders(world)).toBe(1);
});

test("an authority that calls each certificate revoked is asked for fewer and fewer", async () => {
  const { world } = await createLed();
  world.inspect = async () => ({
    outcome: "inspected",
    window: undefined,
    retryAfterMs: undefined,
    isRevoked: true,
  });
  await world.pass(12 * MINUTE);
  expect(orders(world)).toBe(3);
  await world.pass(2 * HOUR);
  expect(orders(world)).toBe(4);
});

test("a failure while the store goes away is told once, and counted once", async () => {
  const { world, leader } = await createLed();
  world.order = async () => {
    world.store.isReadOnly = true;
    return FAILED;
  };
  await world.pass(4000);
  expect(leader.lines.filter((line) => line.includes("HTTPS does not work"))).toHaveLength(1);
  expect(leader.acme.status.failures).toBe(1);
});

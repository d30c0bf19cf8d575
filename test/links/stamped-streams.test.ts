/**
 * Many clients at once over one link, with bodies and tunnels of which every byte is checked: none may be lost, doubled, or
 * appear in another client's stream.
 */
import { randomInt } from "node:crypto";
import { afterEach, beforeEach, expect, test } from "vitest";
import { MAX_LINK_BODY_BYTES } from "../../balancer/upstreams/link-policy.ts";
import { type Rig, startRig } from "../balancer/rig.ts";
import { createRandom, type Random } from "../fuzz/random.ts";
import {
  type Exchange,
  type Plan,
  StampedClient,
  StampedTraffic,
  type StampedWorker,
  startStampedWorker,
} from "../robustness/stamped-traffic.ts";
import { until } from "../support/until.ts";
import { type AcceptedLinks, acceptLinks, linkTargets } from "./accept-links.ts";

const KIB = 1024;
const CONNECTIONS = 40;
const EXCHANGES_EACH = 5;
/** More than windows, queues and the buffers of the system hold. */
const STALLING_BYTES = 6 * KIB * KIB;

let traffic: StampedTraffic;
let worker: StampedWorker;
let accepted: AcceptedLinks;
let rig: Rig;

beforeEach(async () => {
  traffic = new StampedTraffic("/api/session/");
  worker = await startStampedWorker(traffic, (server) => {
    accepted = acceptLinks(server);
  });
  rig = await startRig({
    workers: [accepted.record(worker.port)],
    limits: { bodyTimeoutMs: 20_000, upstreamTimeoutMs: 20_000, keepaliveTimeoutMs: 20_000 },
    probe: { async ask() {} },
    linkTarget: linkTargets(),
  });
  await until("the link is open", () => accepted.links.links === 1);
});

afterEach(async () => {
  await worker.close();
});

function anyPlan(id: number, random: Random): Plan {
  const kind = random.pick(["request", "request", "tunnel", "tunnel"] as const);
  const isTunnel = kind === "tunnel";
  const isUpload = isTunnel || random.chance(0.5);
  const fate = random.pick([
    "complete",
    "complete",
    "complete",
    "client resets",
    "worker resets",
  ] as const);
  const least = fate === "complete" ? 0 : 2;
  const bytes = (): number => {
    const around = random.pick([1, 8 * KIB, 16 * KIB, 64 * KIB, 128 * KIB]);
    return Math.max(least, random.pick([0, around - 1, around, around + 1, random.below(around)]));
  };
  return {
    kind,
    id,
    bytesUp: isUpload ? bytes() : 0,
    bytesDown: bytes(),
    framing: random.pick(["length", "length", "chunked"] as const),
    fate,
    stops: "none",
  };
}

/** A tunnel whose receiver stops until its sender has stalled. */
function stallingPlan(id: number, isUp: boolean): Plan {
  return {
    kind: "tunnel",
    id,
    bytesUp: isUp ? STALLING_BYTES : 100 * KIB,
    bytesDown: isUp ? 100 * KIB : STALLING_BYTES,
    framing: "length",
    fate: "complete",
    stops: isUp ? "worker" : "client",
  };
}

/** What an exchange should have been and was not; empty if nothing. */
function wrongIn(exchange: Exchange): string[] {
  const { kind, fate, atClient, atWorker, bytesDown, bytesUp, status } = exchange;
  const isCut = fate !== "complete";
  const wrong = [atWorker.checker.fault, atClient.checker.fault].filter((fault) => fault);
  const streams = [
    ["worker", atWorker, bytesUp],
    ["client", atClient, bytesDown],
  ] as const;
  for (const [name, { isComplete, checker }, bytes] of streams) {
    const isWhole = isComplete && checker.received === bytes;
    if (!isCut && !isWhole) wrong.push(`the ${name} got ${checker.received} of ${bytes} bytes`);
    if (isCut && kind === "request" && isComplete && checker.received !== bytes) {
      wrong.push(`the ${name} got an end after ${checker.received} of ${bytes} bytes`);
    }
  }
  if (!isCut && status !== (kind === "tunnel" ? 101 : 200)) wrong.push(`status ${status}`);
  return wrong.map((text) => `${kind} ${exchange.id}, ${fate}: ${text} ${exchange.error ?? ""}`);
}

test("40 clients with random sizes, pauses and resets get only their own bytes over one link, and all of them", async () => {
  const seed = randomInt(2 ** 31);
  const plans = Array.from({ length: CONNECTIONS }, (_unused, connection) =>
    Array.from({ length: EXCHANGES_EACH }, (_none, index) => {
      const number = connection * EXCHANGES_EACH + index;
      const id = 1000 + 2 * number;
      // Those connections have one long transfer first.
      const isStalling = index === 0 && connection % 5 === 0;
      return traffic.add(
        isStalling
          ? stallingPlan(id, connection % 2 === 0)
          : anyPlan(id, createRandom(seed, number)),
        seed,
      );
    }),
  );
  traffic.expect(plans.flat().length);
  const clients = plans.map(() => new StampedClient(traffic, { port: rig.port, isSecure: false }));
  await Promise.all(
    plans.map(async (own, index) => {
      for (const exchange of own) await clients[index]?.run(exchange);
    }),
  );
  for (const client of clients) client.close();

  expect(traffic.faults, `seed ${seed}`).toEqual([]);
  expect(traffic.exchanges.flatMap(wrongIn), `seed ${seed}`).toEqual([]);
  const { counts } = accepted.links;
  const onLink = traffic.exchanges.filter(
    ({ kind, bytesUp, framing }) =>
      kind === "tunnel" ||
      bytesUp === 0 ||
      (framing === "length" && bytesUp <= MAX_LINK_BODY_BYTES),
  );
  const sent = onLink.reduce((sum, { bytesDown }) => sum + bytesDown, 0);
  // The rest was cut.
  expect(counts.bytesOut).toBeGreaterThan(sent / 2);
  expect(counts.stalls).toBeGreaterThan(0);
  expect(counts.resets).toBeGreaterThan(0);
  expect(counts.errors).toBe(0);
  await until("all connections have ended", () => rig.path.listener.connections === 0);
  expect(rig.path.tunnels.size).toBe(0);
  expect(accepted.links.links).toBe(1);
  expect([...rig.bugs, ...accepted.bugs]).toEqual([]);
}, 60_000);

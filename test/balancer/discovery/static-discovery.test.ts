/** The fixed list of workers as a balancer's membership, and how a balancer chooses between list and store. */
import { describe, expect, test } from "vitest";
import { createDiscovery } from "../../../balancer/discovery/discovery.ts";
import { createStaticDiscovery } from "../../../balancer/discovery/static-discovery.ts";
import { systemClock } from "../../../shared/base/clock.ts";
import { newSessionId, type WorkerId } from "../../../shared/base/ids.ts";
import { workerTag } from "../../../shared/base/worker-tag.ts";
import { createCounters } from "../../../shared/metrics/metrics.ts";
import { addressProof } from "../../../shared/net/edge-headers.ts";
import { readSettings } from "../../../shared/settings/read-settings.ts";
import { deriveKeys } from "../../../shared/settings/secret.ts";
import { collectingLog } from "../../support/logs.ts";

const RING_KEY = Buffer.alloc(32, 1);
const SECRET = "a secret of thirty-two characters";

describe("a fixed list", () => {
  test("a fixed list has a worker for each address, with the address as its id, in any order", () => {
    const one = createStaticDiscovery(
      ["10.0.0.2:3001", "10.0.0.1:3001", "[fd00::1]:3001"],
      RING_KEY,
    );
    const two = createStaticDiscovery(
      ["[fd00::1]:3001", "10.0.0.1:3001", "10.0.0.2:3001"],
      RING_KEY,
    );
    expect(one.workers.map(({ id, url }) => [id, url])).toEqual([
      ["10.0.0.1:3001", "http://10.0.0.1:3001"],
      ["10.0.0.2:3001", "http://10.0.0.2:3001"],
      ["[fd00::1]:3001", "http://[fd00::1]:3001"],
    ]);
    expect(two.ring.fingerprint).toBe(one.ring.fingerprint);
    const keys = Array.from({ length: 1000 }, () => newSessionId());
    expect(keys.map((key) => two.ring.first(key))).toEqual(keys.map((key) => one.ring.first(key)));
  });

  test("a fixed list resolves no tags: they are derived from the workers' own names", () => {
    const view = createStaticDiscovery(["10.0.0.1:3001"], RING_KEY);
    const [worker] = view.workers;
    const tag = workerTag(worker?.id ?? ("" as WorkerId), worker?.incarnation ?? ("" as never));
    expect(view.byTag(tag)).toBeUndefined();
  });

  test("a fixed list with a duplicate is refused", () => {
    expect(() => createStaticDiscovery(["10.0.0.1:3001", "10.0.0.1:3001"], RING_KEY)).toThrow(
      "CT_WORKERS names 10.0.0.1:3001 twice; name each worker once",
    );
  });
});

describe("a balancer with a fixed list", () => {
  function open(env: Record<string, string>) {
    const { log, lines } = collectingLog();
    const settings = readSettings({ role: "balancer", env });
    const id = "balancer-x" as WorkerId;
    const discovery = createDiscovery({
      settings,
      id,
      clock: systemClock,
      log,
      counters: createCounters(),
    });
    return { discovery, lines };
  }
  const CT_WORKERS = "10.0.0.1:3001,10.0.0.2:3001";

  test("a fixed list needs no secret, and a warning says what that means", () => {
    const { discovery, lines } = open({ CT_WORKERS });
    const [first] = discovery.view.workers;
    expect(first && discovery.prove(first)).toBeUndefined();
    expect(discovery.storeHealth()).toBeUndefined();
    expect(lines.filter((line) => line.includes("CT_SECRET is not set"))).toHaveLength(1);
  });

  test("workers of a fixed list are proved by address; without a secret the ring differs, but is the same on every balancer", () => {
    const proven = open({ CT_WORKERS, CT_SECRET: SECRET }).discovery;
    const [first] = proven.view.workers;
    expect(first && proven.prove(first)).toBe(
      addressProof(deriveKeys(SECRET).edge, "10.0.0.1:3001"),
    );
    const bare = open({ CT_WORKERS }).discovery;
    const again = open({ CT_WORKERS }).discovery;
    expect(bare.view.ring.fingerprint).toBe(again.view.ring.fingerprint);
    const keys = Array.from({ length: 200 }, () => newSessionId());
    expect(keys.map((key) => bare.view.ring.first(key))).toEqual(
      keys.map((key) => again.view.ring.first(key)),
    );
    expect(keys.map((key) => proven.view.ring.first(key))).not.toEqual(
      keys.map((key) => bare.view.ring.first(key)),
    );
  });

  test("a list and a store together are refused", () => {
    expect(() => open({ CT_WORKERS, CT_REDIS_URL: "redis://:pass@10.0.0.9" })).toThrow(
      "CT_WORKERS and CT_REDIS_URL are both set; a balancer gets its workers from one of them, unset the other",
    );
    expect(() => open({ CT_WORKERS, CT_STORE_SOCKET: "/run/store.sock" })).toThrow(
      "CT_WORKERS and CT_STORE_SOCKET are both set",
    );
  });

  test.each([
    ["nonsense", '"nonsense"'],
    ["10.0.0.1", '"10.0.0.1"'],
    ["10.0.0.1:0", '"10.0.0.1:0"'],
    ["10.0.0.1:65536", '"10.0.0.1:65536"'],
    ["http://10.0.0.1:3001", '"http://10.0.0.1:3001"'],
    ["10.0.0.1:3001,user@10.0.0.2:3001", '"user@10.0.0.2:3001"'],
  ])("the fixed list %s is refused, and the error names the invalid entry", (list, shown) => {
    expect(() => open({ CT_WORKERS: list })).toThrow(
      `CT_WORKERS=${shown} is not allowed; use host:port,host:port`,
    );
  });
});

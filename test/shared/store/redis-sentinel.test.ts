/** The Redis store behind Sentinels: it finds the primary, and the next one when that dies. */
import { describe, expect, it, vi } from "vitest";
import { worker } from "../../contract/store.ts";
import { freePort } from "../../support/ports.ts";
import { openStore, startRedis } from "../../support/redis.ts";
import { watchConnects } from "../../support/sockets.ts";
import { until } from "../../support/until.ts";

/** A primary with a replica, and a Sentinel that watches them and asks for a password of its own. */
async function startTrio() {
  const primary = await startRedis({ port: true, password: "data", lines: ["masterauth data"] });
  const replica = await startRedis({
    port: true,
    password: "data",
    lines: ["masterauth data", `replicaof 127.0.0.1 ${primary.port}`],
  });
  const sentinel = await startRedis({
    sentinel: true,
    port: await freePort(),
    password: "watch",
    lines: [
      `sentinel monitor edge 127.0.0.1 ${primary.port} 1`,
      "sentinel auth-pass edge data",
      "sentinel down-after-milliseconds edge 500",
      "sentinel failover-timeout edge 2000",
    ],
  });
  const admin = sentinel.admin();
  // A fail-over needs a replica that is in step.
  await vi.waitFor(
    async () => {
      const [state] = (await admin.call("SENTINEL", "REPLICAS", "edge")) as string[][];
      expect(state?.join(" ")).toContain("master-link-status ok");
    },
    { timeout: 20_000, interval: 200 },
  );
  return { primary, replica, sentinel };
}

describe("behind Sentinels", () => {
  it("the store behind Sentinels continues on the new primary when the old one dies", async () => {
    const { primary, replica, sentinel } = await startTrio();
    const dead = await freePort();
    const { store, lines } = openStore(
      `redis+sentinel://:data@127.0.0.1:${dead},127.0.0.1:${sentinel.port}/edge?sentinel-password=watch`,
    );
    await store.announce(worker("worker-1"));
    await store.addToCounters({ joins: 1 });
    await vi.waitFor(async () => {
      expect(await replica.admin().hget("{ct}:counters", "joins")).toBe("1");
    });

    await primary.kill();
    await expect.poll(() => store.health.state, { timeout: 15_000, interval: 20 }).toBe("away");
    await expect.poll(() => store.health.state, { timeout: 15_000 }).toBe("up");
    await store.addToCounters({ joins: 1 });
    expect(await store.readCounters("")).toEqual({ joins: 2 });
    expect(await replica.admin().hget("{ct}:counters", "joins")).toBe("2");
    expect(lines.filter((line) => line.includes("store available again"))).toHaveLength(1);
    expect(lines.length).toBeLessThanOrEqual(5);
    expect(lines.join("")).not.toMatch(/data@|watch/);
  });

  it("the store behind Sentinels follows a manual fail-over", async () => {
    const { replica, sentinel } = await startTrio();
    const { store } = openStore(
      `redis+sentinel://:data@127.0.0.1:${sentinel.port}/edge?sentinel-password=watch`,
    );
    await store.announce(worker("worker-1"));
    await sentinel.admin().call("SENTINEL", "FAILOVER", "edge");
    await vi.waitFor(
      async () => {
        await store.addToCounters({ joins: 1 });
        expect(await replica.admin().hget("{ct}:counters", "joins")).not.toBeNull();
        expect(await replica.admin().info("replication")).toContain("role:master");
      },
      { timeout: 20_000, interval: 100 },
    );
  });

  it("the store logs once that no Sentinel responds, requires a password, or does not know the name", async () => {
    const sentinel = await startRedis({
      sentinel: true,
      port: await freePort(),
      password: "watch",
    });
    const dead = await freePort();
    for (const [url, reason] of [
      [`redis+sentinel://127.0.0.1:${dead}/edge`, "ECONNREFUSED"],
      [
        `redis+sentinel://127.0.0.1:${sentinel.port}/edge`,
        "a Sentinel refuses the user or the password",
      ],
      [
        `redis+sentinel://127.0.0.1:${sentinel.port}/edge?sentinel-password=watch`,
        "does not know edge",
      ],
    ] as const) {
      const { store, lines } = openStore(url);
      await expect(store.timeMs()).rejects.toMatchObject({ code: "EDGE_STORE_AWAY" });
      await expect(store.timeMs()).rejects.toMatchObject({ code: "EDGE_STORE_AWAY" });
      const tries = watchConnects();
      await until("it has tried again several times", () => tries.count >= 3);
      const away = lines.filter((line) => line.includes("store unavailable"));
      expect(away.join("")).toContain(reason);
      expect(away).toHaveLength(1);
      await store.close();
    }
  });
});

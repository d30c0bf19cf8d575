/** What a process costs Redis, and what it needs of it. */
import { describe, expect, it } from "vitest";
import { systemClock } from "../../../shared/base/clock.ts";
import { createLease } from "../../../shared/membership/lease.ts";
import { createMembershipView } from "../../../shared/membership/view.ts";
import { worker } from "../../contract/store.ts";
import { createTestLog } from "../../support/embedded-store.ts";
import { documentedUser, openStore, startRedis } from "../../support/redis.ts";

describe("an idle process", () => {
  it("sends at most three commands to Redis a second", async () => {
    const redis = await startRedis();
    const { store } = openStore(redis.url);
    const { log } = createTestLog();
    const clock = systemClock;
    const member = worker("worker-1");
    const lease = createLease({ store, clock, log, describe: () => member, onReplaced: () => {} });
    const view = createMembershipView({ store, clock, log, ringKeyFor: () => Buffer.alloc(32) });
    await lease.start();
    await view.start();

    const asked: string[] = [];
    const monitor = await redis.admin().monitor();
    monitor.on("monitor", (_time: string, args: string[], source: string) => {
      if (source !== "lua") asked.push(args[0] ?? "");
    });
    await new Promise((resolve) => setTimeout(resolve, 4000));
    monitor.disconnect();
    expect(asked.length).toBeGreaterThan(4);
    expect(asked.length).toBeLessThanOrEqual(12);
    expect(new Set(asked)).toEqual(new Set(["evalsha"]));

    view.close();
    await lease.close();
    await store.close();
    await redis.close();
  });
});

describe("the permissions in the documentation", () => {
  it("are for commands of the oldest supported Redis", async () => {
    const redis = await startRedis();
    const commands = [...documentedUser("x").matchAll(/\+([a-z|]+)/g)].map(
      ([, name]) => name ?? "",
    );
    expect(commands.length).toBeGreaterThan(30);
    const docs = (await redis.admin().call("COMMAND", "DOCS", ...commands)) as (
      | string
      | unknown[]
    )[];
    const young: string[] = [];
    for (let i = 0; i < docs.length; i += 2) {
      const fields = docs[i + 1] as string[];
      const since = fields[fields.indexOf("since") + 1] ?? "";
      const [major = 0, minor = 0] = since.split(".").map(Number);
      if (major > 6 || (major === 6 && minor > 2)) young.push(`${String(docs[i])} ${since}`);
    }
    expect(docs.length).toBe(2 * commands.length);
    expect(young).toEqual([]);
    await redis.close();
  });
});

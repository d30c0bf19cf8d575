/** What a process costs Redis, and what it needs of it. */
import { describe, expect, it } from "vitest";
import { systemClock } from "../../../shared/base/clock.ts";
import { publishStatus, type View } from "../../../shared/cluster/status-reports.ts";
import { listenForCommands } from "../../../shared/control/command-listener.ts";
import { createLeaderElection } from "../../../shared/membership/leader-election.ts";
import { createLease } from "../../../shared/membership/lease.ts";
import { createMembershipView } from "../../../shared/membership/view.ts";
import { worker } from "../../contract/store.ts";
import { silentLog } from "../../support/logs.ts";
import { documentedUser, openStore, settle, startRedis } from "../../support/redis.ts";
import { until } from "../../support/until.ts";

describe("an idle process", () => {
  it("an idle process sends Redis nothing but heartbeats", async () => {
    const redis = await startRedis();
    await settle(redis.admin());
    const { store } = openStore(redis.url);
    const log = silentLog();
    const clock = systemClock;
    const member = worker("worker-1");
    const self = member.id;
    const lease = createLease({ store, clock, log, describe: () => member, onReplaced: () => {} });
    const view = createMembershipView({ store, clock, log, ringKeyFor: () => Buffer.alloc(32) });
    await lease.start();
    await view.start();
    // The announcement is no renewal; after the first renewal the others wait for the next one.
    const announcedMs = lease.lastRenewalSentMs;
    await until("a renewal", () => lease.lastRenewalSentMs > announcedMs);
    const leadership = createLeaderElection("reaper", { store, clock, log, holder: self });
    const common = { store, clock, log, self };
    const handleCommand = () => ({ outcome: "done", message: "" }) as const;
    const commands = listenForCommands({ ...common, handleCommand });
    const describeView = (): View => ({ role: "worker", uptimeMs: 1, rssBytes: 1, sessions: [] });
    const reports = publishStatus({ ...common, store: store.deferred, describe: describeView });

    let renewals = 0;
    const others: string[] = [];
    const monitor = await redis.admin().monitor();
    monitor.on("monitor", (_time: string, args: string[], source: string) => {
      if (source === "lua") return;
      if (args.includes("renew") && args.includes(member.id)) renewals++;
      else others.push(args.join(" "));
    });
    await until("six heartbeats", () => renewals >= 6);
    expect(others).toEqual([]);
    expect(leadership.isLeading).toBe(true);
    expect(view.workers).toEqual([member]);

    monitor.disconnect();
    store.stopDeferring();
    reports.close();
    commands.close();
    await leadership.close();
    view.close();
    await lease.close();
    await store.close();
    await redis.close();
  });
});

describe("the permissions in the documentation", () => {
  it("the permissions in the documentation are for commands of the oldest supported Redis", async () => {
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

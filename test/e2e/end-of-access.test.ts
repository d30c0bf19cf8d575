/** People whose access ends at their identity provider are out of every session, on every worker, and are told why. */
import { expect, test } from "vitest";
import type { Client } from "../support/clients.ts";
import { type CommandResult, runCommand } from "../support/command.ts";
import {
  account,
  type IdentityCluster,
  startIdentityCluster,
} from "../support/identity-cluster.ts";
import { TestBrowser } from "../support/identity-provider.ts";
import { everybodyHears } from "../support/people.ts";
import { PROTOCOL_PACKAGES } from "../support/protocols.ts";
import { until } from "../support/until.ts";

const RECHECK_MS = 500;
/** After the check that ends a sign-in. */
const OUT_MS = 5000;
const ADA = account("1", "Ada Lovelace");
const GRACE = account("2", "Grace Hopper");

let { cluster, provider, clientOf } = {} as IdentityCluster;

async function start(env: Readonly<Record<string, string>> = {}): Promise<void> {
  const started = await startIdentityCluster(ADA, {
    CT_OIDC_GROUPS: "staff",
    CT_OIDC_RECHECK_MS: String(RECHECK_MS),
    ...env,
  });
  ({ cluster, provider, clientOf } = started);
}

/** Sessions of a host with the same guest, until both workers have one. */
async function sessionsWith(guestOf: () => Client): Promise<{ host: Client; guest: Client }[]> {
  const sessions: { host: Client; guest: Client }[] = [];
  for (;;) {
    const host = clientOf(ADA);
    const sessionId = await host.host();
    const guest = guestOf();
    await guest.join(sessionId);
    sessions.push({ host, guest });
    const views = await Promise.all(cluster.workers.map((worker) => worker.view()));
    const isAtAll = (views as { sessions: unknown[] }[]).every((view) => view.sessions.length > 0);
    if (isAtAll) return sessions;
  }
}

async function isOut(client: Client, reason: RegExp): Promise<void> {
  await until(`${client.name} is out`, () => client.closedCount === 1, OUT_MS);
  expect(client.notices).toEqual([expect.stringMatching(reason)]);
  expect(await client.provider.validate()).toBe(false);
}

async function refreshed(times: number): Promise<void> {
  const before = provider.refreshed.length;
  await until("the provider is asked again", () => provider.refreshed.length >= before + times);
}

test.each([[PROTOCOL_PACKAGES[0]], [PROTOCOL_PACKAGES[2]]])(
  "a removed account is out of its sessions on all workers, clients of version %s",
  async (protocol) => {
    await start();
    const sessions = await sessionsWith(() => clientOf(GRACE, { protocol }));
    await refreshed(4 * sessions.length);
    provider.accounts.delete("2");
    for (const { host, guest } of sessions) {
      await isOut(guest, /has ended your sign-in/);
      await until("the host hears of it", () => host.left.length === 1);
      expect(host.left[0]).toMatchObject({ name: "Grace Hopper" });
      expect(host.notices).toEqual([]);
      expect(await host.provider.validate()).toBe(true);
    }
  },
);

test("a host whose groups no longer suffice ends its session, also after the store was flushed", async () => {
  await start();
  const host = clientOf(ADA);
  const guest = clientOf(GRACE);
  await guest.join(await host.host());
  await cluster.redis.admin().flushall();
  await refreshed(4);
  provider.accounts.set("1", { ...ADA, groups: ["former staff"] });
  await isOut(host, /not in a group that may use this server/);
  await until("the session has ended", () => guest.closedCount === 1);
  expect(guest.notices).toEqual([]);
  expect(await guest.provider.validate()).toBe(true);
});

test("a person who signs out at the provider is out at once, and only in that browser", async () => {
  await start({ CT_OIDC_RECHECK_MS: "0" });
  const desk = new TestBrowser();
  const host = clientOf(ADA);
  const sessionId = await host.host();
  const atDesk = clientOf(GRACE, { browser: desk });
  const atHome = clientOf(GRACE);
  await atDesk.join(sessionId);
  await atHome.join(sessionId);
  const asked = await desk.open(`${provider.issuer}/session/end`);
  await desk.submit(asked, { name: "logout", value: "yes" });
  await isOut(atDesk, /You have signed out of Company account/);
  expect(await atHome.provider.validate()).toBe(true);
  await everybodyHears(host, [atHome], "still here");

  // And whom an operator signs out, wherever that is.
  const signOut = (): Promise<CommandResult> =>
    runCommand(["sign-out", "2@example.com"], { CT_REDIS_URL: cluster.redisUrl });
  expect((await signOut()).stdout).toMatch(/^sign-out Grace Hopper: 1 sign-in has ended/);
  await isOut(atHome, /An operator of this server has ended your sign-in/);
  expect(await signOut()).toMatchObject({
    status: 1,
    stderr: expect.stringContaining("nobody called 2@example.com is signed in") as string,
  });
});

test("a provider that does not respond ends nothing before its grace is over, and everything after it", async () => {
  const graceMs = 3000;
  await start({ CT_OIDC_GRACE_MS: String(graceMs) });
  const host = clientOf(ADA);
  await host.host();
  await refreshed(1);
  provider.isDown = true;
  const downMs = performance.now();
  await until("the sign-in ends", () => host.closedCount === 1, graceMs + RECHECK_MS + OUT_MS);
  // From the first check that failed, by a clock in whole milliseconds.
  expect(performance.now() - downMs).toBeGreaterThan(graceMs - 10);
  await isOut(host, /could not confirm for too long/);
  const logs = cluster.workers.map((worker) => worker.output()).join("");
  expect(logs).toContain("could not confirm a sign-in, which lasts for CT_OIDC_GRACE_MS more");
});

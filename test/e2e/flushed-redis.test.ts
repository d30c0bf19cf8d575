/**
 * State that must survive a flush of Redis, over two workers: sign-ins, log-outs, pending sign-ins, and pending requests to
 * join.
 */
import { expect, test } from "vitest";
import { startCluster } from "../support/cluster.ts";
import { createApi, isSignedIn } from "../support/counted/api.ts";
import { createGate } from "../support/gate.ts";
import { everybodyHears, person } from "../support/people.ts";
import { until } from "../support/until.ts";

/** Enough requests for both workers to be asked, whichever a balancer picks. */
const ASKED = 20;

test("sign-ins, log-outs and requests to join survive a flush of Redis", async () => {
  const cluster = await startCluster({ workers: 2, balancers: 1 });
  const url = cluster.balancers[0]?.url ?? "";
  const signedIn = await createApi(url).signIn("Ada");
  const loggedOut = await createApi(url).signIn("Bob");
  const logout = await fetch(`${url}/api/logout`, { headers: { "x-oct-jwt": loggedOut } });
  expect(logout.status).toBe(200);
  const cleo = createApi(url);
  const pollToken = await cleo.begin();
  const late = cleo.finish(pollToken);
  late.catch(() => {});
  const host = person({ baseUrl: url, name: "Host" });
  const approval = createGate();
  host.decide = () => approval.opened.then(() => "approve");
  const sessionId = await host.host();
  const guest = person({ baseUrl: url, name: "Guest" });
  const joining = guest.join(sessionId);
  joining.catch(() => {});
  await until("the host is asked", () => host.joinRequests.length === 1);

  const admin = cluster.redis.admin();
  await admin.flushall();
  await until("all are members again", async () => (await admin.zcard("{ct}:members")) === 3);
  await until(
    "the log-out is written again",
    async () => (await admin.exists("{ct}:revoked")) === 1,
  );

  for (let asked = 0; asked < ASKED; asked++) {
    expect(await isSignedIn(url, signedIn)).toBe(true);
    expect(await isSignedIn(url, loggedOut)).toBe(false);
  }
  await until("the form of the sign-in under way is taken", async () => {
    await cleo.submit(pollToken, "Cleo");
    return true;
  });
  expect(await isSignedIn(url, await late)).toBe(true);
  approval.open();
  await joining;
  await everybodyHears(guest, [host], "in, after the flush");
}, 60_000);

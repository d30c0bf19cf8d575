/** The secret is changed process by process while people work: nobody is signed out, and no request fails. */
import { expect, test } from "vitest";
import { CLUSTER_SECRET, type Member, sees } from "../support/cluster.ts";
import { createApi, isSignedIn } from "../support/counted/api.ts";
import { startIdentityCluster } from "../support/identity-cluster.ts";
import { documentsEqual, everybodyHears, openSession, person } from "../support/people.ts";
import { startTraffic } from "../support/steady-traffic.ts";
import { until } from "../support/until.ts";

const NEW_SECRET = "the secret that the cluster has from now on";
const BOTH = { CT_SECRET: NEW_SECRET, CT_SECRET_PREVIOUS: CLUSTER_SECRET };
const ALL_KNOW = "all processes know CT_SECRET";

test("nobody is signed out while the secret is changed in one process after the other", async () => {
  const account = { sub: "1", name: "Ada Lovelace" };
  const env = { CT_OIDC_RECHECK_MS: "500" };
  const edge = await startIdentityCluster(account, env);
  const { front, provider, cluster, balancer } = edge;
  const session = await openSession({ baseUrl: front.url, guestCount: 2 });
  // What the provider gave for asking it again is encrypted with the secret.
  const ada = edge.clientOf(account);
  await ada.join(session.sessionId);
  const ids = session.everybody.map(({ id }) => id);
  const before = await createApi(front.url).signIn("Somebody");
  const traffic = await startTraffic([front.url]);

  for (const worker of [...cluster.workers]) {
    await worker.stop();
    await cluster.addWorker({ env: { CT_WORKER_ID: worker.id, ...BOTH } });
    await until("the balancer sees it", async () => (await healthyAt(balancer)) === 2);
    const late = person({ baseUrl: front.url, name: `Late ${worker.id}` });
    await late.join(session.sessionId);
    await everybodyHears(late, session.everybody, `hello from ${worker.id}`);
    expect(await isSignedIn(front.url, before)).toBe(true);
  }
  const [, , first, second] = cluster.workers as [Member, Member, Member, Member];
  expect(first.output() + second.output()).not.toContain(ALL_KNOW);
  const replacement = await cluster.addBalancer({ env: BOTH });
  await sees(replacement, 2);
  front.leadTo(replacement.port);
  await balancer.stop();
  for (const changed of [first, second, replacement]) {
    await until(`${changed.id} uses the new secret`, () => changed.output().includes(ALL_KNOW));
  }
  expect(await isSignedIn(front.url, before)).toBe(true);
  const after = await createApi(front.url).signIn("Somebody");
  await everybodyHears(session.host, session.guests, "still here");
  session.host.write("the end");
  await documentsEqual(session.everybody, ["the end"]);
  expect(await traffic.stop()).toEqual([]);
  expect(session.everybody.map(({ id }) => id)).toEqual(ids);
  const checks = provider.refreshed.length;
  await until("the provider is asked again", () => provider.refreshed.length > checks + 2);
  expect(ada).toMatchObject({ notices: [], closedCount: 0 });
  expect(await ada.provider.validate()).toBe(true);

  // A process that does not know the previous secret any more.
  const { url } = await cluster.addWorker({ env: { CT_SECRET: NEW_SECRET } });
  expect(await isSignedIn(url, before)).toBe(false);
  expect(await isSignedIn(url, after)).toBe(true);
  await sees(replacement, 3);
  for (const changed of [replacement, first, second]) {
    expect(changed.output()).not.toContain("ignoring a member");
  }
}, 120_000);

async function healthyAt(balancer: Member): Promise<number> {
  const { workers } = (await balancer.view()) as { workers: { status: string }[] };
  return workers.filter(({ status }) => status === "healthy").length;
}

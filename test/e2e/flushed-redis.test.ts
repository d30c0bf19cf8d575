/**
 * State that must survive a flush of Redis, over two workers: sign-ins, log-outs, pending sign-ins, and pending requests to
 * join.
 */
import { expect, onTestFinished, test } from "vitest";
import { type Cluster, sees, startCluster } from "../support/cluster.ts";
import { everybodyHears, person } from "../support/people.ts";
import { until } from "../support/until.ts";

/** Enough requests for both workers to be asked, whichever a balancer picks. */
const ASKED = 20;

test("sign-ins, log-outs and requests to join survive a flush of Redis", async () => {
  const cluster = await twoWorkers();
  const url = cluster.balancers[0]?.url ?? "";
  const signedIn = await signIn(url, "Ada");
  const loggedOut = await signIn(url, "Bob");
  expect((await post(`${url}/api/logout`, { token: loggedOut, method: "GET" })).status).toBe(200);
  const pollToken = await beginSignIn(url);
  const late = pollSignIn(url, pollToken);
  late.catch(() => {});
  const host = person({ baseUrl: url, name: "Host" });
  let approve = (): void => {};
  host.decide = () =>
    new Promise((resolve) => {
      approve = () => resolve("approve");
    });
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
    expect(await isValid(url, signedIn)).toBe(true);
    expect(await isValid(url, loggedOut)).toBe(false);
  }
  await until("the form of the sign-in under way is taken", async () => {
    const body = JSON.stringify({ token: pollToken, user: "Cleo" });
    return (await post(`${url}/api/login/simple`, { body })).status === 200;
  });
  expect(await isValid(url, await late)).toBe(true);
  approve();
  await joining;
  await everybodyHears(guest, [host], "in, after the flush");
}, 60_000);

// --- arrangements ---

async function twoWorkers(): Promise<Cluster> {
  const cluster = await startCluster({ workers: 2, balancers: 1 });
  onTestFinished(() => cluster.dispose());
  for (const balancer of cluster.balancers) await sees(balancer, 2);
  return cluster;
}

async function signIn(url: string, user: string): Promise<string> {
  const token = await beginSignIn(url);
  const body = JSON.stringify({ token, user });
  expect((await post(`${url}/api/login/simple`, { body })).status).toBe(200);
  return pollSignIn(url, token);
}

async function beginSignIn(url: string): Promise<string> {
  const { pollToken } = (await (await post(`${url}/api/login/initial`)).json()) as {
    pollToken: string;
  };
  return pollToken;
}

async function pollSignIn(url: string, pollToken: string): Promise<string> {
  for (;;) {
    const response = await post(`${url}/api/login/poll/${pollToken}`);
    if (response.status === 204) continue;
    expect(response.status).toBe(200);
    return ((await response.json()) as { loginToken: string }).loginToken;
  }
}

async function isValid(url: string, token: string): Promise<boolean> {
  const response = await post(`${url}/api/login/validate`, { token });
  return ((await response.json()) as { valid: boolean }).valid;
}

function post(
  url: string,
  { token, body, method = "POST" }: { token?: string; body?: string; method?: string } = {},
): Promise<Response> {
  return fetch(url, {
    method,
    headers: {
      ...(token !== undefined && { "x-oct-jwt": token }),
      ...(body !== undefined && { "content-type": "application/json" }),
    },
    ...(body !== undefined && { body }),
  });
}

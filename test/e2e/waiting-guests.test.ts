/**
 * Guests who wait for their host while the session's worker is drained and stopped keep waiting at its successor, and join
 * when the host approves.
 */
import { beforeAll, expect, test } from "vitest";
import { type Cluster, sees, startCluster } from "../support/cluster.ts";
import { createGate } from "../support/gate.ts";
import { allOnWebSockets, everybodyHears, person } from "../support/people.ts";
import { PROTOCOL_PACKAGES } from "../support/protocols.ts";
import { until } from "../support/until.ts";

let cluster: Cluster;

beforeAll(async () => {
  cluster = await startCluster({ workers: 1, balancers: 1 });
}, 60_000);

test("guests with every protocol package who wait for approval over a drain get in afterwards", async () => {
  const [first] = cluster.workers;
  const [balancer] = cluster.balancers;
  if (first === undefined || balancer === undefined) throw new Error("the cluster is not whole");
  const waiting = await Promise.all(PROTOCOL_PACKAGES.map((protocol) => ask(protocol)));
  await cluster.addWorker();
  await sees(balancer, 2);
  await allOnWebSockets(waiting.map(({ host }) => host));
  const startMs = performance.now();

  await first.stop();
  expect(first.child.exitCode).toBe(0);
  // They are with the other worker.
  expect(waiting.filter(({ host }) => host.reconnectCount > 0 || !host.isServed)).toEqual([]);

  // A second for each pending poll, and a few for the handover.
  const tookS = (performance.now() - startMs) / 1000;
  for (const { told, failure } of waiting) {
    expect(failure()).toBeUndefined();
    expect(told()).toBeLessThanOrEqual(6 + 2 * tookS);
  }
  for (const { host, guest, approve, enter } of waiting) {
    approve();
    await enter();
    await everybodyHears(guest, [host], "in at last");
  }
}, 90_000);

async function ask(protocol: (typeof PROTOCOL_PACKAGES)[number]) {
  const at = { baseUrl: cluster.balancers[0]?.url ?? "", protocol };
  const host = person({ ...at, name: "Host" });
  const approval = createGate();
  host.decide = () => approval.opened.then(() => "approve");
  const sessionId = await host.host();
  const guest = person({ ...at, name: "Guest" });
  await guest.login();
  let told = 0;
  let failure: unknown;
  const joining = guest.provider.joinRoom({
    roomId: sessionId,
    reporter({ code }) {
      if (code === "WaitingForHost") told++;
    },
  });
  joining.catch((error: unknown) => {
    failure = error;
  });
  await until("the guest is told to wait", () => told > 0);
  await until("the host is asked", () => host.joinRequests.length === 1);
  return {
    host,
    guest,
    told: () => told,
    failure: () => failure,
    approve: approval.open,
    enter: async (): Promise<void> => {
      const { roomToken, host: hostPeer } = await joining;
      await guest.enter(roomToken, hostPeer);
    },
  };
}

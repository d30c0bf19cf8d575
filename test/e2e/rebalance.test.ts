/**
 * `ct-edge rebalance --idle` over real workers: idle sessions move to new workers, others stay.
 */
import { expect, onTestFinished, test } from "vitest";
import { type Member, sees, sessionsOf, startCluster } from "../support/cluster.ts";
import { runCommand } from "../support/command.ts";
import { openLightTeams } from "../support/light-teams.ts";
import { until } from "../support/until.ts";

test("a rebalance moves idle sessions to new workers until they have their share; a busy one stays, and nothing is lost", async () => {
  const cluster = await startCluster({ workers: 1, balancers: 1 });
  const [balancer] = cluster.balancers as [Member];
  const all = await openLightTeams(balancer.url, 8);
  await cluster.addWorker();
  await cluster.addWorker();
  await sees(balancer, 3);
  const [busy] = all.teams;
  const working = setInterval(() => busy?.say("host"), 20);
  onTestFinished(() => clearInterval(working));
  const env = { CT_REDIS_URL: cluster.redisUrl };
  const [first] = cluster.workers as [Member];
  await until("the busy one is busy", () => (busy?.host.spoken.length ?? 0) > 20);

  const refused = await runCommand(["rebalance"], env);
  expect(refused).toMatchObject({ status: 1, stdout: "" });
  expect(refused.stderr).toContain("set --idle");
  expect(await sessionsOf(first)).toHaveLength(8);

  const { status, stdout, stderr } = await runCommand(["rebalance", "--idle", "1", "--json"], env);
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  expect(JSON.parse(stdout)).toMatchObject({
    ratioBefore: 3,
    ratioAfter: 1.13,
    notes: ["worker-1: 5 of 5 sessions are idle"],
  });
  const left = await Promise.all(cluster.workers.map(sessionsOf));
  expect(left.map((ids) => ids.length).toSorted((a, b) => a - b)).toEqual([2, 3, 3]);
  expect(left[0]).toContain(busy?.sessionId);
  expect(busy?.host.peer.disconnects).toEqual([]);

  const moved = left[1]?.[0] ?? "";
  const history = await runCommand(["events", "--session", moved, "--json"], env);
  const events = history.stdout.trimEnd().split("\n");
  expect(events.map((line) => JSON.parse(line) as unknown)).toContainEqual(
    expect.objectContaining({
      kind: "released",
      cause: expect.stringMatching(/^rebalance(, |$)/),
    }),
  );

  clearInterval(working);
  await until("everybody is back", () => all.peers.every(({ peer }) => peer.socket.connected));
  for (const team of all.teams) {
    team.say("host");
    team.say("guest");
  }
  await until("everybody has heard everything, in order, once", () => all.misheard().length === 0);

  // The distribution is good enough now.
  const again = await runCommand(["rebalance", "--idle", "1"], env);
  expect(again.stdout).toContain("fullest by mean: 1.13 before, 1.13 after (good is 1.25)");
}, 60_000);

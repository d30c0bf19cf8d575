/**
 * `ct-edge explain` as a process, over Redis and with two balancers: what it says is what then happens, and what nobody
 * says is not made up.
 */
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import type { BalancerAnswer, ExplainAnswer } from "../../edge/explain/answer.ts";
import type { SessionId } from "../../shared/ids.ts";
import type { Store } from "../../shared/store/store.ts";
import { taggedId, workerTag } from "../../shared/tag.ts";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { runCommand } from "../support/command.ts";
import { openSession } from "../support/people.ts";
import { openStore } from "../support/redis.ts";
import { until } from "../support/until.ts";

let cluster: Cluster;
let store: Store;

beforeAll(async () => {
  cluster = await startCluster({ workers: 2, balancers: 2 });
  store = openStore(cluster.redisUrl).store;
}, 60_000);
afterAll(async () => {
  await store?.close();
  await cluster?.dispose();
});

const run = (...args: string[]) => runCommand([...args, "--redis", cluster.redisUrl]);

async function explain(...args: string[]): Promise<ExplainAnswer> {
  const { stdout, stderr } = await run("explain", "--json", ...args);
  expect(`${stdout}${stderr}`).not.toBe(stderr);
  return JSON.parse(stdout) as ExplainAnswer;
}

function servedBy(balancer: BalancerAnswer): string | null {
  return balancer.outcome === "explained" ? balancer.servedBy : balancer.outcome;
}

test("each balancer says where it sends a request for a session, and it is the owner", async () => {
  const headers = { ctstickiness: "team-a" };
  const at = { baseUrl: cluster.balancers[0]?.url ?? "", headers };
  const { sessionId } = await openSession({ ...at, guestCount: 1 });
  const record = await until("it is recorded with both", async () => {
    const found = await store.findSession(sessionId as SessionId);
    return found?.peers.length === 2 && found;
  });
  for (const [about, rule] of [
    [sessionId, "room"],
    ["team-a", "header"],
  ] as const) {
    const answer = await explain(about);
    expect(answer.session).toMatchObject({ owner: record.owner, ownerState: "lives", peers: 2 });
    expect(answer.balancers).toHaveLength(2);
    for (const balancer of answer.balancers) {
      expect(balancer).toMatchObject({
        outcome: "explained",
        explanation: { rule, worker: record.owner, reason: "record" },
        servedBy: record.owner,
      });
    }
    expect(answer.history).toMatchObject([{ kind: "created", worker: record.owner }]);
  }
  // Its key is nowhere in what the processes have said.
  for (const member of [...cluster.balancers, ...cluster.workers]) {
    expect(member.output()).not.toContain("team-a");
    expect(member.output()).not.toContain(sessionId);
  }
});

test("a sid leads to the worker that issued it", async () => {
  const { members } = await store.members();
  for (const worker of members.filter(({ kind }) => kind === "worker")) {
    const answer = await explain(taggedId(workerTag(worker.id, worker.incarnation)));
    expect(answer).toMatchObject({ as: "sid", taggedBy: worker.id });
    expect(answer.balancers.map(servedBy)).toEqual([worker.id, worker.id]);
  }
});

test("a balancer that hangs is shown as one that did not answer", async () => {
  const [hanging] = cluster.balancers;
  hanging?.child.kill("SIGSTOP");
  onTestFinished(() => void hanging?.child.kill("SIGCONT"));
  const { status, stdout } = await run("explain", "--as", "none");
  expect(stdout).toMatch(/^balancer-\w{8} +\? +\? +no answer within 6 s: /m);
  expect(stdout).toMatch(/^balancer-\w{8} +(worker-\d|one of 2) +.* less loaded of two$/m);
  expect(stdout).toMatch(/^! balancer-\w{8}: what it does with the request is not known\.$/m);
  expect(status).toBe(0);
});

test("what is not there or cannot be is said in one line, with status 1", async () => {
  const cases: [args: string[], message: RegExp][] = [
    [["unknown-key"], /^ct-edge: no session has this key: .*`ct-edge sessions --full` lists/],
    [["zzzz…"], /^ct-edge: no session begins with zzzz; `ct-edge sessions` and /],
    [["short", "--as", "room"], /^ct-edge: short: no session's id; that has 24 letters/],
    [["x", "--as", "magic"], /error: option '--as <way>' argument 'magic' is invalid/],
  ];
  const results = await Promise.all(cases.map(([args]) => run("explain", ...args)));
  for (const [i, { status, stderr }] of results.entries()) {
    expect(stderr).toMatch(cases[i]?.[1] ?? /^$/);
    expect(stderr.trimEnd().split("\n")).toHaveLength(1);
    expect(status).toBe(1);
  }
});

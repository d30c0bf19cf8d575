/**
 * `ct-edge explain` over Redis and with two balancers: its answer is what then happens, and missing answers are shown as
 * missing.
 */
import { beforeAll, expect, onTestFinished, test } from "vitest";
import { answerTo, type BalancerAnswer, type ExplainAnswer } from "../../edge/explain/answer.ts";
import { explainText, problemOf } from "../../edge/explain/format-explanation.ts";
import { askFor, guessWay, type Way } from "../../edge/explain/question.ts";
import type { SessionId } from "../../shared/base/ids.ts";
import { taggedId, workerTag } from "../../shared/base/worker-tag.ts";
import type { Store } from "../../shared/store/store.ts";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { runCommand } from "../support/command.ts";
import { HAS_LINKS } from "../support/link-mode.ts";
import { openSession } from "../support/people.ts";
import { openStore } from "../support/redis.ts";
import { until } from "../support/until.ts";

let cluster: Cluster;
let store: Store;

beforeAll(async () => {
  cluster = await startCluster({ workers: 2, balancers: 2 });
  store = openStore(cluster.redisUrl).store;
}, 120_000);
/** The same as the command, without the start of a process. */
function explain(about: string, as: Way = guessWay(about)): Promise<ExplainAnswer> {
  return answerTo(askFor(about, as), store, false);
}

function servedBy(balancer: BalancerAnswer): string | null {
  return balancer.outcome === "explained" ? balancer.servedBy : balancer.outcome;
}

test("each balancer sends a request for a session to the owner that it explained", async () => {
  const headers = { ctstickiness: "team-a" };
  const at = { baseUrl: cluster.balancers[0]?.url ?? "", headers };
  const { sessionId } = await openSession({ ...at, guestCount: 1 });
  const record = await until("it is recorded with both", async () => {
    const found = await store.findSession(sessionId as SessionId);
    return found?.peers.length === 2 && found;
  });
  for (const [about, rule, connection] of [
    [sessionId, "room", HAS_LINKS ? { over: "link" } : { over: "own", why: "off" }],
    ["team-a", "header", { over: "own", why: "path" }],
  ] as const) {
    const answer = await explain(about);
    expect(answer.session).toMatchObject({ owner: record.owner, ownerState: "lives", peers: 2 });
    expect(answer.balancers).toHaveLength(2);
    for (const balancer of answer.balancers) {
      expect(balancer).toMatchObject({
        outcome: "explained",
        explanation: { rule, worker: record.owner, reason: "record", connection },
        servedBy: record.owner,
      });
    }
    expect(answer.history).toMatchObject([{ kind: "created", worker: record.owner }]);
  }
  // Its key is not in the logs of the processes.
  for (const member of [...cluster.balancers, ...cluster.workers]) {
    expect(member.output()).not.toContain("team-a");
    expect(member.output()).not.toContain(sessionId);
  }
});

test("a sid leads to the worker that issued it", async () => {
  const { members } = await store.members();
  const workers = members.filter(({ kind }) => kind === "worker");
  await Promise.all(
    workers.map(async ({ id, incarnation }) => {
      const answer = await explain(taggedId(workerTag(id, incarnation)));
      expect(answer).toMatchObject({ as: "sid", taggedBy: id });
      expect(answer.balancers.map(servedBy)).toEqual([id, id]);
    }),
  );
});

test("a balancer that hangs is shown as one that did not answer", async () => {
  const [hanging] = cluster.balancers;
  hanging?.child.kill("SIGSTOP");
  onTestFinished(() => void hanging?.child.kill("SIGCONT"));
  const answer = await explain("", "none");
  const text = explainText(answer);
  expect(text).toMatch(/^balancer-\w{8} +\? +\? +no answer within 6 s: /m);
  expect(text).toMatch(/^balancer-\w{8} +(worker-\d|one of 2) +.* less loaded of two; over /m);
  expect(text).toMatch(/^! balancer-\w{8}: did not explain what it does with the request\.$/m);
  expect(problemOf(answer)).toBeUndefined();
});

test("a missing session is reported in one line, with status 1", async () => {
  const args = ["explain", "unknown-key", "--redis", cluster.redisUrl];
  const { status, stdout, stderr } = await runCommand(args);
  expect(stdout).toMatch(/^Session +not in the store$/m);
  expect(stderr).toMatch(
    /^ct-edge: no session has this key: .*; `ct-edge sessions --full` lists sessions\n$/,
  );
  expect(status).toBe(1);
});

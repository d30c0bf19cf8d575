/** Which member lists of workers a balancer accepts while its store is away. */

import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { expect, onTestFinished, test } from "vitest";
import { askWorkersForMembers } from "../../../balancer/discovery/members-from-workers.ts";
import type { WorkerId } from "../../../shared/base/ids.ts";
import { edgeProof, membersProof } from "../../../shared/net/edge-headers.ts";
import { onlyKey } from "../../../shared/settings/keyring.ts";
import type { WorkerRecord } from "../../../shared/store/member.ts";
import { listen } from "../../support/servers.ts";
import { createStepClock } from "../../support/step-clock.ts";
import { until } from "../../support/until.ts";
import { EDGE_KEY, workerRecord } from "../rig.ts";

const SELF = "balancer-1" as WorkerId;

/** A worker that responds as the test says, and the request heads that it received. */
async function startWorker(
  id: string,
  answer: (nonce: string, res: ServerResponse) => void,
): Promise<{ record: WorkerRecord; asked: IncomingMessage[] }> {
  const asked: IncomingMessage[] = [];
  const server = createServer((req, res) => {
    asked.push(req);
    answer(String(req.headers["x-ct-nonce"]), res);
  });
  return { record: workerRecord(id, await listen(server)), asked };
}

function says(workers: readonly unknown[]): (nonce: string, res: ServerResponse) => void {
  return (nonce, res) => {
    const body = Buffer.from(JSON.stringify(workers));
    res.setHeader("x-ct-members", membersProof(EDGE_KEY, nonce, body)).end(body);
  };
}

/** A balancer with these workers; `accepted` has the member lists that it accepted. */
function startAsking(known: readonly WorkerRecord[]) {
  const clock = createStepClock();
  const accepted: { ids: string[]; from: string }[] = [];
  let isAway = true;
  let looks = 0;
  const asking = askWorkersForMembers({
    self: SELF,
    clock,
    edgeKeys: onlyKey(EDGE_KEY),
    isAway() {
      looks++;
      return isAway;
    },
    workers: () => known,
    prove: ({ id, incarnation }) => edgeProof(EDGE_KEY, id, incarnation),
    onMembers: (workers, from) => accepted.push({ ids: workers.map(({ id }) => id), from }),
  });
  onTestFinished(() => asking.close());
  return {
    accepted,
    setAway: (value: boolean): void => {
      isAway = value;
    },
    /** How often it checked whether the store is away. */
    looks: () => looks,
    /** Triggers the next round of requests. */
    next: () => clock.advance(1000),
  };
}

test("the member list of a worker that proves the secret is accepted, and the request proves the balancer", async () => {
  const found = workerRecord("w9", 4009);
  const worker = await startWorker("w1", says([found]));
  const { next, accepted } = startAsking([worker.record]);
  next();
  await until("a response", () => accepted.length === 1);
  expect(accepted).toEqual([{ ids: ["w9"], from: "w1" }]);
  expect(worker.asked[0]?.headers).toMatchObject({
    "x-ct-edge": edgeProof(EDGE_KEY, worker.record.id, worker.record.incarnation),
    "x-ct-balancer": SELF,
  });
});

test("after a worker without a list the next one is asked, and none is asked twice in a second", async () => {
  const away = await startWorker("w1", (_nonce, res) => void res.writeHead(503).end());
  const gone = workerRecord("w2", 1);
  const knows = await startWorker("w3", says([]));
  const { next, accepted } = startAsking([away.record, gone, knows.record]);
  next();
  await until("a response", () => accepted.length === 1);
  expect(accepted[0]?.from).toBe("w3");
  expect([away.asked.length, knows.asked.length]).toEqual([1, 1]);
});

test.each<[string, (nonce: string, res: ServerResponse) => void]>([
  ["has no proof", (_nonce, res) => void res.end("[]")],
  ["has the proof of another nonce", (_nonce, res) => says([])("another", res)],
  [
    "was changed in transit",
    (nonce, res) => {
      res.setHeader("x-ct-members", membersProof(EDGE_KEY, nonce, Buffer.from("[]")));
      res.end("[ ]");
    },
  ],
  [
    "is signed with another secret",
    (nonce, res) => {
      const other = Buffer.alloc(32, 9);
      res.setHeader("x-ct-members", membersProof(other, nonce, Buffer.from("[]"))).end("[]");
    },
  ],
  [
    "is not JSON",
    (nonce, res) => {
      const body = Buffer.from("[");
      res.setHeader("x-ct-members", membersProof(EDGE_KEY, nonce, body)).end(body);
    },
  ],
  [
    "is not a list",
    (nonce, res) => {
      const body = Buffer.from('{"length":1}');
      res.setHeader("x-ct-members", membersProof(EDGE_KEY, nonce, body)).end(body);
    },
  ],
  ["is longer than any list of workers", (_nonce, res) => void res.end(Buffer.alloc(9_000_000))],
  ["is closed early", (_nonce, res) => res.destroy()],
])("a response that %s is ignored, and the next worker is asked", async (_, respond) => {
  const bad = await startWorker("w1", respond);
  const good = await startWorker("w2", says([]));
  const { next, accepted } = startAsking([bad.record, good.record]);
  next();
  await until("a response", () => accepted.length === 1);
  expect([bad.asked.length, accepted[0]?.from]).toEqual([1, "w2"]);
});

test("only well-formed worker records of a list are accepted", async () => {
  const record = workerRecord("w9", 4009);
  const invalid = [null, 1, {}, { ...record, url: "file:///etc" }, { ...record, kind: "balancer" }];
  const worker = await startWorker("w1", says([...invalid, record]));
  const { next, accepted } = startAsking([worker.record]);
  next();
  await until("a response", () => accepted.length === 1);
  expect(accepted[0]?.ids).toEqual(["w9"]);
});

test("no worker is asked while the store is reachable", async () => {
  const worker = await startWorker("w1", says([]));
  const { next, accepted, setAway } = startAsking([worker.record]);
  setAway(false);
  next();
  next();
  setAway(true);
  next();
  await until("a response", () => accepted.length === 1);
  expect(worker.asked).toHaveLength(1);
});

test("a response that arrives after the store is back is ignored", async () => {
  let give = (): void => {};
  const worker = await startWorker("w1", (nonce, res) => {
    give = () => says([])(nonce, res);
  });
  const { next, accepted, setAway, looks } = startAsking([worker.record]);
  next();
  await until("a question", () => worker.asked.length === 1);
  setAway(false);
  const before = looks();
  give();
  await until("the answer was judged", () => looks() > before);
  expect(accepted).toEqual([]);
});

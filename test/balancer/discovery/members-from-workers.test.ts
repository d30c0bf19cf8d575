/** What a balancer that does not reach its store believes of what workers say to its question who is there. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { askWorkersForMembers } from "../../../balancer/discovery/members-from-workers.ts";
import type { WorkerId } from "../../../shared/base/ids.ts";
import { edgeProof, membersProof } from "../../../shared/net/edge-headers.ts";
import type { WorkerRecord } from "../../../shared/store/member.ts";
import { createStepClock } from "../../support/step-clock.ts";
import { until } from "../../support/until.ts";
import { EDGE_KEY, workerRecord } from "../rig.ts";

const SELF = "balancer-1" as WorkerId;

/** A worker that answers a question as the test says; what it was asked, head by head. */
async function startWorker(
  id: string,
  answer: (nonce: string, res: ServerResponse) => void,
): Promise<{ record: WorkerRecord; asked: IncomingMessage[] }> {
  const asked: IncomingMessage[] = [];
  const server = createServer((req, res) => {
    asked.push(req);
    answer(String(req.headers["x-ct-nonce"]), res);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { record: workerRecord(id, (server.address() as AddressInfo).port), asked };
}

function says(workers: readonly unknown[]): (nonce: string, res: ServerResponse) => void {
  return (nonce, res) => {
    const body = Buffer.from(JSON.stringify(workers));
    res.setHeader("x-ct-members", membersProof(EDGE_KEY, nonce, body)).end(body);
  };
}

/** A balancer that knows these workers; `told` has what it believes of the answers. */
function startAsking(known: readonly WorkerRecord[]) {
  const clock = createStepClock();
  const told: { ids: string[]; from: string }[] = [];
  let isAway = true;
  let looks = 0;
  const asking = askWorkersForMembers({
    self: SELF,
    clock,
    edgeKey: EDGE_KEY,
    isAway() {
      looks++;
      return isAway;
    },
    workers: () => known,
    prove: ({ id, incarnation }) => edgeProof(EDGE_KEY, id, incarnation),
    onMembers: (workers, from) => told.push({ ids: workers.map(({ id }) => id), from }),
  });
  onTestFinished(() => asking.close());
  return {
    told,
    setAway: (value: boolean): void => {
      isAway = value;
    },
    /** How often it looked whether the store is away. */
    looks: () => looks,
    /** The next time that it asks. */
    next: () => clock.advance(1000),
  };
}

test("a worker that knows is believed, and the question proves who asks", async () => {
  const found = workerRecord("w9", 4009);
  const worker = await startWorker("w1", says([found]));
  const { next, told } = startAsking([worker.record]);
  next();
  await until("an answer", () => told.length === 1);
  expect(told).toEqual([{ ids: ["w9"], from: "w1" }]);
  expect(worker.asked[0]?.headers).toMatchObject({
    "x-ct-edge": edgeProof(EDGE_KEY, worker.record.id, worker.record.incarnation),
    "x-ct-balancer": SELF,
  });
});

test("a worker that cannot say is followed by the next one, and nobody is asked twice in a second", async () => {
  const away = await startWorker("w1", (_nonce, res) => void res.writeHead(503).end());
  const gone = workerRecord("w2", 1);
  const knows = await startWorker("w3", says([]));
  const { next, told } = startAsking([away.record, gone, knows.record]);
  next();
  await until("an answer", () => told.length === 1);
  expect(told[0]?.from).toBe("w3");
  expect([away.asked.length, knows.asked.length]).toEqual([1, 1]);
});

test.each<[string, (nonce: string, res: ServerResponse) => void]>([
  ["has no proof", (_nonce, res) => void res.end("[]")],
  ["has the proof of another question", (_nonce, res) => says([])("another", res)],
  [
    "was changed on its way",
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
    "is no JSON",
    (nonce, res) => {
      const body = Buffer.from("[");
      res.setHeader("x-ct-members", membersProof(EDGE_KEY, nonce, body)).end(body);
    },
  ],
  [
    "is no list",
    (nonce, res) => {
      const body = Buffer.from('{"length":1}');
      res.setHeader("x-ct-members", membersProof(EDGE_KEY, nonce, body)).end(body);
    },
  ],
  ["is longer than any list of workers", (_nonce, res) => void res.end(Buffer.alloc(9_000_000))],
  ["is broken off", (_nonce, res) => res.destroy()],
])("an answer that %s is none", async (_, answer) => {
  const bad = await startWorker("w1", answer);
  const good = await startWorker("w2", says([]));
  const { next, told } = startAsking([bad.record, good.record]);
  next();
  await until("an answer", () => told.length === 1);
  expect([bad.asked.length, told[0]?.from]).toEqual([1, "w2"]);
});

test("of an answer only well-formed records of workers are believed", async () => {
  const record = workerRecord("w9", 4009);
  const strange = [null, 1, {}, { ...record, url: "file:///etc" }, { ...record, kind: "balancer" }];
  const worker = await startWorker("w1", says([...strange, record]));
  const { next, told } = startAsking([worker.record]);
  next();
  await until("an answer", () => told.length === 1);
  expect(told[0]?.ids).toEqual(["w9"]);
});

test("nobody is asked while the store is reached", async () => {
  const worker = await startWorker("w1", says([]));
  const { next, told, setAway } = startAsking([worker.record]);
  setAway(false);
  next();
  next();
  setAway(true);
  next();
  await until("an answer", () => told.length === 1);
  expect(worker.asked).toHaveLength(1);
});

test("an answer that comes when the store is back is not needed", async () => {
  let give = (): void => {};
  const worker = await startWorker("w1", (nonce, res) => {
    give = () => says([])(nonce, res);
  });
  const { next, told, setAway, looks } = startAsking([worker.record]);
  next();
  await until("a question", () => worker.asked.length === 1);
  setAway(false);
  const before = looks();
  give();
  await until("the answer was judged", () => looks() > before);
  expect(told).toEqual([]);
});

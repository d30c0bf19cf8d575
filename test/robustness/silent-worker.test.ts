import { afterEach, expect, test } from "vitest";
import {
  ok,
  type RawWorker,
  type Rig,
  startRawWorker,
  startRig,
  startSimpleWorker,
  workerRecord,
} from "../balancer/rig.ts";
import { head } from "../conformance/case.ts";

let silent: RawWorker;
let well: RawWorker;
let rig: Rig;
/** Whether the first worker responds to probes. */
let answersProbes = true;

/** Two workers, one of which is silent, and a key that is routed to it. */
async function start(isLeased: boolean): Promise<string> {
  answersProbes = true;
  silent = await startRawWorker();
  well = await startSimpleWorker(() => ok("from the other"));
  rig = await startRig({
    workers: [workerRecord("w1", silent.port), workerRecord("w2", well.port)],
    isLeased,
    probe: {
      async ask({ id }) {
        if (id === "w1" && !answersProbes) throw new DOMException("too late", "TimeoutError");
      },
    },
  });
  let key = 0;
  while (rig.view.ring.first(`key-${key}` as never) !== "w1") key++;
  return `ctstickiness: key-${key}`;
}

afterEach(async () => {
  expect(rig.bugs).toEqual([]);
});

test("a GET that waits for a silent worker is sent to another one", async () => {
  const key = await start(false);
  const client = await rig.send(head("GET /x HTTP/1.1", "Host: h", key));
  await (await silent.connection(0)).head();
  answersProbes = false;
  await client.has("from the other");
  await (await silent.connection(0)).end();
});

test("many waiting GETs are not all sent to another worker at the same moment", async () => {
  const key = await start(false);
  const arrivedMs: number[] = [];
  const clients = await Promise.all(Array.from({ length: 60 }, () => rig.client()));
  for (const client of clients) client.write(head("GET /x HTTP/1.1", "Host: h", key));
  await expect.poll(() => silent.connections.length).toBe(60);
  answersProbes = false;
  await Promise.all(
    clients.map(async (client) => {
      await client.has("from the other");
      arrivedMs.push(performance.now());
    }),
  );
  expect(Math.max(...arrivedMs) - Math.min(...arrivedMs)).toBeGreaterThan(60);
});

test("a POST that waits for a silent worker keeps waiting, and is not sent twice", async () => {
  const key = await start(false);
  const client = await rig.send(head("POST /x HTTP/1.1", "Host: h", key, "Content-Length: 0"));
  const upstream = await silent.withHead(0);
  answersProbes = false;
  await expect.poll(() => rig.path.router.upstreams[0]?.health.state).toBe("unhealthy");
  upstream.write(ok("late"));
  await client.has("late");
  expect(well.connections).toHaveLength(0);
});

test("a GET waits for the owner of its session when workers have leases", async () => {
  const key = await start(true);
  const client = await rig.send(head("GET /x HTTP/1.1", "Host: h", key));
  const upstream = await silent.withHead(0);
  answersProbes = false;
  await expect.poll(() => rig.path.router.upstreams[0]?.health.state).toBe("unhealthy");
  upstream.write(ok("late"));
  await client.has("late");
  expect(well.connections).toHaveLength(0);
});

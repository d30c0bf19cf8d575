/**
 * Probes over real sockets, including one to a stopped worker.
 */

import { expect, test } from "vitest";
import {
  createEdgeProbe,
  PROBE_TIMEOUT_MS,
  ProofRefusedError,
  trafficProbe,
} from "../../../balancer/upstreams/probe.ts";
import { newIncarnation, type WorkerId } from "../../../shared/base/ids.ts";
import { incarnationProof } from "../../../shared/net/edge-headers.ts";
import { onlyKey } from "../../../shared/settings/keyring.ts";
import type { StoreHealth } from "../../../shared/store/store.ts";
import { ok, startRawWorker, startSimpleWorker, workerRecord } from "../rig.ts";

const AWAY: StoreHealth = { state: "away", reason: "no response" };
const EDGE_KEY = Buffer.alloc(32, 1);
const NO_CONTENT = "HTTP/1.1 204 No Content\r\n\r\n";

function probeFrom(health: StoreHealth) {
  return createEdgeProbe({
    id: "balancer-1" as WorkerId,
    storeHealth: () => health,
    edgeKeys: onlyKey(EDGE_KEY),
  });
}

test("a probe goes to the traffic port and names the balancer and the state of its store", async () => {
  const heads: string[] = [];
  const worker = await startSimpleWorker((head) => {
    heads.push(head);
    return NO_CONTENT;
  });
  const record = workerRecord("w1", worker.port);
  await probeFrom({ state: "up" }).ask(record, "the proof");
  await probeFrom(AWAY).ask(record, undefined);
  expect(heads[0]).toMatch(/^GET \/ct-edge\/probe HTTP\/1.1\r\n/);
  expect(heads[0]).toContain("x-ct-edge: the proof\r\n");
  expect(heads[0]).toContain("x-ct-balancer: balancer-1\r\n");
  expect(heads[0]).toContain("x-ct-store: up");
  expect(heads[1]).toContain("x-ct-store: away");
  expect(heads[1]).not.toContain("x-ct-edge");
});

test("a probe of a worker that accepts connections and does not respond fails with a timeout", async () => {
  const worker = await startRawWorker();
  const startedMs = performance.now();
  const probed = probeFrom(AWAY).ask(workerRecord("w1", worker.port), "p");
  await expect(probed).rejects.toMatchObject({ name: "TimeoutError" });
  expect(performance.now() - startedMs).toBeGreaterThan(PROBE_TIMEOUT_MS - 50);
  expect(worker.connections).toHaveLength(1);
});

test.each([
  ["204", NO_CONTENT, true],
  ["404, from a worker without probes", "HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n", true],
  ["500", "HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n", false],
  ["503", "HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n", false],
  ["no HTTP", "hello\r\n\r\n", false],
])(
  "a probe with the response %s succeeds or fails as expected",
  async (_name, response, isSuccess) => {
    const worker = await startSimpleWorker(() => response);
    const probed = probeFrom(AWAY).ask(workerRecord("w1", worker.port), "p");
    if (isSuccess) await probed;
    else await expect(probed).rejects.toThrow();
  },
);

test("a worker that rejects the proof fails the probe with ProofRefusedError", async () => {
  const worker = await startSimpleWorker(() => ok("").replace("200 OK", "421 Wrong"));
  const probed = probeFrom(AWAY).ask(workerRecord("w1", worker.port), "p");
  await expect(probed).rejects.toBeInstanceOf(ProofRefusedError);
});

// With the name of the version before, too.
test.each(["x-ct-incarnation", "x-ct-life"])(
  "a restarted worker proves in %s, present or former, that it is the intended one",
  async (header) => {
    const id = "w1" as WorkerId;
    const current = newIncarnation();
    const other = Buffer.alloc(32, 2);
    const claims = [
      [incarnationProof(EDGE_KEY, { id, incarnation: current }, "p"), current],
      [incarnationProof(EDGE_KEY, { id, incarnation: current }, "another proof"), undefined],
      [incarnationProof(EDGE_KEY, { id: "w2" as WorkerId, incarnation: current }, "p"), undefined],
      [incarnationProof(other, { id, incarnation: current }, "p"), undefined],
      [
        `${newIncarnation()}${incarnationProof(EDGE_KEY, { id, incarnation: current }, "p").slice(16)}`,
        undefined,
      ],
      ["garbage", undefined],
      [".", undefined],
    ] as const;
    const worker = await startSimpleWorker(
      (_head, index) =>
        `HTTP/1.1 421 Wrong\r\n${header}: ${claims[index]?.[0]}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`,
    );
    for (const [, incarnation] of claims) {
      const probed = probeFrom(AWAY).ask(workerRecord(id, worker.port), "p");
      await expect(probed).rejects.toMatchObject({ code: "EDGE_PROOF_REFUSED", incarnation });
    }
  },
);

test("a probe of a worker of a fixed list requests a page, and any status below 500 is a success", async () => {
  const heads: string[] = [];
  const statuses = ["200 OK", "302 Found", "401 Unauthorized", "404 Not Found", "503 Away"];
  const worker = await startSimpleWorker((head, index) => {
    heads.push(head);
    return `HTTP/1.1 ${statuses[index]}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`;
  });
  const record = workerRecord("w1", worker.port);
  for (let i = 0; i < 4; i++) await trafficProbe.ask(record, i === 0 ? "the proof" : undefined);
  await expect(trafficProbe.ask(record, undefined)).rejects.toMatchObject({ code: "EDGE_PROBE" });
  expect(heads[0]).toMatch(/^GET \/api\/meta HTTP\/1.1\r\n/);
  expect(heads[0]).toContain("x-ct-edge: the proof");
  expect(heads.slice(1).join()).not.toContain("x-ct-");
});

test("a worker of a fixed list that rejects the proof fails the probe with ProofRefusedError", async () => {
  const worker = await startSimpleWorker(() => ok("").replace("200 OK", "421 Wrong"));
  const probed = trafficProbe.ask(workerRecord("w1", worker.port), "p");
  await expect(probed).rejects.toBeInstanceOf(ProofRefusedError);
});

/** Proofs of balancers over real sockets: the address that a socket is bound to counts. */

import { createServer, type IncomingMessage } from "node:http";
import { request } from "undici";
import { expect, test } from "vitest";
import type { Incarnation, WorkerId } from "../../../shared/base/ids.ts";
import { addressProof, EDGE_HEADER, edgeProof } from "../../../shared/net/edge-headers.ts";
import { onlyKey } from "../../../shared/settings/keyring.ts";
import { deriveKeys } from "../../../shared/settings/secret.ts";
import { createBalancerAuth } from "../../../worker/balancers/balancer-auth.ts";
import { listen } from "../../support/servers.ts";

const EDGE_KEY = deriveKeys("a secret of thirty-two characters").edge;
const SELF = { id: "worker-1" as WorkerId, incarnation: "i".repeat(16) as Incarnation };
const OTHER = "worker-2" as WorkerId;

/** A worker at `bind` with the record's `url`: how it classifies a request with `proof`, and how it names worker-2. */
async function startWorker(more: { bind?: string; url?: string } = {}) {
  const urls = new Map<WorkerId, string>([[OTHER, "http://10.0.0.2:3001"]]);
  if (more.url !== undefined) urls.set(SELF.id, more.url);
  const balancerAuth = createBalancerAuth({
    edgeKeys: onlyKey(EDGE_KEY),
    self: SELF,
    urlOf: (id) => urls.get(id),
  });
  const server = createServer((req: IncomingMessage, res) => {
    const names = [OTHER, "worker-9" as WorkerId].map((id) => balancerAuth.nameOwner(req, id));
    res.end(JSON.stringify([balancerAuth.judge(req), ...names]));
  });
  const port = await listen(server, 0, more.bind);
  return {
    port,
    async ask(proof: string | string[] | undefined, host = "127.0.0.1") {
      const headers = proof === undefined ? {} : { [EDGE_HEADER]: proof };
      const answer = await request(`http://${host}:${port}`, { headers });
      return (await answer.body.json()) as string[];
    },
  };
}

const byAddress = (address: string): string => addressProof(EDGE_KEY, address);

test("a balancer that knows ids authenticates by id and incarnation, and gets owners by id", async () => {
  const worker = await startWorker();
  const proof = edgeProof(EDGE_KEY, SELF.id, SELF.incarnation);
  expect(await worker.ask(proof)).toEqual(["id", OTHER, "worker-9"]);
});

test("a balancer with a fixed list authenticates by the address that it called, and gets owners by address", async () => {
  const worker = await startWorker();
  const named = ["address", "10.0.0.2:3001", "worker-9"];
  expect(await worker.ask(byAddress(`127.0.0.1:${worker.port}`))).toEqual(named);
  expect(await worker.ask(byAddress(`localhost:${worker.port}`))).toEqual(named);
});

test("a balancer with a fixed list may authenticate by the address in the worker's record when it called another one", async () => {
  const worker = await startWorker({ url: "http://worker-1.example.com:3001" });
  expect((await worker.ask(byAddress("worker-1.example.com:3001")))[0]).toBe("address");
});

test("on a dual-stack socket an IPv4 address is named as IPv4", async () => {
  const worker = await startWorker({ bind: "::" });
  expect((await worker.ask(byAddress(`127.0.0.1:${worker.port}`)))[0]).toBe("address");
  expect((await worker.ask(byAddress(`[::1]:${worker.port}`), "[::1]"))[0]).toBe("address");
});

test("a request for another worker, or for an earlier incarnation of this one, is recognized as misdirected", async () => {
  const worker = await startWorker();
  const otherKey = deriveKeys("another secret of thirty-two chars").edge;
  const others = [
    edgeProof(EDGE_KEY, OTHER, SELF.incarnation),
    edgeProof(EDGE_KEY, SELF.id, "j".repeat(16) as Incarnation),
    edgeProof(otherKey, SELF.id, SELF.incarnation),
    byAddress(`127.0.0.2:${worker.port}`),
    byAddress("127.0.0.1:1"),
    addressProof(otherKey, `127.0.0.1:${worker.port}`),
    "",
    "x".repeat(4000),
  ];
  for (const proof of others) expect((await worker.ask(proof))[0]).toBe("other");
});

test("several proofs count as a misdirected request, and no proof as an unauthenticated one", async () => {
  const worker = await startWorker();
  const proof = edgeProof(EDGE_KEY, SELF.id, SELF.incarnation);
  expect((await worker.ask([proof, proof]))[0]).toBe("other");
  expect((await worker.ask(undefined))[0]).toBe("none");
});

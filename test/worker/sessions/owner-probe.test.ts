/** Probes of real ports: one that responds, refuses, is silent, or is another process's. */
import { createServer as createNetServer } from "node:net";
import { expect, it } from "vitest";
import type { WorkerId } from "../../../shared/base/ids.ts";
import { edgeProof } from "../../../shared/net/edge-headers.ts";
import type { WorkerRecord } from "../../../shared/store/member.ts";
import {
  createOwnerProbe,
  createOwnerProbes,
  OWNER_TIMEOUT_MS,
} from "../../../worker/sessions/owner-probe.ts";
import { worker } from "../../contract/store.ts";
import { freePort } from "../../support/ports.ts";
import { listen, serveHttp } from "../../support/servers.ts";
import { createStepClock } from "../../support/step-clock.ts";

const EDGE_KEY = Buffer.from("a key for tests");

function setUp(record: WorkerRecord | undefined, membersRead?: Promise<void>) {
  const clock = createStepClock();
  let isRead = membersRead === undefined;
  void membersRead?.then(() => {
    isRead = true;
  });
  const owners = createOwnerProbes({
    clock,
    worker: () => (isRead ? record : undefined),
    membersRead: () => (isRead ? undefined : membersRead),
    probe: createOwnerProbe({
      self: "worker-2" as WorkerId,
      edgeKeyFor: () => EDGE_KEY,
      storeHealth: () => ({ state: "up" }),
    }),
  });
  return { clock, owners };
}

it("a worker that is probed by its id and incarnation is seen to answer", async () => {
  const asked: unknown[] = [];
  const url = await serveHttp((req, res) => {
    asked.push([req.url, req.headers["x-ct-edge"], req.headers["x-ct-balancer"]]);
    res.writeHead(204).end();
  });
  const record = { ...worker("worker-1"), url };
  const { owners } = setUp(record);
  expect(await owners.look(record.id)).toEqual({
    seen: "answers",
    incarnation: record.incarnation,
  });
  const proof = edgeProof(EDGE_KEY, record.id, record.incarnation);
  expect(asked).toEqual([["/ct-edge/probe", proof, "worker-2"]]);
});

it("a probe waits for the first read of the members, because a worker that has just started has none", async () => {
  const url = await serveHttp((_req, res) => res.writeHead(204).end());
  let read = (): void => {};
  const { owners } = setUp(
    { ...worker("worker-1"), url },
    new Promise((resolve) => {
      read = resolve;
    }),
  );
  const looked = owners.look("worker-1" as WorkerId);
  read();
  expect(await looked).toMatchObject({ seen: "answers" });
});

it("a probe does not wait for the members longer than its own timeout", async () => {
  const { clock, owners } = setUp(worker("worker-1"), new Promise(() => {}));
  const looked = owners.look("worker-1" as WorkerId);
  clock.advance(OWNER_TIMEOUT_MS);
  expect(await looked).toEqual({ seen: "silent" });
});

it.each([
  ["another process has its address", 421],
  ["it may not act for its sessions", 503],
])("a probe does not take it for an answer that %s", async (_why, status) => {
  const url = await serveHttp((_req, res) => res.writeHead(status).end());
  const { owners } = setUp({ ...worker("worker-1"), url });
  expect((await owners.look("worker-1" as WorkerId)).seen).toBe("silent");
});

it("a port that refuses connections is distinguished from one that is silent", async () => {
  const record = { ...worker("worker-1"), url: `http://127.0.0.1:${await freePort()}` };
  expect(await setUp(record).owners.look(record.id)).toEqual({
    seen: "refuses",
    evidence: "refused",
    incarnation: record.incarnation,
  });
  const silent = await listen(createNetServer((socket) => socket.on("error", () => {})));
  const hung = { ...worker("worker-1"), url: `http://127.0.0.1:${silent}` };
  expect(await setUp(hung).owners.look(hung.id)).toEqual({
    seen: "silent",
    incarnation: hung.incarnation,
  });
});

it("an exit that the supervisor saw counts for that incarnation without a probe", async () => {
  const record = { ...worker("worker-1"), url: "http://127.0.0.1:9" };
  const { owners } = setUp(record);
  owners.noteExit(record.id);
  expect(await owners.look(record.id)).toEqual({
    seen: "refuses",
    evidence: "exited",
    incarnation: record.incarnation,
  });
});

it("an owner that is no member is reported as silent", async () => {
  expect(await setUp(undefined).owners.look("worker-1" as WorkerId)).toEqual({ seen: "silent" });
});

it("concurrent calls share one probe, and a later call probes again", async () => {
  let asked = 0;
  const url = await serveHttp((_req, res) => {
    asked++;
    res.writeHead(204).end();
  });
  const { clock, owners } = setUp({ ...worker("worker-1"), url });
  await Promise.all(Array.from({ length: 50 }, () => owners.look("worker-1" as WorkerId)));
  await owners.look("worker-1" as WorkerId);
  expect(asked).toBe(1);
  clock.advance(250);
  await owners.look("worker-1" as WorkerId);
  expect(asked).toBe(2);
});

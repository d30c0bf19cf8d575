/** Handovers while the store does not respond, and stops while it is asked. */
import { expect, it, vi } from "vitest";
import type { WorkerId } from "../../../shared/base/ids.ts";
import { StoreAwayError } from "../../../shared/store/store.ts";
import { startStore } from "../../support/embedded-store.ts";
import { interceptChange } from "../../support/intercept-change.ts";
import { until } from "../../support/until.ts";
import { isJoinRequest, joinAnswer, requestJoin, startWithHost, startWorker } from "./fixture.ts";

const SUCCESSOR = "worker-2" as WorkerId;

it("a session whose release got no response is not served here until the store names its owner", async () => {
  const store = await startStore();
  const worker = await startWorker({ store });
  const successor = await startWorker({ store, id: SUCCESSOR });
  const { host, sessionId } = await worker.openSession();
  // Applied, but the response is lost.
  interceptChange(worker.store, "release", async (release) => {
    await release();
    throw new StoreAwayError("changeSession");
  });

  const session = worker.registry.live(sessionId);
  expect(await session?.handOver(SUCCESSOR, async () => {}, "drain")).toBe("kept");
  expect(worker.registry.live(sessionId)).toBeUndefined();
  expect(await successor.registry.claim(sessionId)).toMatchObject({ outcome: "here" });
  await until("the first one knows", () => !worker.registry.knows(sessionId));
  expect(successor.registry.live(sessionId)).toBeDefined();
  host.close();
});

it("a release that failed is repeated when the store responds, before any client is admitted", async () => {
  const store = await startStore();
  const worker = await startWorker({ store });
  await startWorker({ store, id: SUCCESSOR });
  const { sessionId } = await worker.openSession();
  interceptChange(worker.store, "release", async () => {
    throw new StoreAwayError("changeSession");
  });
  const session = worker.registry.live(sessionId);
  expect(await session?.handOver(SUCCESSOR, async () => {}, "drain")).toBe("kept");
  expect(await worker.registry.claim(sessionId)).toEqual({
    outcome: "elsewhere",
    owner: SUCCESSOR,
    epoch: session?.epoch,
  });
});

it("while the store is away no client is migrated, and nothing is released when it is back", async () => {
  const { worker, host, sessionId } = await startWithHost();
  await worker.storeFixture.stop();
  await until("the worker notices", () => worker.store.health.state === "away");
  const session = worker.registry.live(sessionId);
  const deliver = vi.fn(async () => {});
  expect(await session?.handOver(SUCCESSOR, deliver, "drain")).toBe("kept");
  expect(deliver).not.toHaveBeenCalled();
  expect(session?.connections).toBe(1);
  expect(host.connects).toBe(1);
  await worker.storeFixture.start();
  await until("the worker notices", () => worker.store.health.state === "up");
  await session?.settled();
  expect((await worker.store.findSession(sessionId))?.state).toBe("open");
});

it("a host's answer to a join request survives a handover, even as its last message", async () => {
  const store = await startStore();
  const worker = await startWorker({ store });
  const successor = await startWorker({ store, id: SUCCESSOR });
  const { host, sessionId } = await worker.openSession();
  const pollToken = await requestJoin(worker.registry, sessionId);
  const request = await until("the host is asked", () => host.received.find(isJoinRequest));
  let isCounting = (): void => {};
  const counting = new Promise<void>((resolve) => {
    isCounting = resolve;
  });
  let goOn = (): void => {};
  const slow = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  interceptChange(worker.store, "next-clock", async (count) => {
    isCounting();
    await slow;
    return count();
  });
  host.decide(request, true);
  await counting;
  const handed = worker.registry.live(sessionId)?.handOver(SUCCESSOR, async () => {}, "drain");
  await until("the host was asked to go", () => host.disconnects.length > 0);
  setImmediate(goOn);
  expect(await handed).toBe("handed");
  expect((await successor.registry.claim(sessionId)).outcome).toBe("here");
  expect(await joinAnswer(successor.store, pollToken)).toMatchObject({ accepted: true });
});

it("a worker that stops while it confirms a session does not close the session in the store", async () => {
  const { worker, sessionId } = await startWithHost();
  const session = worker.registry.live(sessionId);
  await session?.settled();
  const timeMs = worker.store.timeMs.bind(worker.store);
  let respond = (): void => {};
  const responded = new Promise<void>((resolve) => {
    respond = resolve;
  });
  vi.spyOn(worker.store, "timeMs").mockImplementationOnce(async () => {
    await responded;
    return timeMs();
  });

  const confirmed = session?.confirm();
  session?.lose();
  respond();
  expect(await confirmed).toBe("lost");
  expect(await worker.store.findSession(sessionId)).toMatchObject({ state: "open" });
});

/** Small parts of a session, each alone: relay ids, pending requests, the rate limit, the write queue. */

import { describe, expect, it } from "vitest";
import type { PeerId, SessionId, WorkerId } from "../../../shared/base/ids.ts";
import { onlyKey } from "../../../shared/settings/keyring.ts";
import { type Holder, StoreAwayError } from "../../../shared/store/store.ts";
import {
  createPendingRequests,
  type WaitingRequest,
} from "../../../worker/sessions/peers/pending-requests.ts";
import { createRateLimit } from "../../../worker/sessions/transport/rate-limit.ts";
import { createRelayIds } from "../../../worker/sessions/wire/relay-id.ts";
import { createWriteQueue } from "../../../worker/sessions/write-queue.ts";
import { createStepClock } from "../../support/step-clock.ts";

const KEYS = onlyKey(Buffer.alloc(32, 1));
const SESSION = "abcdefghijklmnopqrstuvwx" as SessionId;
const [A, B, C] = ["peer-a", "peer-b", "peer-c"] as [PeerId, PeerId, PeerId];

describe("the id of a relayed request", () => {
  const request = { requester: A, id: Buffer.from([0xcd, 1, 2]), epoch: 1_900_000_000_000 };

  it("a relayed request's id contains where its response goes, for any worker with the key", () => {
    const id = createRelayIds(KEYS, SESSION).forRequest(request, B);
    expect(createRelayIds(KEYS, SESSION).readRequest(id, B)).toEqual(request);
  });

  it("a relayed request's id is valid only unchanged, in its session, and from the peer that got the request", () => {
    const ids = createRelayIds(KEYS, SESSION);
    const id = ids.forRequest(request, B);
    expect(ids.readRequest(id, C)).toBeUndefined();
    expect(createRelayIds(KEYS, "other" as SessionId).readRequest(id, B)).toBeUndefined();
    expect(
      createRelayIds(onlyKey(Buffer.alloc(32, 2)), SESSION).readRequest(id, B),
    ).toBeUndefined();
    expect(ids.readRequest(id.replace(A, C), B)).toBeUndefined();
    expect(ids.readJoin(id, B)).toBeUndefined();
    for (const garbage of ["", ".", "r", "r.....", `${id}x`, id.slice(1)]) {
      expect(ids.readRequest(garbage, B)).toBeUndefined();
    }
  });

  it("a join request's id is the same each time the host is asked", () => {
    const ids = createRelayIds(KEYS, SESSION);
    expect(ids.forJoin("token", A)).toBe(ids.forJoin("token", A));
    expect(ids.readJoin(ids.forJoin("token", A), A)).toBe("token");
    expect(ids.readRequest(ids.forJoin("token", A), A)).toBeUndefined();
  });
});

describe("pending requests", () => {
  function setUp() {
    const clock = createStepClock();
    const failed: WaitingRequest[] = [];
    const requests = createPendingRequests({ clock, fail: (request) => failed.push(request) });
    const add = (name: string, requester = A, responder = B) =>
      requests.add(name, { requester, responder, id: Buffer.from(name) });
    return { clock, failed, requests, add, ids: () => failed.map(({ id }) => id.toString()) };
  }

  it("pending requests fail after 30 s, each at its own time", () => {
    const { clock, add, ids } = setUp();
    add("first");
    clock.advance(10_000);
    add("second");
    clock.advance(19_999);
    expect(ids()).toEqual([]);
    clock.advance(1);
    expect(ids()).toEqual(["first"]);
    clock.advance(10_000);
    expect(ids()).toEqual(["first", "second"]);
  });

  it("a pending request gets one response", () => {
    const { clock, add, requests, ids } = setUp();
    add("one");
    expect(requests.take("one")).toBe(true);
    expect(requests.take("one")).toBe(false);
    clock.advance(60_000);
    expect(ids()).toEqual([]);
  });

  it("pending requests fail at once when their responder leaves, and are dropped when their requester leaves", () => {
    const { add, requests, ids } = setUp();
    add("of a to b", A, B);
    add("of b to a", B, A);
    add("of c to b", C, B);
    requests.forget(B);
    expect(ids()).toEqual(["of a to b", "of c to b"]);
    expect(requests.take("of b to a")).toBe(false);
  });

  it("pending requests are bounded for each requester", () => {
    const { add, requests } = setUp();
    const added = Array.from({ length: 4097 }, (_, n) => add(`request ${n}`));
    expect(added.filter(Boolean)).toHaveLength(4096);
    expect(add("of another", C)).toBe(true);
    requests.take("request 0");
    expect(add("room again")).toBe(true);
  });
});

describe("the rate limit", () => {
  it("the rate limit allows a burst of two seconds, then asks for pauses that keep the average", () => {
    const clock = createStepClock();
    const rateLimit = createRateLimit({ clock, perSecond: 100 });
    const pauses = Array.from({ length: 210 }, () => rateLimit.spend());
    expect(pauses.slice(0, 200).every((pause) => pause === 0)).toBe(true);
    expect(pauses.slice(200)).toEqual([10, 20, 30, 40, 50, 60, 70, 80, 90, 100]);
    clock.advance(100);
    expect(rateLimit.waitMs()).toBe(0);
    expect(rateLimit.spend()).toBe(10);
  });

  it("the rate limit never asks for a pause of more than five seconds", () => {
    const rateLimit = createRateLimit({ clock: createStepClock(), perSecond: 10 });
    const pauses = Array.from({ length: 1000 }, () => rateLimit.spend());
    expect(pauses.at(-1)).toBe(5000);
  });
});

describe("the write queue", () => {
  const holder: Holder = { sessionId: SESSION, owner: "worker-1" as WorkerId, epoch: 1 };

  function setUp() {
    const clock = createStepClock();
    const events: string[] = [];
    const writeQueue = createWriteQueue({
      clock,
      holder: () => holder,
      before: async () => {},
      confirm: async () => "lost",
      onLost: () => events.push("lost"),
      onFailure: () => events.push("failure"),
    });
    let away = false;
    return {
      clock,
      events,
      writeQueue,
      setAway: (value: boolean) => {
        away = value;
      },
      write: (name: string, result: "done" | "lost" = "done") =>
        writeQueue.write(async () => {
          if (away) throw new StoreAwayError(name);
          events.push(name);
          return result;
        }),
    };
  }

  it("the write queue writes in order, one after the other", async () => {
    const { writeQueue, events } = setUp();
    const slow = writeQueue.write(async () => {
      await new Promise((resolve) => setImmediate(resolve));
      events.push("slow");
      return "done";
    });
    const fast = writeQueue.write(async () => {
      events.push("fast");
      return "done";
    });
    expect(await Promise.all([slow, fast])).toEqual(["done", "done"]);
    expect(events).toEqual(["slow", "fast"]);
  });

  it("the write queue keeps what cannot be written, delays no caller, and writes it later in order", async () => {
    const { clock, writeQueue, events, setAway, write } = setUp();
    setAway(true);
    expect(await write("first")).toBe("later");
    expect(await write("second")).toBe("later");
    expect(writeQueue.pending).toBe(2);
    clock.advance(1000);
    await writeQueue.settled();
    expect(events).toEqual([]);
    setAway(false);
    clock.advance(1000);
    await writeQueue.settled();
    expect(events).toEqual(["first", "second"]);
    expect(writeQueue.pending).toBe(0);
  });

  it("the write queue stops when the session is lost", async () => {
    const { writeQueue, events, write } = setUp();
    const results = Promise.all([write("one", "lost"), write("two")]);
    expect(await results).toEqual(["lost", "lost"]);
    expect(events).toEqual(["one", "lost"]);
    expect(await write("three")).toBe("lost");
    expect(writeQueue.pending).toBe(0);
  });

  it("the write queue skips a write that can never succeed", async () => {
    const { writeQueue, events, write } = setUp();
    const bad = writeQueue.write(() => Promise.reject(new Error("a bug")));
    expect(await Promise.all([bad, write("next")])).toEqual(["done", "done"]);
    expect(events).toEqual(["failure", "next"]);
  });
});

import { expect, test } from "vitest";
import { newSessionId, type SessionId, type WorkerId } from "../../../shared/base/ids.ts";
import { createRing } from "../../../shared/membership/ring.ts";
import type { WorkerRecord } from "../../../shared/store/member.ts";
import { StoreAwayError } from "../../../shared/store/store.ts";
import { takeOverFrom } from "../../../worker/session-moves/take-over.ts";
import type { Claim } from "../../../worker/sessions/registry.ts";
import { silentLog } from "../../support/logs.ts";

const workers = ["w1", "w2", "w3"] as WorkerId[];
const ring = createRing(
  workers.map((id) => ({ id, weight: 1 })),
  Buffer.alloc(32, 7),
);
const sessions = Array.from({ length: 60 }, () => newSessionId());

function viewOf(states: Partial<Record<string, WorkerRecord["state"]>>) {
  return {
    ring,
    worker(id: WorkerId) {
      const state = states[id];
      return state === undefined ? undefined : ({ id, state } as WorkerRecord);
    },
  };
}

/** The sessions that `self` takes over when w1 has exited. */
async function takenBy(
  self: string,
  states: Partial<Record<string, WorkerRecord["state"]>>,
): Promise<SessionId[]> {
  const claimed: SessionId[] = [];
  await takeOverFrom("w1" as WorkerId, {
    self: self as WorkerId,
    store: { sessionsOf: (owner) => Promise.resolve(owner === "w1" ? sessions : []) },
    registry: {
      claim(id) {
        claimed.push(id);
        return Promise.resolve({ outcome: "undecided" } satisfies Claim);
      },
    },
    view: viewOf(states),
    log: silentLog(),
  });
  return claimed.sort();
}

const ALL_UP = { w1: "up", w2: "up", w3: "up" } as const;

test("the sessions of a worker whose process has ended are divided among the others, each taken by its next candidate", async () => {
  const [second, third] = [await takenBy("w2", ALL_UP), await takenBy("w3", ALL_UP)];
  expect([...second, ...third].sort()).toEqual([...sessions].sort());
  for (const id of second) {
    expect(ring.candidates(id).filter((worker) => worker !== "w1")[0]).toBe("w2");
  }
});

test("a worker that accepts no new sessions takes none over, and the others take over its share", async () => {
  const states = { ...ALL_UP, w3: "draining" } as const;
  expect(await takenBy("w3", states)).toEqual([]);
  expect(await takenBy("w2", states)).toEqual([...sessions].sort());
});

test("a failover while the store is away takes nothing over and resolves", async () => {
  const away = takeOverFrom("w1" as WorkerId, {
    self: "w2" as WorkerId,
    store: { sessionsOf: () => Promise.reject(new StoreAwayError("sessionsOf")) },
    registry: { claim: () => Promise.reject(new Error("nothing is asked for")) },
    view: viewOf(ALL_UP),
    log: silentLog(),
  });
  await expect(away).resolves.toBeUndefined();
});

/** Sessions are counted once each, by the worker that has them when they end, with all that happened on other workers. */
import { expect, onTestFinished, test } from "vitest";
import type { PeerId, SessionId, WorkerId } from "../../../shared/base/ids.ts";
import { createStoreState } from "../../../shared/store/embedded/state/state.ts";
import {
  type PeerRecord,
  type SessionRecord,
  StoreAwayError,
  type StoredEvent,
} from "../../../shared/store/store.ts";
import { STREAM_START } from "../../../shared/store/streams.ts";
import { createSessionUsage } from "../../../worker/usage/session-usage.ts";
import { silentLog } from "../../support/logs.ts";
import { createStepClock } from "../../support/step-clock.ts";

const ID = "s".repeat(24) as SessionId;

function record(more: Partial<SessionRecord> = {}): SessionRecord {
  return {
    id: ID,
    owner: "worker-1" as WorkerId,
    incarnation: "a" as never,
    epoch: 1,
    state: "created",
    userId: "ada",
    clock: 0,
    peers: [],
    revokedTokens: [],
    createdMs: 0,
    ...more,
  };
}

function peer(name: string, client = "OCT_CODE_Visual_Studio_Code@0.3.8"): PeerRecord {
  return {
    ...{ id: name as PeerId, host: name === "host", user: { id: name, name } },
    ...{ publicKey: "", client, compression: [], tokenId: "", settled: true },
  };
}

function counter(events: readonly Pick<StoredEvent, "kind" | "epoch">[] = []) {
  const time = { nowMs: 0, wallMs: 0 };
  const { operations } = createStoreState(time);
  const clock = createStepClock();
  const requests = { isAway: false, writes: 0, reads: 0 };
  const usage = createSessionUsage({
    store: {
      async addToCounters(increments) {
        requests.writes++;
        if (requests.isAway) throw new StoreAwayError("addToCounters");
        operations.addToCounters(time, increments);
      },
      async readStream(_stream, { after }) {
        // It reads page by page, up to an empty one.
        if (after !== STREAM_START) return [];
        requests.reads++;
        if (requests.isAway) throw new StoreAwayError("readStream");
        return events.map((event, place) => {
          const text = { cause: "", sessionId: ID, worker: "worker-1" as WorkerId, ...event };
          return { id: `${place}`, atMs: 0, text: JSON.stringify(text) };
        });
      },
    },
    recentPeople: { add() {} },
    clock,
    log: silentLog(),
  });
  onTestFinished(() => usage.close());
  return {
    usage,
    clock,
    requests,
    counts: async () => {
      await usage.close();
      return operations.readCounters(time, "usage/");
    },
  };
}

test("a session counts by the IDE of its host, its guests by theirs, and at its end with its size and length", async () => {
  const { usage, clock, requests, counts } = counter();
  const session = usage.session(record({ createdMs: clock.wallMs() }));
  session.joined(peer("host"), 1);
  session.joined(peer("Ben", "Eclipse Theia"), 2);
  session.joined(peer("Cleo", "PyCharm"), 3);
  session.joined(peer("Dan", "PyCharm"), 2);
  clock.advance(20 * 60_000);
  expect(session.closed("done")).toBe("done");
  expect(await counts()).toEqual({
    "usage/hosted/vscode": 1,
    "usage/joined/theia": 1,
    "usage/joined/intellij": 2,
    "usage/ended": 1,
    "usage/people": 3,
    "usage/seconds": 1200,
    "usage/size/3": 1,
    "usage/minutes/15-30": 1,
  });
  expect(requests.reads).toBe(0);
});

test("a session that another worker has by now, and one whose host never came, do not count as ended", async () => {
  const { usage, counts } = counter();
  const lost = usage.session(record());
  lost.joined(peer("host"), 1);
  expect(lost.closed("lost")).toBe("lost");
  usage.session(record()).closed("done");
  expect(await counts()).toEqual({ "usage/hosted/vscode": 1 });
});

test("of a session that was taken over, the history tells how many people it had before", async () => {
  const joined = { kind: "joined", epoch: 1 } as const;
  const left = { kind: "left", epoch: 1 } as const;
  const after = { kind: "joined", epoch: 2 } as const;
  // The first of them are no longer in the history: it begins with four people.
  const { usage, requests, counts } = counter([left, joined, joined, left, left, left, after]);
  for (let session = 0; session < 3; session++) {
    const peers = [peer("host"), peer("Ben")];
    const taken = usage.session(record({ state: "open", epoch: 2, peers }));
    taken.joined(peer("Cleo"), 3);
    taken.closed("done");
  }
  const all = await counts();
  expect(all).toMatchObject({ "usage/ended": 3, "usage/people": 15, "usage/size/5": 3 });
  expect(all).not.toHaveProperty("usage/hosted/vscode");
  expect(requests.reads).toBe(1);
});

test("counts are written together, and wait for a store that is away", async () => {
  const { usage, clock, requests, counts } = counter();
  requests.isAway = true;
  const sessions = Array.from({ length: 50 }, () => usage.session(record()));
  for (const session of sessions) session.joined(peer("host"), 1);
  expect(requests.writes).toBe(0);
  clock.advance(1000);
  expect(requests.writes).toBe(1);
  await Promise.resolve();
  requests.isAway = false;
  const taken = usage.session(record({ state: "open", epoch: 2, peers: [peer("host")] }));
  taken.closed("done");
  expect(await counts()).toMatchObject({ "usage/hosted/vscode": 50, "usage/size/1": 1 });
});

test("a clock that was set back makes no session shorter than nothing", async () => {
  const { usage, clock, counts } = counter();
  const session = usage.session(record({ createdMs: clock.wallMs() + 60_000 }));
  session.joined(peer("host"), 1);
  session.closed("done");
  expect(await counts()).toMatchObject({ "usage/seconds": 0, "usage/minutes/0-5": 1 });
});

/** Checkpoints in a real store: what it keeps, and what is repeated before it is dropped. */
import { describe, expect, onTestFinished, test } from "vitest";
import {
  parseCheckpoint,
  readCheckpoints,
  writeCheckpoint,
} from "../../../shared/audit/checkpoint.ts";
import { systemClock } from "../../../shared/base/clock.ts";
import { StoreAwayError } from "../../../shared/store/store.ts";
import { createCheckpoints, textsToRepeat } from "../../../worker/audit/checkpoints.ts";
import { keysOf } from "../../support/audit.ts";
import { collectingLog, silentLog } from "../../support/logs.ts";
import { openStore, startRedis } from "../../support/redis.ts";

const AT_MS = Date.UTC(2030, 0, 1);

function checkpoint(chain: string, seq: number, atMs = AT_MS) {
  return { chain, worker: "worker-1", seq, mac: `mac-${seq}`, atMs };
}

function stored(...all: ReturnType<typeof checkpoint>[]) {
  return all.map((one) => ({
    text: writeCheckpoint(one, keysOf().signing),
    checkpoint: one,
  }));
}

test("the last checkpoint of each chain is read from the store, and none that somebody else has made", async () => {
  const redis = await startRedis();
  const { store } = openStore(redis.url);
  onTestFinished(() => store.close());
  const log = silentLog();
  const deps = { store, worker: "worker-1", days: 90, clock: systemClock, log };
  const checkpoints = createCheckpoints({ ...deps, keys: keysOf() });
  const others = createCheckpoints({
    ...deps,
    keys: keysOf("the secret of quite another edge, not ours"),
  });
  onTestFinished(() => {
    checkpoints.close();
    others.close();
  });
  expect(await checkpoints.write(checkpoint("a", 3))).toBe(true);
  await checkpoints.write(checkpoint("b", 1));
  await checkpoints.write(checkpoint("a", 7));
  await others.write(checkpoint("a", 9));
  await store.appendToStream("audit-checkpoints", ["garbage", '{"chain":"a"}']);
  expect(await readCheckpoints(store, keysOf())).toEqual([checkpoint("a", 7), checkpoint("b", 1)]);
});

test("a changed checkpoint is not accepted", () => {
  const text = writeCheckpoint(checkpoint("a", 3), keysOf().signing);
  expect(parseCheckpoint(text, keysOf())).toEqual(checkpoint("a", 3));
  expect(parseCheckpoint(text.replace('"seq":3', '"seq":2'), keysOf())).toBeUndefined();
});

test("a store that is away or slow keeps nobody waiting for long", async () => {
  const { log, lines } = collectingLog();
  const deps = { worker: "worker-1", keys: keysOf(), days: 90, clock: systemClock, log };
  const away = async () => {
    throw new StoreAwayError("appendToStream");
  };
  const never = () => new Promise<never>(() => {});
  for (const appendToStream of [away, never]) {
    const checkpoints = createCheckpoints({
      ...deps,
      store: { appendToStream, readStream: never },
    });
    expect(await checkpoints.write(checkpoint("a", 3))).toBe(false);
    checkpoints.close();
  }
  expect(lines).toEqual([]);
});

describe("repeated before the store drops it", () => {
  test("the newest checkpoint of a chain in the older half is repeated when the store is more than half full", () => {
    const ended = stored(checkpoint("ended", 4));
    const busy = Array.from({ length: 9 }, (_, index) =>
      stored(checkpoint("busy", index + 1)),
    ).flat();
    const all = [...ended, ...busy];
    expect(textsToRepeat(all, 0, 10)).toEqual([ended[0]?.text]);
    expect(textsToRepeat(all, 0, 100)).toEqual([]);
    expect(textsToRepeat([...all.slice(1), ...ended], 0, 10)).toEqual([]);
  });

  test("no checkpoint is repeated of lines that retention has deleted, or that cannot be read", () => {
    const old = stored(checkpoint("old", 4, AT_MS - 1));
    const strange = { text: "garbage", checkpoint: undefined };
    const busy = Array.from({ length: 9 }, (_, index) =>
      stored(checkpoint("busy", index + 1)),
    ).flat();
    expect(textsToRepeat([...old, strange, ...busy], AT_MS, 10)).toEqual([]);
  });
});

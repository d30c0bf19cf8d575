import { readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import {
  createSnapshotFile,
  decodeSnapshot,
  encodeSnapshot,
  MAX_KEPT_OWNERS,
  type SavedOwner,
  type Snapshot,
  startSnapshotKeeper,
} from "../../../balancer/discovery/snapshot.ts";
import type { SessionKey, WorkerId } from "../../../shared/base/ids.ts";
import { collectingLog } from "../../support/logs.ts";
import { createStepClock } from "../../support/step-clock.ts";
import { tempFolder } from "../../support/temp-folder.ts";
import { workerRecord } from "../rig.ts";

const A = workerRecord("a", 3001);
const B = workerRecord("b", 3002, { state: "draining" });

function owner(key: string, worker: string, epoch: number): SavedOwner {
  return [key as SessionKey, { worker: worker as WorkerId, epoch }];
}

function encode(snapshot: Snapshot): string {
  return [...encodeSnapshot(snapshot)].join("");
}

describe("the text of a snapshot", () => {
  test("a snapshot is decoded as it was encoded, whatever bytes the keys have", () => {
    const key = fc.string({ minLength: 1, maxLength: 256, unit: "binary" });
    const owners = fc.array(fc.tuple(key, fc.constantFrom("a", "b"), fc.nat()));
    fc.assert(
      fc.property(owners, (list) => {
        const snapshot = { workers: [A, B], owners: list.map((one) => owner(...one)) };
        expect(decodeSnapshot(encode(snapshot))).toEqual(snapshot);
      }),
    );
  });

  test("a snapshot with the maximum of owners can be decoded, and is encoded in small chunks", () => {
    const owners = Array.from({ length: MAX_KEPT_OWNERS }, (_, i) => owner(`key-${i}`, "a", i));
    const pieces = [...encodeSnapshot({ workers: [A], owners })];
    expect(pieces.length).toBeGreaterThan(MAX_KEPT_OWNERS / 1001);
    const read = decodeSnapshot(pieces.join(""));
    expect([...(read?.owners ?? [])]).toHaveLength(MAX_KEPT_OWNERS);
  });

  test("a snapshot leaves out very long keys", () => {
    const owners = [owner("x".repeat(257), "a", 1), owner("short", "a", 2)];
    expect(decodeSnapshot(encode({ workers: [A], owners }))?.owners).toEqual([
      owner("short", "a", 2),
    ]);
  });

  test("a snapshot that is incomplete or was changed is not decoded", () => {
    const text = encode({ workers: [A, B], owners: [owner("k", "a", 1)] });
    expect(decodeSnapshot(text)).toBeDefined();
    for (let end = 0; end < text.length; end++) {
      expect(decodeSnapshot(text.slice(0, end))).toBeUndefined();
    }
    for (const broken of [
      "",
      "\n",
      "{}",
      text + text,
      text.replace('"format":1', '"format":2'),
      text.replace("http://", "ftp://"),
      text.replace('"kind":"worker"', '"kind":"balancer"'),
      text.replace('["k","a",1]', '["k","a",-1]'),
      text.replace('["k","a",1]', '["","a",1]'),
      text.replace('["k","a",1]', '["k","not a name",1]'),
      text.replace('["k","a",1]', '["k","a"]'),
      text.replace('"owners":1', '"owners":0'),
    ]) {
      expect(decodeSnapshot(broken)).toBeUndefined();
    }
  });

  test("decoding arbitrary bytes never throws", () => {
    fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => void decodeSnapshot(text)));
  });
});

describe("the file", () => {
  let dataDir: string;

  beforeEach(() => {
    dataDir = tempFolder();
  });

  function open(storeName = "redis://one", folder = dataDir) {
    const { log, lines } = collectingLog();
    return { file: createSnapshotFile({ dataDir: folder, storeName, log }), lines };
  }

  test("the snapshot file is replaced atomically, only its owner can read it, and no temporary file is left", async () => {
    const { file, lines } = open();
    expect(await file.read()).toBeUndefined();
    await file.write({ workers: [A], owners: [] });
    await file.write({ workers: [A, B], owners: [owner("k", "b", 5)] });
    expect(await open().file.read()).toEqual({ workers: [A, B], owners: [owner("k", "b", 5)] });
    const [name, ...others] = readdirSync(dataDir);
    expect(others).toEqual([]);
    expect(statSync(join(dataDir, name ?? "")).mode & 0o777).toBe(0o600);
    expect(lines).toEqual([]);
  });

  test("the snapshot file of one edge is not read by another edge with the same data directory", async () => {
    await open().file.write({ workers: [A], owners: [] });
    expect(await open("redis://other").file.read()).toBeUndefined();
  });

  test("a snapshot file that is damaged or far too large is ignored with one log line", async () => {
    await open().file.write({ workers: [A], owners: [] });
    const path = join(dataDir, readdirSync(dataDir)[0] ?? "");
    const text = readFileSync(path, "utf8");
    for (const damage of [
      () => writeFileSync(path, text.slice(0, -10)),
      () => writeFileSync(path, Buffer.from([0xff, 0, 0xfe])),
      () => truncateSync(path, 64 * 1024 * 1024),
    ]) {
      damage();
      const { file, lines } = open();
      expect(await file.read()).toBeUndefined();
      expect(lines).toHaveLength(1);
      expect(lines[0]).toContain("damaged");
    }
  });

  test("a snapshot file that cannot be written is logged once, and once more after a success", async () => {
    writeFileSync(join(dataDir, "file"), "");
    const { file, lines } = open("x", join(dataDir, "file", "below"));
    await file.write({ workers: [A], owners: [] });
    await file.write({ workers: [A], owners: [] });
    expect(lines).toHaveLength(1);
    rmSync(join(dataDir, "file"));
    await file.write({ workers: [A], owners: [] });
    expect((await file.read())?.workers).toEqual([A]);
  });
});

describe("keeping it up to date", () => {
  function keep() {
    const clock = createStepClock();
    const written: Snapshot[] = [];
    const seen = { workers: [A], owners: [] as SavedOwner[], revision: 0 };
    const keeper = startSnapshotKeeper({
      clock,
      file: {
        async write(snapshot) {
          written.push(snapshot);
        },
      },
      source: {
        workers: () => seen.workers,
        owners: () => seen.owners,
        ownersRevision: () => seen.revision,
      },
    });
    const pass = async (ms: number): Promise<void> => {
      for (let left = ms; left > 0; left -= 1000) {
        clock.advance(1000);
        await new Promise((resolve) => setImmediate(resolve));
      }
    };
    return { written, seen, keeper, pass };
  }

  test("a change of the workers is written within a second, a change of their load is not", async () => {
    const { written, seen, pass } = keep();
    await pass(3000);
    expect(written).toHaveLength(1);
    seen.workers = [{ ...A, load: { sessions: 9, connections: 9, lagMs: 9 } }];
    await pass(3000);
    expect(written).toHaveLength(1);
    seen.workers = [A, B];
    await pass(1000);
    expect(written).toHaveLength(2);
  });

  test("changed owners are written every ten seconds, and at the end", async () => {
    const { written, seen, keeper, pass } = keep();
    await pass(1000);
    for (let i = 0; i < 20; i++) {
      seen.revision++;
      await pass(1000);
    }
    expect(written).toHaveLength(3);
    await keeper.close();
    expect(written).toHaveLength(3);
    const again = keep();
    await again.pass(1000);
    again.seen.revision++;
    await again.keeper.close();
    expect(again.written).toHaveLength(2);
  });

  test("no snapshot is written without workers: the last one is better", async () => {
    const { written, seen, keeper, pass } = keep();
    seen.workers = [];
    await pass(3000);
    await keeper.close();
    expect(written).toEqual([]);
  });
});

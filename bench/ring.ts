/**
 * How evenly does the hash ring distribute sessions, and what does a lookup cost? Compared with rendezvous hashing over the
 * same workers with the same keyed hash.
 */
import { newSessionId, type SessionKey, type WorkerId } from "../shared/base/ids.ts";
import { createRing } from "../shared/membership/ring.ts";
import { deriveKeys, sign } from "../shared/settings/secret.ts";
import { type Result, writeResults } from "./support/results.ts";
import { spread } from "./support/rounds.ts";
import { size } from "./support/sizes.ts";
import { type Summary, summarize } from "./support/statistics.ts";

const KEYS = size("RING_KEYS", { long: 100_000, short: 20_000 });
const ROUNDS = size("BENCH_ROUNDS", { long: 5, short: 3 });

export async function run(): Promise<void> {
  const ringKey = deriveKeys("a secret for the benchmark of the ring").ring;
  const keys = Array.from({ length: KEYS }, () => newSessionId());
  const results: Result[] = [];
  process.stdout.write("workers  max/mean  rendezvous  µs/lookup (min–max)   rendezvous\n");
  for (const count of [2, 3, 10, 50]) {
    const ids = Array.from({ length: count }, (_, i) => `worker-${i}` as WorkerId);
    const ring = createRing(
      ids.map((id) => ({ id, weight: 1 })),
      ringKey,
    );
    const ours = measure(keys, count, (key) => ring.first(key) ?? "");
    const peer = measure(keys, count, (key) => rendezvous(ids, ringKey, key));
    process.stdout.write(
      `${String(count).padEnd(9)}${ours.spread.toFixed(3).padEnd(10)}${peer.spread.toFixed(3).padEnd(12)}` +
        spread(ours.us, 1).padEnd(22) +
        `${peer.us.median.toFixed(1)}\n`,
    );
    results.push(
      {
        question: `${count} workers, busiest to mean`,
        unit: "keys of the busiest worker / mean",
        figures: { ours: summarize([ours.spread]), rendezvous: summarize([peer.spread]) },
      },
      {
        question: `${count} workers, a lookup`,
        unit: "µs",
        figures: { ours: ours.us, rendezvous: peer.us },
      },
    );
  }
  writeResults("ring", results);
}

interface Measured {
  /** Keys of the busiest worker divided by the mean. */
  readonly spread: number;
  /** For each lookup. */
  readonly us: Summary;
}

function measure(
  keys: readonly SessionKey[],
  workers: number,
  pick: (key: SessionKey) => string,
): Measured {
  const counts = new Map<string, number>();
  const rounds: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    counts.clear();
    const start = performance.now();
    for (const key of keys) {
      const id = pick(key);
      counts.set(id, (counts.get(id) ?? 0) + 1);
    }
    rounds.push(((performance.now() - start) * 1000) / keys.length);
  }
  return {
    spread: Math.max(...counts.values()) / (keys.length / workers),
    us: summarize(rounds),
  };
}

function rendezvous(ids: readonly WorkerId[], ringKey: Buffer, key: SessionKey): WorkerId | "" {
  let best: WorkerId | "" = "";
  let highest = "";
  for (const id of ids) {
    const score = sign(ringKey, `${id}\n${key}`);
    if (score <= highest) continue;
    highest = score;
    best = id;
  }
  return best;
}

/**
 * How evenly does the hash ring distribute sessions, and what does a lookup cost? Compared with rendezvous hashing over the
 * same workers with the same keyed hash.
 */
import { newSessionId, type SessionKey, type WorkerId } from "../shared/base/ids.ts";
import { createRing } from "../shared/membership/ring.ts";
import { deriveKeys, sign } from "../shared/settings/secret.ts";

const KEYS = 100_000;
const ROUNDS = 5;

export async function run(): Promise<void> {
  const ringKey = deriveKeys("a secret for the benchmark of the ring").ring;
  const keys = Array.from({ length: KEYS }, () => newSessionId());
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
        `${ours.medianUs.toFixed(1)} (${ours.minUs.toFixed(1)}–${ours.maxUs.toFixed(1)})`.padEnd(
          22,
        ) +
        `${peer.medianUs.toFixed(1)}\n`,
    );
  }
}

interface Measured {
  /** Keys of the busiest worker divided by the mean. */
  readonly spread: number;
  readonly medianUs: number;
  readonly minUs: number;
  readonly maxUs: number;
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
  rounds.sort((a, b) => a - b);
  return {
    spread: Math.max(...counts.values()) / (keys.length / workers),
    medianUs: rounds[Math.floor(ROUNDS / 2)] ?? 0,
    minUs: rounds[0] ?? 0,
    maxUs: rounds[ROUNDS - 1] ?? 0,
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

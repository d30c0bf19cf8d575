/** What sessions take in Redis: memory, and CPU to open them. */
import { newPeerId, newSessionId, randomAlphanumerics } from "../../../shared/base/ids.ts";
import type { WorkerRecord } from "../../../shared/store/member.ts";
import type { Store } from "../../../shared/store/store.ts";
import { openStore, settle, startRedis } from "../../../test/support/redis.ts";
import type { Result } from "../results.ts";
import { printResults, resultsOf } from "../rounds.ts";
import { workerRecord } from "../routing.ts";
import { readInfo } from "./redis-usage.ts";

/** Sessions that are opened at the same time. */
const AT_ONCE = 200;
/** As long as one of clients: RSA with 4,096 bits, as Base64. */
const PUBLIC_KEY = "A".repeat(736);
/** Memory that sessions of a host and two guests take in Redis, and the CPU to open them. */
export async function measureStoredSessions(sessions: number): Promise<Result[]> {
  const redis = await startRedis();
  await settle(redis.admin());
  const { store } = openStore(redis.url);
  const admin = redis.admin();
  const owner = workerRecord("worker-0");
  await store.announce(owner);
  const before = await readInfo(admin);
  let left = sessions;
  async function openNext(): Promise<void> {
    while (left-- > 0) await openSession(store, owner, `user-${left}`);
  }
  await Promise.all(Array.from({ length: AT_ONCE }, openNext));
  const after = await readInfo(admin);
  await store.close();
  await redis.close();
  const figures = {
    "bytes of Redis's memory for a session of three people":
      (after.memoryBytes - before.memoryBytes) / sessions,
    "µs of Redis's CPU to open it": (after.cpuUs - before.cpuUs) / sessions,
  };
  const question = `${sessions.toLocaleString("en")} sessions in Redis`;
  const results = resultsOf(question, new Map([["ours", [figures]]]), "ours");
  printResults(question, results);
  return results;
}

async function openSession(store: Store, owner: WorkerRecord, user: string): Promise<void> {
  const created = await store.createSession({
    sessionId: newSessionId(),
    owner: owner.id,
    incarnation: owner.incarnation,
    userId: user,
    maxPerUser: 1,
  });
  if (created.outcome !== "created") throw new Error(`no session was created: ${created.outcome}`);
  const { id: sessionId, epoch } = created.record;
  const holder = { sessionId, owner: owner.id, epoch };
  for (let seat = 0; seat < 3; seat++) {
    await store.changeSession(holder, {
      kind: "put-peer",
      peer: {
        id: newPeerId(),
        host: seat === 0,
        user: {
          id: randomAlphanumerics(24),
          name: `${user}-${seat}`,
          email: `${user}@example.com`,
          authProvider: "Simple",
        },
        publicKey: PUBLIC_KEY,
        client: "open-collaboration-tools@1.0.0",
        compression: ["gzip"],
        tokenId: randomAlphanumerics(16),
        settled: true,
      },
    });
  }
}

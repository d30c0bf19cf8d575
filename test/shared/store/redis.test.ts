/** The Redis store fulfils the contract, as a user with no more rights than its documentation lists. */
import { randomBytes } from "node:crypto";
import { beforeAll, expect } from "vitest";
import type { Store } from "../../../shared/store/store.ts";
import { describeStore } from "../../contract/store.ts";
import {
  age,
  documentedUser,
  openStore,
  settle,
  startRedis,
  type TestRedis,
} from "../../support/redis.ts";

let redis: TestRedis;
let admin: ReturnType<TestRedis["admin"]>;

beforeAll(async () => {
  redis = await startRedis({ acl: ["user default on nopass ~* &* +@all", documentedUser("pass")] });
  admin = redis.admin();
});

async function listenersOf(prefix: string): Promise<unknown> {
  const [, count] = await admin.pubsub("NUMSUB", `${prefix}changes`);
  return count;
}

describeStore("Redis", async () => {
  const prefix = `{ct}:${randomBytes(6).toString("hex")}:`;
  await settle(admin, prefix);
  const clients: Store[] = [];
  return {
    mayForget: true,
    async store() {
      const { store } = openStore(redis.urlFor("ct", "pass"), { prefix });
      clients.push(store);
      await store.timeMs();
      await expect.poll(() => listenersOf(prefix)).toBe(clients.length);
      return store;
    },
    advance: (ms) => age(admin, ms, prefix),
    async close() {
      await Promise.all(clients.map((client) => client.close()));
    },
  };
});

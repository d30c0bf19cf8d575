/** How long a command waits for a store, measured inside its process, without the time to start one. */
import { createServer } from "node:net";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { type StoreLocation, withStore } from "../../edge/commands/with-store.ts";
import { watchMachine } from "../support/machine.ts";
import { freePort } from "../support/ports.ts";
import { startRedis } from "../support/redis.ts";
import { listen } from "../support/servers.ts";
import { tempFolder } from "../support/temp-folder.ts";

const machine = watchMachine();

/** The documented limit; most of it is the time for the store's first response. */
const END = { promisedMs: 3000, waitsMs: 2000 };

function at(redisUrl: string): StoreLocation {
  return { redisUrl, redisCa: undefined, redisPrefix: "{ct}:", dataDir: "/nowhere" };
}

/** Rejects with `message`, in time. */
async function visitInVain(storeLocation: StoreLocation, message: string | RegExp): Promise<void> {
  const startedMs = performance.now();
  await expect(withStore(storeLocation, ({ store }) => store.members())).rejects.toThrow(message);
  expect(performance.now() - startedMs).toBeLessThan(machine.limitMs(startedMs, END));
}

test("a command gives up a Redis that hangs within 3 s", async () => {
  const redis = await startRedis({ port: true });
  redis.pause();
  onTestFinished(() => redis.resume());
  await visitInVain(at(`redis://127.0.0.1:${redis.port}`), /Redis at 127.0.0.1:\d+: no answer /);
});

test("a command gives up a server that accepts connections and never responds within 3 s", async () => {
  await visitInVain(at(`redis://127.0.0.1:${await listen(createServer())}`), /no answer /);
});

test("a command gives up a Redis that refuses connections or ends during the command at once", async () => {
  await visitInVain(at(`redis://127.0.0.1:${await freePort()}`), "the connection was refused");

  const redis = await startRedis({ port: true });
  const startedMs = performance.now();
  const gone = withStore(at(`redis://127.0.0.1:${redis.port}`), async ({ store }) => {
    redis.pause();
    await store.members();
  });
  await expect(gone).rejects.toThrow("the store cannot be reached");
  expect(performance.now() - startedMs).toBeLessThan(machine.limitMs(startedMs, END));
  redis.resume();
});

test("a data directory without a running edge is reported as such", async () => {
  const folder = tempFolder();
  const nowhere = { ...at(""), redisUrl: undefined, dataDir: join(folder, "missing") };
  await visitInVain(nowhere, "no running edge of this user");
});

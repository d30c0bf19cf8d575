/** How long a command waits for a store, measured inside its process: what starting one takes is not its doing. */
import { createServer, type Socket } from "node:net";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { type StoreLocation, withStore } from "../../edge/commands/with-store.ts";
import { makeFolder } from "../support/embedded-store.ts";
import { watchMachine } from "../support/machine.ts";
import { freePort } from "../support/ports.ts";
import { startRedis } from "../support/redis.ts";

const machine = watchMachine();

/** What an operator is promised; most of it is the time that a store has for its first answer. */
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

test("a Redis that hangs is given up within 3 s", async () => {
  const redis = await startRedis({ port: true });
  onTestFinished(() => redis.close());
  redis.pause();
  onTestFinished(() => redis.resume());
  await visitInVain(at(`redis://127.0.0.1:${redis.port}`), /Redis at 127.0.0.1:\d+: no answer /);
});

test("so is a server that takes connections and never says a word", async () => {
  const sockets: Socket[] = [];
  const server = createServer((socket) => sockets.push(socket));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address = server.address();
  const port = typeof address === "object" ? address?.port : 0;
  await visitInVain(at(`redis://127.0.0.1:${port}`), /no answer /);
});

test("one that refuses connections is given up at once, and one that goes in the middle as well", async () => {
  await visitInVain(at(`redis://127.0.0.1:${await freePort()}`), "the connection was refused");

  const redis = await startRedis({ port: true });
  onTestFinished(() => redis.close());
  const startedMs = performance.now();
  const gone = withStore(at(`redis://127.0.0.1:${redis.port}`), async ({ store }) => {
    redis.pause();
    await store.members();
  });
  await expect(gone).rejects.toThrow("the store cannot be reached");
  expect(performance.now() - startedMs).toBeLessThan(machine.limitMs(startedMs, END));
  redis.resume();
});

test("a data directory in which no edge runs is said to be none", async () => {
  const folder = makeFolder();
  onTestFinished(() => folder.remove());
  const nowhere = { ...at(""), redisUrl: undefined, dataDir: join(folder.path, "missing") };
  await visitInVain(nowhere, "no running edge of this user");
});

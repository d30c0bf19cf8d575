/** Real embedded stores, each with its own folder and socket, closed at the end. */
import { connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { type Clock, systemClock } from "../../shared/base/clock.ts";
import type { Log } from "../../shared/logs/log.ts";
import { connectEmbeddedStore } from "../../shared/store/embedded/client.ts";
import { type StoreServer, startStoreServer } from "../../shared/store/embedded/server.ts";
import type { Store } from "../../shared/store/store.ts";
import { atEnd, closeAtEnd } from "./at-end.ts";
import { silentLog } from "./logs.ts";
import { removeFolder, tempFolder } from "./temp-folder.ts";

/** A machine with other load may take longer than a store that hangs in production. */
const PATIENT = { responseTimeoutMs: 20_000 };

/** `dataDir`: default a new one. */
export async function startServer(
  options: Partial<Parameters<typeof startStoreServer>[0]> = {},
): Promise<StoreServer> {
  const { dataDir = tempFolder(), clock = systemClock, log = silentLog() } = options;
  return closeAtEnd(await startStoreServer({ ...options, dataDir, clock, log }));
}

/** A client that has received its first response. */
export async function connectStore(
  socketPath: string,
  log: Log = silentLog(),
  clock: Clock = systemClock,
): Promise<Store> {
  const store = closeAtEnd(connectEmbeddedStore({ socketPath, clock, log, ...PATIENT }));
  await store.timeMs();
  return store;
}

/** A new one with a client. */
export async function openEmbeddedStore(
  options: Parameters<typeof startServer>[0] = {},
): Promise<Store> {
  const { socketPath } = await startServer(options);
  return connectStore(socketPath);
}

export interface StoreFixture {
  /** Another client of the same store. */
  connect(): Store;
  /** Stops the store; `start` brings it back with the data of its journal. */
  stop(): Promise<void>;
  start(): Promise<void>;
  /** Stops it, deletes its data, and starts it. */
  wipe(): Promise<void>;
}

/** A real embedded store, stopped when the test ends. */
export async function startStore(clock: Clock = systemClock): Promise<StoreFixture> {
  const folder = tempFolder();
  const dataDir = join(folder, "data");
  const log = silentLog();
  let server = await startStoreServer({ dataDir, clock, log });
  // Each start of the store listens on another socket; its clients get one path that stays.
  const socketPath = join(folder, "store.sock");
  const door = createServer((client) => pipeBoth(client, connect(server.socketPath)));
  await new Promise<void>((resolve) => door.listen(socketPath, resolve));
  const stores: Store[] = [];
  atEnd(async () => {
    for (const store of stores) await store.close();
    door.close();
    await server.close();
  });
  return {
    connect() {
      const store = connectEmbeddedStore({ socketPath, clock, log, ...PATIENT });
      stores.push(store);
      return store;
    },
    stop: () => server.close(),
    async start() {
      server = await startStoreServer({ dataDir, clock, log });
    },
    async wipe() {
      await server.close();
      removeFolder(dataDir);
      server = await startStoreServer({ dataDir, clock, log });
    },
  };
}

function pipeBoth(a: Socket, b: Socket): void {
  for (const [from, to] of [
    [a, b],
    [b, a],
  ] as const) {
    from.on("error", () => to.destroy());
    from.on("close", () => to.destroy());
    from.pipe(to);
  }
}

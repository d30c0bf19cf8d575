/** Real embedded stores, each with its own folder and socket, closed at the end. */
import { type Clock, systemClock } from "../../shared/base/clock.ts";
import type { Log } from "../../shared/logs/log.ts";
import { connectEmbeddedStore } from "../../shared/store/embedded/client.ts";
import { type StoreServer, startStoreServer } from "../../shared/store/embedded/server.ts";
import type { Store } from "../../shared/store/store.ts";
import { closeAtEnd } from "./at-end.ts";
import { silentLog } from "./logs.ts";
import { tempFolder } from "./temp-folder.ts";

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
  const store = closeAtEnd(connectEmbeddedStore({ socketPath, clock, log }));
  await store.timeMs();
  return store;
}

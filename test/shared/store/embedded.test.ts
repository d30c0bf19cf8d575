/** The embedded store fulfils the contract. */
import { startStoreServer } from "../../../shared/store/embedded/server.ts";
import { SETTLING_MS, type Store } from "../../../shared/store/store.ts";
import { describeStore } from "../../contract/store.ts";
import { connectStore, createTestLog, makeFolder } from "../../support/embedded-store.ts";
import { createStepClock } from "../../support/step-clock.ts";

describeStore("embedded", async () => {
  const folder = makeFolder();
  const clock = createStepClock();
  const { log } = createTestLog();
  const server = await startStoreServer({ dataDir: folder.path, clock, log });
  const clients: Store[] = [];
  // For this long it believes nobody to be gone.
  clock.advance(SETTLING_MS);
  return {
    mayForget: false,
    async store() {
      const client = await connectStore(server.socketPath);
      clients.push(client);
      return client;
    },
    async advance(ms) {
      clock.advance(ms);
    },
    async close() {
      await Promise.all(clients.map((client) => client.close()));
      await server.close();
      folder.remove();
    },
  };
});

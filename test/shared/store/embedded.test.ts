/** The embedded store fulfils the contract. */
import { SETTLING_MS, type Store } from "../../../shared/store/store.ts";
import { describeStore } from "../../contract/store.ts";
import { connectStore, startServer } from "../../support/embedded-store.ts";
import { silentLog } from "../../support/logs.ts";
import { createStepClock } from "../../support/step-clock.ts";
import { tempFolder } from "../../support/temp-folder.ts";

describeStore("embedded", async () => {
  const folder = tempFolder();
  const clock = createStepClock();
  const log = silentLog();
  const server = await startServer({ dataDir: folder, clock, log });
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
    },
  };
});

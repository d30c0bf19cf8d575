/** Sign-ins in a real embedded store. */
import { expect, onTestFinished, test } from "vitest";
import { systemClock } from "../../../shared/base/clock.ts";
import {
  emailKey,
  findSignIns,
  nameKey,
  type SignIn,
  toStored,
  userKey,
} from "../../../shared/sign-ins/sign-in.ts";
import { startStoreServer } from "../../../shared/store/embedded/server.ts";
import { connectStore, createTestLog, makeFolder } from "../../support/embedded-store.ts";

test.each([
  ["", "", ""],
  ["u".repeat(100_000), "n".repeat(100_000), `${"e".repeat(1000)}@example.com`],
  ["u1\n", "\u001b[2J\u202e\0", "ADA@example.com"],
])("a sign-in is found by its id, name or address, whatever those are", async (id, name, email) => {
  const folder = makeFolder();
  onTestFinished(folder.remove);
  const { log } = createTestLog();
  const server = await startStoreServer({ dataDir: folder.path, clock: systemClock, log });
  onTestFinished(() => server.close());
  const store = await connectStore(server.socketPath);
  onTestFinished(() => store.close());
  const signIn: SignIn = {
    ...{ id: "sign-in-1", revision: 1, provider: "oidc", issuer: "https://id.example.com" },
    ...{ subject: "1", user: { id, name, email }, begunMs: 1, untilMs: 2 },
  };
  await store.putSignIn({ ...toStored(signIn), ttlMs: 60_000 });
  for (const key of [userKey(id), nameKey(name), emailKey(email.toLowerCase())]) {
    expect(await findSignIns(store, [key])).toEqual([signIn]);
  }
});

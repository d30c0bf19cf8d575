/** Sign-ins in a real embedded store. */
import { expect, test } from "vitest";
import {
  emailKey,
  findSignIns,
  nameKey,
  type SignIn,
  toStored,
  userKey,
} from "../../../shared/sign-ins/sign-in.ts";
import { openEmbeddedStore } from "../../support/embedded-store.ts";

test.each([
  ["", "", ""],
  ["u".repeat(100_000), "n".repeat(100_000), `${"e".repeat(1000)}@example.com`],
  ["u1\n", "\u001b[2J\u202e\0", "ADA@example.com"],
])("a sign-in is found by its id, name or address, whatever those are", async (id, name, email) => {
  const store = await openEmbeddedStore();
  const signIn: SignIn = {
    ...{ id: "sign-in-1", revision: 1, provider: "oidc", issuer: "https://id.example.com" },
    ...{ subject: "1", user: { id, name, email }, begunMs: 1, untilMs: 2 },
  };
  await store.putSignIn({ ...toStored(signIn), ttlMs: 60_000 });
  for (const key of [userKey(id), nameKey(name), emailKey(email.toLowerCase())]) {
    expect(await findSignIns(store, [key])).toEqual([signIn]);
  }
});

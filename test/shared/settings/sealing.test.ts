/** What is encrypted in the store. */
import { expect, test } from "vitest";
import { createKeyring, onlyKey } from "../../../shared/settings/keyring.ts";
import { seal, unseal } from "../../../shared/settings/sealing.ts";

const OLD = "the secret before, long enough for all of its keys";
const NEW = "the new secret, which is long enough for its keys too";
const TEXT = JSON.stringify({ refreshToken: "ünïcode and more" });

test("a sealed text is read with the same secret, and shows nothing", () => {
  const { signIn: keys } = createKeyring({ secret: OLD });
  const sealed = seal(keys, "a", TEXT);
  expect(unseal(keys, "a", sealed)).toBe(TEXT);
  expect(Buffer.from(sealed, "base64url").includes("refreshToken")).toBe(false);
  // The same text looks different each time.
  expect(seal(keys, "a", TEXT)).not.toBe(sealed);
});

test("a sealed text is read while the secret is changed, in both directions", () => {
  const before = createKeyring({ secret: OLD });
  const during = createKeyring({ secret: NEW, previous: OLD });
  expect(unseal(during.signIn, "a", seal(before.signIn, "a", TEXT))).toBe(TEXT);
  // All members know the new one from now on.
  during.ringKeyFor([during.known]);
  const sealed = seal(during.signIn, "a", TEXT);
  expect(unseal(createKeyring({ secret: NEW }).signIn, "a", sealed)).toBe(TEXT);
  expect(unseal(before.signIn, "a", sealed)).toBeUndefined();
});

test("a sealed text is not read in another place, with another secret, or when it is damaged", () => {
  const { signIn: keys } = createKeyring({ secret: OLD });
  const sealed = seal(keys, "a", TEXT);
  expect(unseal(keys, "b", sealed)).toBeUndefined();
  expect(unseal(onlyKey(Buffer.alloc(32)), "a", sealed)).toBeUndefined();
  const bytes = Buffer.from(sealed, "base64url");
  for (let at = 0; at < bytes.length; at++) {
    const damaged = Buffer.from(bytes);
    damaged[at] = (damaged[at] ?? 0) ^ 1;
    expect(unseal(keys, "a", damaged.toString("base64url"))).toBeUndefined();
    expect(unseal(keys, "a", bytes.subarray(0, at).toString("base64url"))).toBeUndefined();
  }
});

/** A text that is replaced as a whole, in parts of a stream. */
import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { createRegister, newestText, split } from "../../../shared/store/register.ts";
import type { Store } from "../../../shared/store/store.ts";
import { openEmbeddedStore } from "../../support/embedded-store.ts";
import { openStore, startRedis } from "../../support/redis.ts";

const LONG = randomBytes(15_000).toString("base64url");

async function openRedis(): Promise<Store> {
  const redis = await startRedis();
  const { store } = openStore(redis.url);
  return store;
}

test.each([
  ["the embedded store", openEmbeddedStore],
  ["Redis", openRedis],
])("in %s the text that was written last is read by all, and polls notice it", async (_, open) => {
  const store = await open();
  const [writer, reader] = [createRegister("acme", store), createRegister("acme", store)];
  expect(await reader.poll()).toEqual({ text: undefined });
  expect(await reader.isEmpty()).toBe(true);
  for (const text of ["short", LONG, ""]) {
    await writer.write(text);
    expect(await reader.poll()).toEqual({ text });
    expect(await reader.poll()).toBeUndefined();
    expect(await reader.read()).toBe(text);
    expect(await reader.isEmpty()).toBe(false);
  }
});

test("after many writes the newest is complete", async () => {
  const store = await openEmbeddedStore();
  const register = createRegister("acme", store);
  for (let turn = 0; turn < 30; turn++) await register.write(`${turn} ${LONG}`);
  expect(await register.read()).toBe(`29 ${LONG}`);
});

test("a text that would push out the one before is refused", async () => {
  const register = createRegister("acme", await openEmbeddedStore());
  await expect(register.write(LONG.repeat(10))).rejects.toThrow("is too long for the stream acme");
});

test("of several writes the last complete one counts", () => {
  const [one, two] = [split(LONG), split("two")];
  expect(newestText([])).toBeUndefined();
  expect(newestText([...one, ...two])).toBe("two");
  expect(newestText([...two, ...one])).toBe(LONG);
  // Parts that the stream keeps no more, and what is none.
  expect(newestText([...one.slice(1), ...two, "garbage"])).toBe("two");
  expect(newestText([...two, ...one.slice(0, -1)])).toBe("two");
});

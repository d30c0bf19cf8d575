/** The version of the companion, agreed on in a real embedded store. */
import semver from "semver";
import { expect, test } from "vitest";
import type { NewValue, Store } from "../../../../shared/store/store.ts";
import { agreeOnTime, versionAt } from "../../../../worker/clients/companion/version.ts";
import { startStore } from "../../../support/embedded-store.ts";

const A = { serverUrl: "https://a.example.com", dependency: "typefox.open-collaboration-tools" };
const B = { ...A, serverUrl: "https://b.example.com" };
const START_MS = Date.UTC(2030, 0, 31, 9, 5, 7);

/** The version for a worker that starts with this content, and later for a worker that had it before. */
const start = async (store: Store, content: typeof A) =>
  versionAt(await agreeOnTime(store, content, { isNew: true }));
const refresh = async (store: Store, content: typeof A) =>
  versionAt(await agreeOnTime(store, content, { isNew: false }));

test("the version is the template's, and the time since which the content is the same", () => {
  expect(versionAt(START_MS)).toBe("1.20300131.90507");
  expect(semver.valid(versionAt(Date.UTC(2030, 0, 31, 0, 0, 9)))).toBe("1.20300131.9");
});

test("workers that start at the same time, and later, have the same version for the same content", async () => {
  const fixture = await startStore();
  const stores = [fixture.connect(), fixture.connect(), fixture.connect()];
  const versions = await Promise.all(stores.map((store) => start(store, A)));
  expect(new Set(versions).size).toBe(1);
  expect(await start(fixture.connect(), A)).toBe(versions[0]);
});

test("each change of the content makes a higher version, and so does a return to former content", async () => {
  const store = (await startStore()).connect();
  const versions: string[] = [];
  for (const content of [A, B, { ...B, dependency: "acme.open-collaboration-tools" }, A, B]) {
    versions.push(await start(store, content));
  }
  expect(versions).toEqual([...new Set(versions)].sort(semver.compare));
});

test("workers with former content keep their version during a rolling change, and a restarted one makes the new content newest again", async () => {
  const store = (await startStore()).connect();
  const before = await start(store, A);
  const after = await start(store, B);
  expect(await refresh(store, A)).toBe(before);
  // A worker restarts before it has the new URL; then the last worker gets the new one.
  const again = await start(store, A);
  const newest = await start(store, B);
  expect([before, after, again, newest]).toEqual(
    [before, after, again, newest].sort(semver.compare),
  );
  expect(await refresh(store, B)).toBe(newest);
});

test("after the loss of the store's data the version still rises", async () => {
  const fixture = await startStore();
  const at = (nowMs: number, store = fixture.connect()) => ({
    timeMs: async () => nowMs,
    put: (value: NewValue) => store.put(value),
    addToCounters: (increments: Record<string, number>) => store.addToCounters(increments),
    readCounters: (prefix: string) => store.readCounters(prefix),
  });
  for (const content of [A, B]) await agreeOnTime(at(START_MS), content, { isNew: true });
  const before = await agreeOnTime(at(START_MS), B, { isNew: true });
  await fixture.wipe();
  const after = await agreeOnTime(at(START_MS + 60_000), A, { isNew: true });
  expect(semver.gt(versionAt(after), versionAt(before))).toBe(true);
});

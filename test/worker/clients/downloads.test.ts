/** Download counters; over HTTP they are tested in routes.test.ts. */
import { expect, test } from "vitest";
import { createCounters } from "../../../shared/metrics/metrics.ts";
import { createDownloads, readVersionTotals } from "../../../worker/clients/downloads.ts";
import { silentLog } from "../../support/logs.ts";
import { createStepClock } from "../../support/step-clock.ts";

/** Counters as the real stores have them (test/contract/store.ts). */
function fakeStore() {
  const counters = new Map<string, number>();
  return {
    async addToCounters(increments: Readonly<Record<string, number>>) {
      for (const [name, by] of Object.entries(increments)) {
        counters.set(name, (counters.get(name) ?? 0) + by);
      }
    },
    async readCounters(prefix: string) {
      return Object.fromEntries([...counters].filter(([name]) => name.startsWith(prefix)));
    },
  };
}

function setUp(store: ReturnType<typeof fakeStore>) {
  return createDownloads({
    store,
    clock: createStepClock(),
    counters: createCounters(),
    log: silentLog(),
  });
}

test("after 200 versions further ones are counted as other, also by a process that starts later", async () => {
  const store = fakeStore();
  const first = setUp(store);
  for (let i = 0; i < 250; i++) first.count("vscode", "acme.collab", `1.0.${i}`);
  await first.close();
  const second = setUp(store);
  // It has read the counters of other processes.
  await second.close();
  second.count("eclipse", "com.example.feature", "9.9");
  second.count("vscode", "acme.collab", "1.0.3");
  await second.close();
  const totals = new Map((await readVersionTotals(store)).map(({ tag, total }) => [tag, total]));
  expect(totals.size).toBe(202);
  expect(totals.get("vscode/1.0.3")).toBe(2);
  expect(totals.get("vscode/other")).toBe(50);
  expect(totals.get("eclipse/other")).toBe(1);
  expect([...totals.values()].reduce((sum, count) => sum + count, 0)).toBe(252);
  // The counters per day keep the version.
  expect(await second.read()).toHaveLength(251);
});

/** Usage by day: leaders write it down, workers count, and each day has its own, also when the leader changes or the edge was off. */
import { createHash } from "node:crypto";
import { expect, onTestFinished, test } from "vitest";
import { createStoreState } from "../../../shared/store/embedded/state/state.ts";
import { StoreAwayError } from "../../../shared/store/store.ts";
import type { StreamName } from "../../../shared/store/streams.ts";
import { endIncrements, joinIncrements, sum } from "../../../worker/usage/counts.ts";
import { readDailyUsage, recordDailyUsage } from "../../../worker/usage/daily-usage.ts";
import { ideGroupOf } from "../../../worker/usage/ide-groups.ts";
import { USAGE_COLUMNS, usageCsv } from "../../../worker/usage/usage-csv.ts";
import { silentLog } from "../../support/logs.ts";
import { createStepClock } from "../../support/step-clock.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const hashOf = (person: string): string =>
  createHash("sha256").update(person).digest("base64url").slice(0, 11);

/** An edge whose days begin when the test says so. */
function edge(begin = "2030-01-30T22:00:00Z") {
  const time = { nowMs: 0, wallMs: Date.parse(begin) };
  const state = createStoreState(time);
  let isAway = false;
  let running: Promise<unknown> = Promise.resolve();
  function ask<T>(operation: () => T): Promise<T> {
    const answered = (async () => {
      if (isAway) throw new StoreAwayError("any");
      return operation();
    })();
    running = answered.catch(() => {});
    return answered;
  }
  const { operations } = state;
  const store = {
    get deferred() {
      return store as never;
    },
    timeMs: () => ask(() => operations.timeMs(time)),
    readCounters: (prefix: string) => ask(() => operations.readCounters(time, prefix)),
    appendToStream: (name: StreamName, texts: readonly string[]) =>
      ask(() => operations.appendToStream(time, name, texts)),
    readStream: (name: StreamName, query: { limit: number }) =>
      ask(() => operations.readStream(time, name, query)),
  };
  const clocks: ReturnType<typeof createStepClock>[] = [];

  async function settle(): Promise<void> {
    for (let turn = 0; turn < 20; turn++) await running;
  }

  return {
    store,
    leader(isLeading = true) {
      const clock = createStepClock();
      clocks.push(clock);
      const leadership = { isLeading };
      const usage = recordDailyUsage({ store, leadership, clock, log: silentLog() });
      onTestFinished(() => usage.close());
      return { usage, leadership };
    },
    async pass(ms: number) {
      for (let left = ms; left > 0; left -= 10_000) {
        time.nowMs += 10_000;
        time.wallMs += 10_000;
        for (const clock of clocks) clock.advance(10_000);
        await settle();
      }
    },
    /** Time in which no worker runs. */
    off(ms: number) {
      time.nowMs += ms;
      time.wallMs += ms;
    },
    setAway(away: boolean) {
      isAway = away;
    },
    join(client: string, isHost: boolean) {
      operations.addToCounters(time, joinIncrements(ideGroupOf(client), isHost));
    },
    end(people: number, minutes: number) {
      operations.addToCounters(time, endIncrements(people, minutes));
    },
    write: (name: StreamName, text: string) => operations.appendToStream(time, name, [text]),
    read: (days = 30, online: readonly string[] = []) =>
      readDailyUsage(store, online.map(hashOf), days),
  };
}

/** Day, people, sessions hosted, joined, ended. */
async function rows(at: ReturnType<typeof edge>, days = 30) {
  const usage = await at.read(days);
  return usage.days.map((row) => [row.day, row.users, sum(row.hosted), sum(row.joined), row.ended]);
}

test("the usage of today is shown at once, with the people who are here now", async () => {
  const at = edge();
  at.join("OCT_CODE_Visual_Studio_Code@0.3.8", true);
  at.join("CodeTogether edge web client", false);
  at.end(3, 12);
  const { users, days } = await at.read(30, ["Ada", "Ben"]);
  expect(users).toBe(2);
  expect(days).toMatchObject([
    {
      day: "2030-01-30",
      users: 2,
      hosted: { vscode: 1, browser: 0 },
      joined: { vscode: 0, browser: 1 },
      ended: 1,
      people: 3,
      minutes: 12,
      sizes: { "2": 0, "3": 1 },
      lengths: { "0-5": 0, "5-15": 1 },
    },
  ]);
});

test("each day has what was counted on it, also when the leader changes at midnight", async () => {
  const at = edge();
  const first = at.leader();
  at.join("vscode", true);
  first.usage.add(["Ada", "Ben"].map(hashOf));
  await at.pass(HOUR_MS);
  first.usage.add([hashOf("Dan")]);
  await first.usage.close();
  first.leadership.isLeading = false;
  const second = at.leader();
  at.join("vscode", false);
  second.usage.add(["Ben", "Cleo"].map(hashOf));
  await at.pass(2 * HOUR_MS);
  at.end(2, 90);
  second.usage.add(["Ada"].map(hashOf));
  await at.pass(60_000);
  expect(await rows(at)).toEqual([
    ["2030-01-30", 4, 1, 1, 0],
    ["2030-01-31", 1, 0, 0, 1],
  ]);
  expect((await at.read(30)).users).toBe(4);
  expect((await at.read(1)).users).toBe(1);
  expect(await rows(at, 1)).toEqual([["2030-01-31", 1, 0, 0, 1]]);
});

test("days on which the edge was off are empty, and what was counted last stays on its own day", async () => {
  const at = edge("2030-02-01T12:00:00Z");
  const before = at.leader();
  before.usage.add([hashOf("Ada")]);
  await at.pass(60_000);
  // After the last text of the leader, within its last seconds.
  at.join("vscode", true);
  before.leadership.isLeading = false;
  at.off(3 * DAY_MS);
  expect(await rows(at)).toEqual([
    ["2030-02-01", 1, 1, 0, 0],
    ["2030-02-02", 0, 0, 0, 0],
    ["2030-02-03", 0, 0, 0, 0],
    ["2030-02-04", 0, 0, 0, 0],
  ]);
  at.leader();
  await at.pass(60_000);
  at.join("vscode", true);
  expect((await rows(at)).map(([, , hosted]) => hosted)).toEqual([1, 0, 0, 1]);
});

test("two leaders at a time count nothing twice, and a follower writes nothing", async () => {
  const at = edge();
  const one = at.leader();
  const other = at.leader();
  at.leader(false).usage.add([hashOf("a follower")]);
  one.usage.add([hashOf("Ada")]);
  other.usage.add([hashOf("Ada"), hashOf("Ben")]);
  at.join("vscode", true);
  await at.pass(3 * HOUR_MS);
  expect(await rows(at)).toEqual([
    ["2030-01-30", 2, 1, 0, 0],
    ["2030-01-31", 0, 0, 0, 0],
  ]);
});

test("a store that is away loses nobody, and midnight passes when it is back", async () => {
  const at = edge("2030-01-30T23:59:00Z");
  const { usage } = at.leader();
  usage.add([hashOf("Ada")]);
  await at.pass(40_000);
  at.setAway(true);
  usage.add([hashOf("Ben")]);
  await at.pass(120_000);
  await expect(at.read()).rejects.toThrow(StoreAwayError);
  at.setAway(false);
  await at.pass(60_000);
  const { users, days } = await at.read();
  expect(users).toBe(2);
  expect(days.map(({ day }) => day)).toEqual(["2030-01-30", "2030-01-31"]);
});

test("only the wanted days of a month and more are read, and a store that was emptied counts from the beginning", async () => {
  const at = edge("2030-01-01T00:00:00Z");
  for (let day = 1; day <= 40; day++) {
    const text = {
      day: dayOf(day),
      totals: { "hosted/vscode": day },
      people: { exact: hashOf(`${day}`) },
    };
    at.write("usage-days", JSON.stringify(text));
  }
  at.off(40 * DAY_MS);
  const { users, days } = await at.read(30);
  expect([days.length, days[0]?.day, users]).toEqual([30, dayOf(12), 29]);
  expect(days.slice(0, 29).every(({ hosted }) => hosted.vscode === 1)).toBe(true);
  // The counters are empty.
  expect(days.at(-1)?.hosted.vscode).toBe(0);
});

function dayOf(number: number): string {
  return new Date(Date.UTC(2030, 0, number)).toISOString().slice(0, 10);
}

test("a day that is finished twice keeps its first totals, and of the oldest text that is read only the difference is known", async () => {
  const at = edge("2030-01-01T00:00:00Z");
  for (let day = 1; day <= 400; day++) {
    for (const hosted of [1000 + day, 1000 + day + 0.5]) {
      const text = { day: dayOf(day), totals: { "hosted/vscode": hosted }, people: {} };
      at.write("usage-days", JSON.stringify(text));
    }
  }
  at.off(400 * DAY_MS);
  const { days } = await at.read(366);
  // The newest 396 texts are read, which are two for each day, and the oldest day only begins the count.
  expect([days.length, days[0]?.day]).toEqual([198, dayOf(204)]);
  expect(days.slice(0, -1).every(({ hosted }) => hosted.vscode === 1)).toBe(true);
});

test("texts that are damaged, or of days to come, are left out", async () => {
  const at = edge("2030-02-01T00:00:00Z");
  const good = { totals: { "hosted/vscode": 1 }, people: {} };
  for (const text of [
    "{",
    "7",
    '{"day":"2030-01-20"}',
    JSON.stringify({ ...good, day: "2030-13-01" }),
    JSON.stringify({ ...good, day: "2999-01-01" }),
    JSON.stringify({ ...good, day: "2030-01-31", people: { sketch: "x" } }),
    JSON.stringify({ ...good, day: "0001-01-01", totals: { "hosted/vscode": -5, "=1+1": 3 } }),
  ]) {
    at.write("usage-days", text);
    at.write("usage-today", text);
  }
  const { days } = await at.read(3);
  expect(days.map(({ day }) => day)).toEqual(["2030-01-30", "2030-01-31", "2030-02-01"]);
  // A leader goes on with today, and finishes it.
  at.leader().usage.add([hashOf("Ada")]);
  await at.pass(DAY_MS + 60_000);
  expect((await rows(at)).slice(-2)).toEqual([
    ["2030-02-01", 1, 0, 0, 0],
    ["2030-02-02", 0, 0, 0, 0],
  ]);
});

// --- the file ---

test("the file of daily usage has a line for each day, under columns that never change", async () => {
  const at = edge();
  at.join("OCT_CODE_Visual_Studio_Code@0.3.8", true);
  at.join('=HYPERLINK("http://evil")', false);
  at.end(2, 3);
  at.end(8, 500);
  const [header, line, ...more] = usageCsv((await at.read()).days).split("\r\n");
  expect(header).toBe(
    "day,users,hosted,hosted_vscode,hosted_intellij,hosted_theia,hosted_eclipse,hosted_browser,hosted_other,joined,joined_vscode,joined_intellij,joined_theia,joined_eclipse,joined_browser,joined_other,ended,mean_people,people_1,people_2,people_3,people_4,people_5,people_6_10,people_11_20,people_21_more,mean_minutes,minutes_0_5,minutes_5_15,minutes_15_30,minutes_30_60,minutes_60_120,minutes_120_240,minutes_240_480,minutes_480_more",
  );
  expect(line).toBe(
    "2030-01-30,0,1,1,0,0,0,0,0,1,0,0,0,0,0,1,2,5,0,1,0,0,0,1,0,0,251.5,1,0,0,0,0,0,0,1",
  );
  expect(more).toEqual([""]);
  expect(line?.split(",")).toHaveLength(USAGE_COLUMNS.length);
});

test.each([
  ["OCT_CODE_Visual_Studio_Code@0.3.8", "vscode"],
  ["OCT_CODE_code_server@0.3.8", "vscode"],
  ["OCT_CODE_Cursor@0.3.8", "vscode"],
  ["OCT_CODE_Eclipse_Theia@0.3.8", "theia"],
  ["Eclipse Theia", "theia"],
  ["IntelliJ IDEA 2026.1", "intellij"],
  ["PyCharm@2026.1", "intellij"],
  ["OCT_JetBrains_Rider", "intellij"],
  ["Strider@1.0", "other"],
  ["Eclipse IDE@2026-03", "eclipse"],
  ["CodeTogether edge web client", "browser"],
  ["Monaco@1", "browser"],
  ["Unknown OCT JS Client", "other"],
  ["unknown", "other"],
  ["", "other"],
  ["=cmd|' /C calc'!A0", "other"],
])("the IDE %j counts as %s", (client, group) => expect(ideGroupOf(client)).toBe(group));

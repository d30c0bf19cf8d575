/** What the browser client keeps, in a real browser. */
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { hasChromium } from "../../support/browser.ts";
import { until } from "../../support/until.ts";
import { openScriptedPage, type ScriptedPage } from "../support/page-script.ts";

describe.runIf(hasChromium)("the browser client's database", () => {
  let page: ScriptedPage;

  beforeAll(async () => {
    page = await openScriptedPage("storage.ts");
  });

  afterAll(async () => {
    await page?.close();
  });

  test("a session, its key, its folder and its updates survive a reload of the page, and the key cannot leave it", async () => {
    await page.call("rememberSession", "remember");
    await page.page.reload();
    expect(await page.call("recallSession", "remember")).toMatchObject({
      roomId: "room1",
      isHost: true,
      roomToken: "token",
      publicKey: "key",
      state: { self: { id: "me" } },
      workspaceName: "work",
      folder: "",
      isKeyUsable: true,
      isKeyExtractable: false,
      updates: [[1, 2]],
      user: { name: "Ada", token: "jwt" },
      isForgetful: false,
    });
  });

  test("the user of one edge is not the user of another one below a different path", async () => {
    await page.call("rememberSession", "users");
    const recalled = await page.call<{ otherUser?: unknown }>("recallSession", "users");
    expect(recalled.otherUser).toBeUndefined();
  });

  test("sessions and their updates are removed a day after their last use, scratch workspaces a month after it", async () => {
    expect(await page.call("ageSessions", "age")).toEqual({
      first: ["new", "old"],
      second: ["new"],
      updates: [0, 1, 0],
      workspaces: [],
    });
  });

  test("a deleted session leaves no updates behind", async () => {
    expect(await page.call("deleteSession", "delete")).toEqual({ updates: [0, 1] });
  });

  test("a tab that merges its updates keeps those that another tab wrote meanwhile", async () => {
    expect(await page.call("compactBesideAnotherTab", "compact")).toEqual({
      seenByTwo: 1,
      left: [12, 13],
      count: 2,
    });
  });

  test("thousands of updates are appended without waiting", async () => {
    const { appendMs, loaded } = await page.call<{ appendMs: number; loaded: number }>(
      "manyUpdates",
      "many",
    );
    expect(loaded).toBe(2_000);
    expect(appendMs).toBeLessThan(1_000);
  });

  const WORKS = {
    sessions: ["room"],
    user: "Ada",
    updates: [2],
    names: ["a", "hello.js", "README.md"],
  };

  test("without storage everything works as long as the page is open, and says that it is forgetful", async () => {
    expect(await page.call("workWithoutStorage")).toEqual({
      ...WORKS,
      problem: "denied",
      isForgetful: true,
    });
  });

  test("a database that never opens is given up after some seconds", async () => {
    const tab = await page.openTab();
    onTestFinished(() => tab.close());
    await tab.page.clock.install();
    let result: unknown;
    const work = tab.call("workWithStorageThatNeverOpens").then((value) => {
      result = value;
    });
    await until("the page gives up", async () => {
      await tab.page.clock.runFor(1_000);
      return result !== undefined;
    });
    await work;
    expect(result).toEqual({ ...WORKS, problem: "denied", isForgetful: true });
  });

  test("beside a tab with a newer version of the page everything works in memory", async () => {
    expect(await page.call("workBesideANewerVersion", "newer")).toEqual({
      ...WORKS,
      problem: "outdated",
      isForgetful: true,
    });
  });

  test("a connection that the browser or another tab has closed is opened again", async () => {
    expect(await page.call("workAfterBeingClosed", "closed")).toEqual({
      ...WORKS,
      isForgetful: false,
    });
  });

  test("when storage is full, updates wait and saving fails in plain words; later all is written", async () => {
    expect(await page.call("workWhenFull", "full")).toEqual({
      problem: "full",
      save: expect.stringContaining("no space left"),
      reason: "full",
      whileFull: 1,
      after: [1, 2],
      isForgetful: false,
      text: true,
    });
  });

  test("a value that the browser cannot store is reported and does not throw", async () => {
    expect(await page.call("storeAValueThatCannotBeStored", "clone")).toEqual({
      problem: "failed",
    });
  });
});

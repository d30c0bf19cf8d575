/** Workspaces in the browser and on a disk, in a real browser. */
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { hasChromium } from "../../support/browser.ts";
import { until } from "../../support/until.ts";
import { openScriptedPage, type ScriptedPage } from "../support/page-script.ts";

type Change = readonly [string, string];

describe.runIf(hasChromium)("the files of a workspace", () => {
  let page: ScriptedPage;

  beforeAll(async () => {
    page = await openScriptedPage("files.ts");
  });

  afterAll(async () => {
    await page?.close();
  });

  // A test may change what the browser offers.
  beforeEach(async () => {
    await page.page.reload();
  });

  test.each(["scratch", "folder", "folder without move"])(
    "files are listed, read, written, renamed and removed in a workspace of the kind: %s",
    async (kind) => {
      const top = kind === "scratch" ? "scratch" : "work";
      expect(await page.call("workWith", kind)).toEqual({
        top: [{ name: top, kind: "folder" }],
        listed: [
          { name: "src", kind: "folder" },
          { name: "B.txt", kind: "file" },
        ],
        read: "second",
        info: { kind: "file", bytes: 6 },
        isRecent: true,
        folder: "folder",
        renamed: [
          [
            { name: "deep", kind: "folder" },
            { name: "c.txt", kind: "file" },
          ],
          [{ name: "a.txt", kind: "file" }],
        ],
        moved: ["second", "hello"],
        refusals: {
          "read a missing file": "missing",
          "list a missing folder": "missing",
          "read in another workspace": "missing",
          "read a folder": "name",
          "list a file": "name",
          "write a folder": "name",
          "write below a missing folder": "missing",
          "write below a file": "name",
          "write above": "name",
          "make a folder of a file": "name",
          "rename to a taken name": "name",
          "rename into itself": "name",
          "rename a missing file": "missing",
          "remove a missing file": "missing",
          "remove everything": "denied",
        },
        zip: { isLarge: true, type: "application/zip", skipped: [] },
        left: [],
      });
    },
  );

  test("a scratch workspace starts with two files, survives a reload, and shows what another tab writes", async () => {
    const { id, names } = await page.call<{ id: string; names: string[] }>("startScratch");
    expect(names).toEqual(["hello.js", "README.md"]);
    await page.call("writeScratch", "scratch/hello.js", "changed");
    await page.page.reload();
    await page.call("openScratch", id);
    expect(await page.call("readScratch", "scratch/hello.js")).toBe("changed");

    const other = await page.openTab();
    onTestFinished(() => other.close());
    await other.call("openScratch", id);
    await other.call("writeScratch", "scratch/new.txt", "by another tab");
    await until("the first tab is told", async () => (await seenBy("changesInScratch")).length > 0);
    expect(await seenBy("changesInScratch")).toEqual([["scratch/new.txt", "created"]]);
    expect(await page.call("readScratch", "scratch/new.txt")).toBe("by another tab");
    expect(await other.call("changesInScratch")).toEqual([]);
  });

  test.each([
    ["by the browser's observer", true],
    ["by looking at them", false],
  ])(
    "changes of other programs are found %s, and those of the page are not reported",
    async (_way, isObserved) => {
      expect(await page.call("watchFolder", isObserved)).toBe(isObserved);
      onTestFinished(() => page.call("stopWatching"));
      // The watch begins a moment later; a change before that is not one.
      await until("the watch has begun", async () => {
        await page.call("writeDirectly", "open.txt", `two ${performance.now()}`);
        return (await seenBy("changes")).some(isAbout("work/open.txt", "changed"));
      });
      await page.call("workByPage");
      await page.call("writeByPage", "page.txt", "by the page");
      await page.call("writeByPage", "open.txt", "by the page");
      const before = (await seenBy("changes")).length;

      await page.call("removeDirectly", "open.txt");
      await until("the removal is reported", async () =>
        (await seenBy("changes")).some(isAbout("work/open.txt", "deleted")),
      );
      await page.call("writeDirectly", "open.txt", "again");
      await until("the new file is reported", async () =>
        (await seenBy("changes")).slice(before).some(isAbout("work/open.txt", "created")),
      );
      const all = await seenBy("changes");
      expect(all.filter(([path]) => path !== "work/open.txt" && path !== "work")).toEqual([]);
      // Removing and creating the file changes the folder's names; the page's own files do not count.
      expect(all.filter(([path]) => path === "work").length).toBeLessThanOrEqual(2);
    },
  );

  test("a folder of 1,000 files is listed in order", async () => {
    expect(await page.call("listManyFiles", 1_000)).toMatchObject({ isSorted: true, count: 1_000 });
  });

  test("the browser's own folders need no permission", async () => {
    expect(await page.call("permissionOfOwnFolder")).toBe("granted");
  });

  test("a workspace has the name of its folder, also when that has none", async () => {
    expect(await page.call("namesOfWorkspaces")).toEqual(["my work", "folder"]);
  });

  test("a folder that was deleted is missing", async () => {
    expect(await page.call("useAVanishedFolder")).toBe("missing");
  });

  async function seenBy(name: string): Promise<readonly Change[]> {
    return page.call<Change[]>(name);
  }
});

function isAbout(path: string, change: string): (seen: Change) => boolean {
  return ([seenPath, seenChange]) => seenPath === path && seenChange === change;
}

/** The screens and panels of the browser client with sample data, in Chromium, under the policy of the product's pages. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { Browser, Page } from "playwright-core";
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { hasChromium, type Looker, launchChromium, openLooker } from "../support/browser.ts";
import { until } from "../support/until.ts";
import { MANY_FILES, MARKUP_NAME } from "./fake-session.ts";
import { serveScreens } from "./screens-page.ts";

/** Each screen, with a text that is on it. */
const SCREENS: readonly (readonly [scene: string, text: string])[] = [
  ["starting", "Loading…"],
  ["home", "Start a session"],
  ["home:again", "Return to a session"],
  ["home:forgetful", "This browser keeps nothing"],
  ["unsupported:insecure", "This page needs a secure connection"],
  ["unsupported:browser", "This browser is too old"],
  ["sign-in:join", "Ask to join"],
  ["sign-in:host", "The people you invite see this name"],
  ["sign-in:known", "Continue as Ada Lovelace"],
  ["sign-in:problem", "Enter a name with 64 characters at most."],
  ["waiting:key", "Making your encryption key…"],
  ["waiting:host-decides", "Waiting for the host to let you in…"],
  ["workspace:empty", "No file is open"],
  ["workspace:alone", "Your session is live"],
  ["workspace:host", "Edsger Dijkstra asks to join"],
  ["workspace:loading", "Opening invoice.ts…"],
  ["workspace:text", "export function total"],
  ["workspace:read-only", "Read-only"],
  ["workspace:preview", "Editing starts as soon as"],
  ["workspace:binary", "Not a text file, 1.2 MB"],
  ["workspace:foreign-text", "Straße"],
  ["workspace:too-large", "It is 35 MB"],
  ["workspace:failed", "The host did not respond within 30 seconds."],
  ["workspace:gone", "This file was deleted or renamed. Its text is still here."],
  ["workspace:save-failed", "Not saved: The disk is full."],
  ["workspace:following", "Following Ada Lovelace"],
  ["workspace:reconnecting", "Connection lost. Your text is kept; trying again…"],
  ["workspace:rejoining", "the host is asked to let you in again"],
  ["workspace:notices", "README.md could not be saved."],
  ["ended:left", "You left the session"],
  ["ended:closed", "Download as zip"],
  ["ended:lost", "without a connection too long"],
  ["ended:rejected", "Join again"],
  ["ended:moved", "open in another tab"],
  ["failed:not-found", "There is no such session"],
  ["failed:timeout", "The host did not answer"],
  ["failed:failed", "The server says:"],
  ["other-tab", "Use it here"],
  ["folder-permission", "Open the folder again?"],
];

/** The workspace hides what is wider than the window, so its bars are looked at as well. */
const IS_WIDE = `[document.documentElement, ...document.querySelectorAll(".top-bar, .status-line, .page main")]
  .some((element) => element.scrollWidth > Math.min(innerWidth, element.clientWidth))`;

/** The only rule whose result depends on the colors. */
const CONTRAST = "color-contrast";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

let browser: Browser;
let screens: string;
let looker: Looker;
let page: Page;

describe.skipIf(!hasChromium)("the client's screens", () => {
  beforeAll(async () => {
    [browser, screens] = await Promise.all([launchChromium(), serveScreens()]);
    looker = await openLooker(browser, { viewport: { width: 1280, height: 800 } });
    page = looker.page;
    page.setDefaultTimeout(5_000);
    await page.goto(screens);
    await page.evaluate(axe);
  });

  beforeEach(async () => {
    await page.setViewportSize({ width: 1280, height: 800 });
    await page.emulateMedia({ colorScheme: "light", reducedMotion: "reduce" });
  });

  for (const colorScheme of ["light", "dark"] as const) {
    test(`every screen shows its text and passes the rules of axe in ${colorScheme} colors`, async () => {
      await page.emulateMedia({ colorScheme });
      const findings: string[] = [];
      for (const [scene, text] of SCREENS) {
        await show(scene);
        await page.getByText(text).first().waitFor();
        findings.push(...(await axeFindings(scene, colorScheme === "dark" ? CONTRAST : undefined)));
      }
      expect(findings).toEqual([]);
    });
  }

  test("no screen is wider than a window of 390 or 320 pixels", async () => {
    const wide: string[] = [];
    for (const width of [390, 320]) {
      await page.setViewportSize({ width, height: 800 });
      for (const [scene] of SCREENS) {
        await show(scene);
        if (await page.evaluate(IS_WIDE)) {
          wide.push(`${scene} at ${width}`);
        }
      }
    }
    expect(wide).toEqual([]);
  });

  test("what others named or wrote appears as text, and only web addresses become links", async () => {
    await show("workspace:host");
    await page.getByRole("button", { name: `Allow ${MARKUP_NAME}` }).waitFor();
    await page.getByRole("treeitem", { name: MARKUP_NAME }).waitFor();
    expect(await page.locator(".chat-text a").allTextContents()).toEqual([
      "https://tracker.example.com/browse/PAY-1042",
    ]);
    expect(await page.locator(".chat-text a").getAttribute("rel")).toBe("noopener noreferrer");
    expect(await page.locator("img, script:not([src])").count()).toBe(0);
    expect(await page.title()).not.toBe("hit");
  });

  test("a folder with 5,000 files is listed in order, with elements for the rows in view only", async () => {
    await show("workspace:empty");
    await page.getByRole("treeitem", { name: "generated" }).click();
    await page.getByRole("treeitem", { name: "part-0000.ts" }).waitFor();
    const tree = page.getByRole("tree");
    await tree.press("ArrowRight");
    await until(
      "the first file is selected",
      async () => (await selectedName()) === "part-0000.ts",
    );
    await tree.press("End");
    await tree.press("ArrowUp");
    expect(await page.locator("[role=treeitem]").count()).toBeLessThanOrEqual(100);
    await tree.pressSequentially("part-4998");
    const rows = page.locator("[role=treeitem][aria-level='2']");
    await until("the end of the folder is in view", async () =>
      (await rows.allTextContents()).includes("part-4999.ts"),
    );
    expect(await selectedName()).toBe("part-4998.ts");
    expect(await rows.last().getAttribute("aria-setsize")).toBe(String(MANY_FILES));
    expect(await rows.last().getAttribute("aria-posinset")).toBe(String(MANY_FILES));
    const names = await rows.allTextContents();
    expect(names).toEqual([...names].sort());
    expect(await page.locator("[role=treeitem]").count()).toBeLessThanOrEqual(100);
  });

  test("a file is opened from the tree by keyboard, and the caret is in its text", async () => {
    await show("workspace:empty");
    const tree = page.getByRole("tree");
    await page.getByRole("treeitem", { name: "src", exact: true }).waitFor();
    await tree.focus();
    for (const key of ["s", "ArrowRight"]) await tree.press(key);
    await page.getByRole("treeitem", { name: "invoice.ts" }).waitFor();
    for (const key of ["i", "Enter"]) await tree.press(key);
    await page.getByText("// payment-service/src/invoice.ts").waitFor();
    expect(await calls()).toContain("open payment-service/src/invoice.ts");
    expect(await page.evaluate("document.activeElement.closest('.editor-place') !== null")).toBe(
      true,
    );
  });

  test("files are created, renamed and deleted by dialogs, each after a question", async () => {
    await show("workspace:empty");
    await page.getByRole("treeitem", { name: "README.md" }).waitFor();
    await page.getByRole("button", { name: "New file" }).click();
    await page.keyboard.type("notes.md");
    await page.keyboard.press("Enter");
    await until("the file was written", async () =>
      (await calls()).includes("write payment-service/notes.md"),
    );
    await page.getByText("// payment-service/notes.md").waitFor();
    expect(await page.evaluate("document.activeElement.closest('.editor-place') !== null")).toBe(
      true,
    );
    const tree = page.getByRole("tree");
    await tree.focus();
    for (const key of ["Home", "p", "F2"]) await page.keyboard.press(key);
    await page.keyboard.type("packet");
    await page.keyboard.press("Enter");
    await until("the file was renamed", async () =>
      (await calls()).includes("rename payment-service/package.json payment-service/packet.json"),
    );
    await page.getByRole("dialog").waitFor({ state: "detached" });
    await page.getByRole("treeitem", { name: "README.md" }).click({ button: "right" });
    expect(await axeFindings("menu")).toEqual([]);
    await page.getByRole("menuitem", { name: "Open" }).press("ArrowUp");
    await page.getByRole("menuitem", { name: "Delete…" }).press("Enter");
    await page.getByRole("dialog", { name: "Delete README.md?" }).waitFor();
    expect(await axeFindings("dialog")).toEqual([]);
    await page.getByRole("button", { name: "Delete", exact: true }).click();
    await until("the file was removed", async () =>
      (await calls()).includes("remove payment-service/README.md"),
    );
  });

  test("a read-only guest is offered no change to the files", async () => {
    await show("workspace:read-only");
    await page.getByRole("treeitem", { name: "README.md" }).click({ button: "right" });
    await page.getByRole("menuitem").first().waitFor();
    expect(await page.getByRole("menuitem").allTextContents()).toEqual(["Open"]);
    expect(await page.getByRole("button", { name: "New file" }).count()).toBe(0);
  });

  test("a session is joined from the home page by a link or a code, and other links say what they are", async () => {
    await show("home");
    const field = page.getByLabel("Link or code");
    await field.fill("hello");
    await field.press("Enter");
    await page.getByText("This is no invitation.").waitFor();
    await field.fill("https://other.example.org/#Yb2kLmQ8pVxT4rZc9wNd");
    await field.press("Enter");
    const link = page.getByRole("link", { name: "Open it on other.example.org" });
    expect(await link.getAttribute("href")).toBe("https://other.example.org/#Yb2kLmQ8pVxT4rZc9wNd");
    await field.fill("https://edge.example.com/#Yb2kLmQ8pVxT4rZc9wNd");
    await field.press("Enter");
    expect(await calls()).toContain("showJoin Yb2kLmQ8pVxT4rZc9wNd");
  });

  test("the name field has the focus on the sign-in page, and Enter asks to join", async () => {
    await show("sign-in:join");
    await page.keyboard.type("Grace");
    await page.keyboard.press("Enter");
    expect(await calls()).toContain("submit Grace");
  });

  test("a request to join is in the title of the page, and is allowed by keyboard", async () => {
    await show("workspace:host");
    await until(
      "the title names both",
      async () => (await page.title()) === "● 2 ask to join – payment-service",
    );
    await page.getByRole("button", { name: "Allow Edsger Dijkstra" }).press("Enter");
    expect(await calls()).toContain("allow r1");
    await until("the title names the other one", async () =>
      (await page.title()).startsWith(`● ${MARKUP_NAME} asks to join`),
    );
  });

  test("a chat message is sent by Enter, and stays in the field when it was not sent", async () => {
    await show("workspace:text");
    const field = page.getByLabel("Message to everyone");
    await field.fill("Hello **all**");
    await field.press("Enter");
    await page.getByText("Hello **all**").last().waitFor();
    await until("the field is empty", async () => (await field.inputValue()) === "");
    await page.evaluate(`fake.session.say = async () => { throw new Error("Not connected."); }`);
    await field.fill("kept");
    await field.press("Enter");
    await page.getByText("Not connected.").waitFor();
    expect(await field.inputValue()).toBe("kept");
  });

  test("messages that arrive while the chat is closed are counted", async () => {
    await show("workspace:text");
    const toggle = page.getByRole("button", { name: "People and chat" });
    await toggle.click();
    await page.evaluate(`fake.session.chat.value = [...fake.session.chat.value,
      { id: 99, from: fake.session.people.value[0], text: "Psst", atMs: 0, isDirect: false }]`);
    await page.getByRole("button", { name: "People and chat 1 new" }).click();
    await page.getByText("Psst").waitFor();
    await page.getByRole("button", { name: "People and chat", exact: true }).waitFor();
  });

  test("a person is followed from the list and the frame around the text ends it", async () => {
    await show("workspace:text");
    await page.locator(".people").getByRole("button", { name: "Barbara Liskov" }).click();
    expect(await calls()).toContain("follow p3");
    await page.getByRole("button", { name: "Stop", exact: true }).click();
    await page.locator(".follow-frame").waitFor({ state: "detached" });
  });

  test("leaving asks first, and the focus returns to its button after Escape", async () => {
    await show("workspace:text");
    const leave = page.getByRole("button", { name: "Leave" });
    await leave.press("Enter");
    await page.getByRole("dialog", { name: "Leave the session?" }).waitFor();
    await page.keyboard.press("Escape");
    await page.getByRole("dialog").waitFor({ state: "detached" });
    expect(await leave.evaluate((element) => element === element.ownerDocument.activeElement)).toBe(
      true,
    );
    await leave.press("Enter");
    await page.getByRole("dialog").getByRole("button", { name: "Leave" }).click();
    expect(await calls()).toContain("leave");
  });

  test("on a narrow window, files and chat are sheets that open, take the focus and close by Escape", async () => {
    await page.setViewportSize({ width: 390, height: 800 });
    await show("workspace:text");
    expect(await page.getByRole("tree").count()).toBe(0);
    await page.getByRole("button", { name: "Files" }).click();
    // The tree opens the folders of the present file, which moves the rows below them.
    await page.getByRole("treeitem", { selected: true }).waitFor();
    await page.getByRole("treeitem", { name: "README.md" }).click();
    await page.getByText("// payment-service/README.md").waitFor();
    expect(await page.getByRole("tree").count()).toBe(0);
    await page.getByRole("button", { name: "People and chat" }).click();
    await page.getByLabel("Message to everyone").waitFor();
    expect(await axeFindings("chat as a sheet")).toEqual([]);
    await page.keyboard.press("Escape");
    await page.getByLabel("Message to everyone").waitFor({ state: "detached" });
    await until("the focus is on the button that opened it", () =>
      page.evaluate("document.activeElement.textContent.startsWith('People and chat')"),
    );
  });

  test("the invitation shows link, code and meeting, and the policy of the pages was never violated", async () => {
    await show("workspace:text");
    await page.getByRole("button", { name: "Invite" }).click();
    expect(await page.getByLabel("Link").inputValue()).toBe(
      "https://edge.example.com/#Yb2kLmQ8pVxT4rZc9wNd",
    );
    expect(await page.getByLabel("Code").inputValue()).toBe("Yb2kLmQ8pVxT4rZc9wNd");
    await page.getByRole("link", { name: "Open the meeting" }).waitFor();
    expect(await axeFindings("invitation")).toEqual([]);
    await page.keyboard.press("Escape");
    expect(looker.complaints).toEqual([]);
  });
});

async function show(scene: string): Promise<void> {
  await page.evaluate(`(async () => {
    for (const scene of ["starting", "${scene}"]) {
      fake.show(scene);
      await new Promise(requestAnimationFrame);
    }
    fake.calls.length = 0;
  })()`);
}

function calls(): Promise<string[]> {
  return page.evaluate<string[]>("fake.calls");
}

function selectedName(): Promise<string | undefined> {
  return page.evaluate<string | undefined>(
    "document.querySelector('[role=treeitem][aria-selected=true]')?.ariaLabel",
  );
}

/** What axe finds serious or critical, with the elements. */
function axeFindings(scene: string, onlyRule?: string): Promise<string[]> {
  const options = {
    preload: false,
    resultTypes: ["violations"],
    ...(onlyRule && { runOnly: [onlyRule] }),
  };
  return page.evaluate<string[]>(`axe.run(${JSON.stringify(options)}).then(({ violations }) =>
    violations
      .filter(({ impact }) => impact === "serious" || impact === "critical")
      .flatMap(({ id, nodes }) => nodes.map((node) => \`${scene}: \${id} \${node.html}\`)))`);
}

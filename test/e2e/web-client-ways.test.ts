/** Ways into sessions and out of them that people take in the middle: cancelling, and going on in another tab. */
import type { Browser } from "playwright-core";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { hasChromium, launchChromium } from "../support/browser.ts";
import { type EdgeProcess, startEdge } from "../support/edge-process.ts";
import { person } from "../support/people.ts";
import { pairOf, serveFiles, WebPerson } from "../support/web-client.ts";

const FILE = "src/main.ts";
const POLL = /\/poll\//;

describe.runIf(hasChromium)("in the middle of a way", () => {
  let edge: EdgeProcess;
  let browser: Browser;

  beforeAll(async () => {
    [edge, browser] = await Promise.all([startEdge(), launchChromium()]);
  }, 120_000);

  afterEach(async () => {
    await Promise.all(browser.contexts().map((context) => context.close()));
  });

  async function ideSession(): Promise<string> {
    const host = person({ baseUrl: edge.httpUrl, name: "Ida" });
    const room = await host.host();
    serveFiles(host, { [FILE]: "let a = 1;\n" });
    return `${edge.httpUrl}/join/${room}`;
  }

  test("a user who cancels while a session is being entered goes on elsewhere without its end in between", async () => {
    const guest = await WebPerson.open(browser, "Ben");
    await guest.page.route("**/socket.io/**", (route) => route.abort());
    await guest.knock(await ideSession());
    await guest.page.getByText("Loading the workspace").waitFor();
    await guest.button("Cancel").click();
    await guest.page.unroute("**/socket.io/**");
    await guest.button("New scratch workspace").click();
    await guest.button(/Continue as/).click();
    await guest.entered();
    await guest.editor.waitFor();
  }, 90_000);

  test("a sign-in that the user leaves by going back stops asking the server", async () => {
    const { page } = await WebPerson.open(browser, "Ben");
    await page.goto(edge.httpUrl);
    const asked = page.waitForRequest(POLL);
    const link = await ideSession();
    await page.goto(`${edge.httpUrl}/#${link.split("/").at(-1)}`);
    await asked;
    const stopped = page.waitForEvent("requestfailed", (request) => POLL.test(request.url()));
    await page.goBack();
    await stopped;
  }, 60_000);

  test("a tab that has not entered a session yet leaves it to another one that wants it", async () => {
    const first = await WebPerson.open(browser, "Ben");
    const link = await ideSession();
    await first.page.goto(link);
    await first.page.locator(".sign-in-form").first().waitFor();
    const second = await WebPerson.inContext(first.context, "Ben");
    await second.page.goto(link);
    await second.button("Use it here").click();
    await second.signIn("Ask to join");
    await second.entered();
  }, 90_000);

  test("a guest who asks to join is still asked about after the host's page was reloaded, whatever guests are called", async () => {
    const [host, guest, asking] = await Promise.all([
      WebPerson.open(browser, "Anna"),
      WebPerson.open(browser, "peer/join"),
      WebPerson.open(browser, "Cleo"),
    ]);
    const link = await host.startSession(edge.httpUrl);
    await guest.knock(link);
    await host.allow(guest.name);
    await guest.entered();
    await asking.knock(link);
    await host.button("Allow Cleo").waitFor();
    await host.page.reload();
    await host.allow("Cleo");
    await asking.entered();
  }, 90_000);

  test("a guest who may only read cannot undo what it wrote before", async () => {
    const { host, guest } = await pairOf(browser, edge.httpUrl);
    await guest.type("written");
    await host.sees("written");
    await host.page.getByRole("switch").first().click();
    await guest.page.locator('.cm-content[aria-readonly="true"]').waitFor();
    await guest.editor.click();
    await guest.page.keyboard.press("Control+z");
    await guest.editor.dispatchEvent("beforeinput", { inputType: "historyUndo" });
    await host.type(" and more");
    await guest.sees("written and more");
    expect(await guest.text()).toBe(await host.text());
  }, 90_000);
});

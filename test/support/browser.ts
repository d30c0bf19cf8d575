/**
 * The system's Chromium: one browser per test file, and a new context, without cookies or cache, for each page.
 */
import { execFileSync } from "node:child_process";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";
import { closeAtEnd } from "./at-end.ts";
import { hasProgram } from "./debian.ts";

export const hasChromium: boolean = hasProgram("chromium", ["chromium"], "tests in a browser");

/** Closed at the end. */
export async function launchChromium(): Promise<Browser> {
  const browser = await chromium.launch({
    executablePath: execFileSync("sh", ["-c", "command -v chromium"], { encoding: "utf8" }).trim(),
    // The sandbox does not work in containers and as root; the browser only opens our own pages.
    args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"],
  });
  return closeAtEnd(browser);
}

export interface Looker {
  readonly context: BrowserContext;
  readonly page: Page;
  /** Script errors and console errors and warnings, including violations of the content security policy. */
  readonly complaints: readonly string[];
}

export async function openLooker(
  browser: Browser,
  options: Parameters<Browser["newContext"]>[0] = {},
): Promise<Looker> {
  return openTab(await browser.newContext(options));
}

export async function openTab(context: BrowserContext): Promise<Looker> {
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") complaints.push(message.text());
  });
  return { context, page, complaints };
}

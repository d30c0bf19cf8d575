/**
 * A real Chromium, of the system, with nothing in it that a page brought: one for a test file, a context of its own for each
 * who looks.
 */
import { execFileSync } from "node:child_process";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";
import { hasProgram } from "./debian.ts";

export const hasChromium: boolean = hasProgram("chromium", ["chromium"], "tests in a browser");

/** Close it when the tests are over. */
export function launchChromium(): Promise<Browser> {
  return chromium.launch({
    executablePath: execFileSync("sh", ["-c", "command -v chromium"], { encoding: "utf8" }).trim(),
    // In containers and as root its sandbox cannot be had; it sees our own pages only.
    args: ["--no-sandbox", "--disable-dev-shm-usage"],
  });
}

/** A page, and everything that it complained of. */
export interface Looker {
  readonly context: BrowserContext;
  readonly page: Page;
  /** Errors of its scripts and of its console: also what the content security policy has refused. */
  readonly complaints: readonly string[];
}

export async function openLooker(
  browser: Browser,
  options: Parameters<Browser["newContext"]>[0] = {},
): Promise<Looker> {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") complaints.push(message.text());
  });
  return { context, page, complaints };
}

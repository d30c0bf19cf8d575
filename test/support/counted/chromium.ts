/**
 * Counted sessions in a page of the system's Chromium: the same program as in Node, on the browser's WebSockets.
 */
import { fileURLToPath } from "node:url";
import { buildSync } from "esbuild";
import type { Browser } from "playwright-core";
import { remoteSessions } from "./calls.ts";
import type { CountedSessions } from "./sessions.ts";

/** A page of the edge, so that requests are of the same origin. */
const SOME_PAGE = "/api/meta";

/** `url`: of the edge, whose certificate is not checked. The caller closes the browser. */
export async function sessionsInPage(browser: Browser, url: string): Promise<CountedSessions> {
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  const page = await context.newPage();
  await page.goto(url + SOME_PAGE);
  await page.evaluate(bundle());
  return remoteSessions((call) => page.evaluate(`countedCall(${JSON.stringify(call)})`));
}

function bundle(): string {
  const { outputFiles } = buildSync({
    entryPoints: [fileURLToPath(new URL("page.ts", import.meta.url))],
    bundle: true,
    format: "iife",
    target: "es2022",
    write: false,
    logLevel: "warning",
  });
  return outputFiles[0]?.text ?? "";
}

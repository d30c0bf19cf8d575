/**
 * A page in Chromium with a script of test/web/page, bundled as the client is. The script's exports are called by name; the
 * page's origin is secure, so that it has WebCrypto, IndexedDB and a file system of its own.
 */
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import type { BrowserContext, Page } from "playwright-core";
import { launchChromium } from "../../support/browser.ts";
import { serveHttp } from "../../support/servers.ts";

export interface ScriptedPage {
  readonly page: Page;
  readonly context: BrowserContext;
  readonly url: string;
  /** Calls an exported function of the script; arguments and result are JSON. */
  call<T>(name: string, ...args: readonly unknown[]): Promise<T>;
  /** Opens the same page in a new tab of the same browser profile. */
  openTab(): Promise<ScriptedPage>;
  /** The tab; of the first one, the browser as well. */
  close(): Promise<void>;
}

/** The policy of the edge's own pages. */
const POLICY = "default-src 'none'; script-src 'self'; connect-src 'self'";

export async function openScriptedPage(script: string): Promise<ScriptedPage> {
  const [code, browser] = await Promise.all([bundle(script), launchChromium()]);
  const url = await serveHttp((request, response) => {
    const isScript = request.url === "/script.js";
    response.setHeader("content-security-policy", POLICY);
    response.setHeader("content-type", isScript ? "text/javascript" : "text/html");
    response.end(isScript ? code : '<!doctype html><script src="/script.js"></script>');
  });
  return openTab(await browser.newContext(), url, () => browser.close());
}

async function openTab(
  context: BrowserContext,
  url: string,
  closeAll?: () => Promise<void>,
): Promise<ScriptedPage> {
  const page = await context.newPage();
  await page.goto(url);
  return {
    page,
    context,
    url,
    call: (name, ...args) =>
      page.evaluate(
        async ([functionName, parameters]) => {
          const script = Reflect.get(globalThis, "script") as Record<
            string,
            (...args: readonly unknown[]) => unknown
          >;
          return (await script[functionName]?.(...parameters)) as never;
        },
        [name, args] as const,
      ),
    openTab: () => openTab(context, url),
    close: closeAll ?? (() => page.close()),
  };
}

async function bundle(script: string): Promise<string> {
  const result = await build({
    entryPoints: [fileURLToPath(new URL(`../page/${script}`, import.meta.url))],
    bundle: true,
    write: false,
    format: "iife",
    globalName: "script",
    target: "es2022",
    logLevel: "warning",
  });
  return result.outputFiles.map(({ text }) => text).join("");
}

/**
 * The page at `/`: for users who open the server's URL, and for health checks.
 */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { hasChromium, launchChromium, openLooker } from "../../support/browser.ts";
import { startWorker } from "./fixture.ts";

test("the home page says what the server is, and links to the plugins and the dashboard", async () => {
  const worker = await startWorker({ clientsDir: mkdtempSync(join(tmpdir(), "ct-home-")) });
  const { status, headers, body } = await worker.ask("GET", "/");
  expect(status).toBe(200);
  expect(headers["content-type"]).toBe("text/html; charset=utf-8");
  expect(headers["content-security-policy"]).toMatch(/^default-src 'none'; script-src 'self'/);
  for (const part of [
    "<h1>CodeTogether edge</h1>",
    "hosted by Test Inc.",
    `<pre id="server-url">http://127.0.0.1:${worker.port}</pre>`,
    'href="/clients"',
    'href="/dashboard/"',
  ]) {
    expect(body).toContain(part);
  }
  expect(body).not.toMatch(/style=|onclick|<script(?! type="module" src="\/home\.js">)/);
});

test("the home page does not link to plugins that the server does not offer", async () => {
  const worker = await startWorker();
  const { body } = await worker.ask("GET", "/");
  expect(body).not.toContain("/clients");
  expect(body).toContain("from the marketplace of your IDE");
});

test("the home page shows the URL that the operator has set, and links below its path", async () => {
  const worker = await startWorker({ serverUrl: "https://edge.example.com/base/" });
  for (const path of ["/", "/base", "/base/"]) {
    const { body } = await worker.ask("GET", path);
    expect(body).toContain('<pre id="server-url">https://edge.example.com/base</pre>');
    expect(body).toContain('href="/base/dashboard/"');
    expect(body).toContain('href="/base/home.css"');
  }
});

test("the home page does not echo a malformed host name", async () => {
  const worker = await startWorker();
  const headers = { "x-ct-edge": worker.proof, "x-forwarded-host": `"><script>alert(1)</script>` };
  const { body } = await worker.ask("GET", "/", { headers });
  expect(body).toContain('<pre id="server-url">http://localhost</pre>');
  expect(body).not.toContain("alert");
});

test("the home page answers HEAD and OPTIONS with 200 for health checks, and refuses other methods", async () => {
  const worker = await startWorker();
  expect(await worker.ask("HEAD", "/")).toMatchObject({ status: 200, body: "" });
  expect((await worker.ask("OPTIONS", "/")).status).toBe(200);
  expect(await worker.ask("POST", "/")).toMatchObject({
    status: 405,
    headers: { allow: "GET, HEAD, OPTIONS" },
  });
});

describe.runIf(hasChromium)("in a browser", () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await launchChromium();
  });
  afterAll(() => browser?.close());

  test.each([
    { width: 1280, height: 800, colorScheme: "light" },
    { width: 360, height: 640, colorScheme: "dark" },
  ] as const)(
    "the page breaks none of its own rules and fits $width pixels",
    async ({ width, height, colorScheme }) => {
      const worker = await startWorker({ clientsDir: mkdtempSync(join(tmpdir(), "ct-home-")) });
      const { context, page, complaints } = await openLooker(browser, {
        viewport: { width, height },
        colorScheme,
      });
      onTestFinished(() => context.close());
      await page.goto(`${worker.url}/#aB3dE5fG7hJ9kL1mN3pQ5rS7`);
      expect(await page.textContent("#server-url")).toBe(worker.url);
      const overflow = await page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth",
      );
      expect(overflow).toBe(0);
      expect(complaints).toEqual([]);
    },
  );
});

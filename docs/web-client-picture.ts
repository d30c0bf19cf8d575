/**
 * `npx tsx docs/web-client-picture.ts` makes docs/web-client.png, the picture of the README: two people in one file, as the
 * host sees it, in a real session. Needs Chromium.
 */
import { fileURLToPath } from "node:url";
import { launchChromium } from "../test/support/browser.ts";
import { Client } from "../test/support/clients.ts";
import { startEdge } from "../test/support/edge-process.ts";
import { WebPerson } from "../test/support/web-client.ts";

const FOLDER = "scratch";
const FILES: Readonly<Record<string, string>> = {
  "src/cart.ts": `import { format } from "./money.ts";

export interface Item {
  readonly name: string;
  readonly cents: number;
  readonly count: number;
}

/** The sum of all items, in cents. */
export function total(items: readonly Item[]): number {
  return items.reduce((sum, { cents, count }) => sum + cents * count, 0);
}

export function receipt(items: readonly Item[]): string {
  const lines = items.map(({ name, cents, count }) => {
    return \`\${count} × \${name.padEnd(24)} \${format(cents * count)}\`;
  });
  return [...lines, "", \`Total: \${format(total(items))}\`].join("\\n");
}
`,
  "src/money.ts": "export const format = (cents: number): string => (cents / 100).toFixed(2);\n",
  "test/cart.test.ts": 'import { total } from "../src/cart.ts";\n',
  "package.json": '{ "name": "shop", "type": "module" }\n',
};
const PAGE = { viewport: { width: 1440, height: 810 }, colorScheme: "light" } as const;

const edge = await startEdge({ env: { CT_MEETING_URL: "https://meet.example.com/{room}" } });
const browser = await launchChromium();
try {
  const [anna, ben] = await Promise.all([
    WebPerson.open(browser, "Anna", PAGE),
    WebPerson.open(browser, "Ben", PAGE),
  ]);
  const link = await anna.startSession(edge.httpUrl);
  await fill(anna, new URL(link).hash.slice(1));
  await ben.knock(link);
  await anna.allow("Ben");
  await ben.entered();
  await anna.choose("src");
  await anna.choose("cart.ts");
  // Guests follow the host at first.
  for (const person of [anna, ben]) await person.sees("receipt");
  await anna.button("Close README.md").click();
  await say(ben, "The total ignores the discount. May I add it?");
  await say(anna, "Yes, please. I’ll write the test.");
  await anna.page.getByText("May I add it?").waitFor();
  await place(anna, "sum + cents");
  await anna.page.keyboard.press("Shift+End");
  await anna.page.locator(".toast").first().waitFor({ state: "hidden" });
  await place(ben, "/** The sum");
  await ben.page.keyboard.type("export type Discount = (cents: number) => number;");
  await ben.page.keyboard.press("Enter");
  await ben.page.keyboard.press("Enter");
  await anna.sees("number;\n\n/** The sum");
  await anna.page.getByText("Saved").waitFor();
  for (const key of ["ArrowUp", "ArrowUp", "End"]) await ben.page.keyboard.press(key);
  const line = anna.page.locator(".cm-line", { hasText: "Discount" });
  await line.locator(".remote-caret.is-named").waitFor();
  await anna.page.screenshot({ path: fileURLToPath(new URL("web-client.png", import.meta.url)) });
} finally {
  await browser.close();
  await edge.dispose();
}

/** A client writes the files, and leaves. */
async function fill(host: WebPerson, room: string): Promise<void> {
  const writer = new Client({ baseUrl: edge.httpUrl, name: "Writer" });
  const joining = writer.join(room);
  await host.allow("Writer");
  await joining;
  const { fs } = writer.connection;
  const hostId = writer.inits[0]?.host.id ?? "";
  for (const folder of ["src", "test"]) await fs.mkdir(hostId, `${FOLDER}/${folder}`);
  for (const [path, text] of Object.entries(FILES)) {
    await fs.writeFile(hostId, `${FOLDER}/${path}`, { content: new TextEncoder().encode(text) });
  }
  await fs.delete(hostId, `${FOLDER}/hello.js`);
  await writer.leave();
  await writer.close();
}

async function say(person: WebPerson, text: string): Promise<void> {
  await person.page.locator(".chat textarea, .chat input").fill(text);
  await person.button("Send").click();
}

/** Puts the caret before `text`. */
async function place(person: WebPerson, text: string): Promise<void> {
  const before = (await person.text()).split(text)[0] ?? "";
  const lines = before.split("\n");
  await person.editor.click();
  await person.page.keyboard.press("Control+Home");
  for (let line = 1; line < lines.length; line++) await person.page.keyboard.press("ArrowDown");
  for (const _ of lines.at(-1) ?? "") await person.page.keyboard.press("ArrowRight");
}

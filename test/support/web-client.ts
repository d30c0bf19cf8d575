/**
 * People who use the browser client, each in a browser context of their own, by what they see: names of buttons and fields,
 * and the text in the editor.
 */
import type { Browser, BrowserContext, Locator, Page } from "playwright-core";
import { type Looker, openLooker, openTab } from "./browser.ts";
import type { Client } from "./clients.ts";
import { until } from "./until.ts";

export type ContextOptions = Parameters<Browser["newContext"]>[0];

/** Several browsers may enter at once, on a busy machine. */
const ENTER_MS = 60_000;
const SEE_MS = 30_000;

/** A pair of 4,096 bits takes seconds of CPU, and a test has many people. It protects only texts of tests. */
const SMALL_KEYS = `
  const generate = crypto.subtle?.generateKey.bind(crypto.subtle);
  if (generate) crypto.subtle.generateKey = (algorithm, ...rest) =>
    generate({ ...algorithm, ...(algorithm.modulusLength && { modulusLength: 2048 }) }, ...rest);
`;

export class WebPerson {
  readonly name: string;
  readonly page: Page;
  readonly context: BrowserContext;
  readonly complaints: readonly string[];

  constructor(name: string, { page, context, complaints }: Looker) {
    this.name = name;
    this.page = page;
    this.context = context;
    this.complaints = complaints;
    page.setDefaultTimeout(SEE_MS);
  }

  static async open(browser: Browser, name: string, options?: ContextOptions): Promise<WebPerson> {
    const looker = await openLooker(browser, options);
    await looker.context.addInitScript(SMALL_KEYS);
    return new WebPerson(name, looker);
  }

  /** One more tab of a browser. */
  static async inContext(context: BrowserContext, name: string): Promise<WebPerson> {
    return new WebPerson(name, await openTab(context));
  }

  button(name: string | RegExp): Locator {
    return this.page.getByRole("button", { name, exact: typeof name === "string" });
  }

  /** The text that is being edited. */
  get editor(): Locator {
    return this.page.locator(".cm-content");
  }

  /** Starts a session with a scratch workspace; resolves with the invitation link. */
  async startSession(url: string): Promise<string> {
    await this.page.goto(url);
    await this.button("New scratch workspace").click();
    await this.signIn("Continue");
    await this.entered();
    return this.page.url();
  }

  /** Asks to join; the host has to be asked separately. */
  async knock(link: string): Promise<void> {
    await this.page.goto(link);
    await this.signIn("Ask to join");
  }

  async signIn(verb: string): Promise<void> {
    const field = this.page.locator(".sign-in-form input").first();
    await field.fill(this.name);
    await this.page.locator(".sign-in-form").first().getByRole("button", { name: verb }).click();
  }

  async allow(name: string): Promise<void> {
    await this.button(`Allow ${name}`).click({ timeout: ENTER_MS });
  }

  /** Resolves when the workspace is shown. */
  async entered(): Promise<void> {
    await this.page.locator(".workspace").waitFor({ timeout: ENTER_MS });
  }

  /** Clicks a file or a folder in the tree. */
  async choose(name: string): Promise<void> {
    await this.page.getByRole("treeitem", { name }).first().click();
  }

  async goToEnd(): Promise<void> {
    await this.editor.click();
    await this.page.keyboard.press("Control+End");
  }

  /** Types at the end of the text. */
  async type(text: string): Promise<void> {
    await this.goToEnd();
    await this.page.keyboard.type(text);
  }

  /** All of the text; the editor itself only has the lines in view. */
  text(): Promise<string> {
    return this.editor.evaluate((content) => {
      const { cmTile, cmView } = content as unknown as Record<string, TextOwner | undefined>;
      const view = cmTile?.view ?? cmView?.view;
      if (view === undefined) throw new Error("the editor's text is not where it was");
      return view.state.doc.toString();
    });
  }

  async sees(text: string): Promise<void> {
    let seen = "";
    const isSeen = async (): Promise<boolean> => {
      seen = await this.text();
      return seen.includes(text);
    };
    await until(`${this.name} sees ${text}`, isSeen, SEE_MS).catch((error: unknown) => {
      throw new Error(`${this.name} does not see "${text}" but "${seen}"`, { cause: error });
    });
  }

  /** Resolves when the connection is up. */
  async isLive(): Promise<void> {
    await this.page.locator(".connection.live").waitFor({ timeout: ENTER_MS });
  }

  async shows(title: string): Promise<void> {
    await this.page.getByRole("heading", { name: title }).waitFor({ timeout: ENTER_MS });
  }

  close(): Promise<void> {
    return this.context.close();
  }
}

/** Shares these files as an IDE's plugin does: it lists them, and shares the text of a file that a guest opens. */
export function serveFiles(
  host: Client,
  files: Readonly<Record<string, string | Uint8Array>>,
): void {
  const { fs, editor } = host.connection;
  const bytesOf = (path: string): Uint8Array => {
    const content = Object.hasOwn(files, path) ? files[path] : undefined;
    if (content === undefined) throw new Error(`ENOENT: ${path}`);
    return typeof content === "string" ? new TextEncoder().encode(content) : content;
  };
  fs.onReaddir((_, folder) => {
    const names = Object.keys(files)
      .filter((path) => path.startsWith(`${folder}/`))
      .map((path) => path.slice(folder.length + 1).split("/"));
    return Object.fromEntries(names.map(([name, ...rest]) => [name, rest.length > 0 ? 2 : 1]));
  });
  fs.onStat((_, path) => ({ type: 1, mtime: 0, ctime: 0, size: bytesOf(path).length }));
  fs.onReadFile((_, path) => ({ content: bytesOf(path) }));
  editor.onOpen((_, path) => {
    const content = files[path];
    const text = host.document.getText(path);
    if (typeof content === "string" && text.length === 0) text.insert(0, content);
  });
}

/** Where CodeMirror keeps the view of its content element. */
interface TextOwner {
  readonly view?: { readonly state: { readonly doc: { toString(): string } } };
}

/** A host and a guest with the workspace's first file open. */
export async function pairOf(
  browser: Browser,
  url: string,
  options?: ContextOptions,
): Promise<{ readonly host: WebPerson; readonly guest: WebPerson; readonly link: string }> {
  const [host, guest] = await Promise.all([
    WebPerson.open(browser, "Anna", options),
    WebPerson.open(browser, "Ben", options),
  ]);
  const link = await host.startSession(url);
  await guest.knock(link);
  await host.allow(guest.name);
  await guest.entered();
  await Promise.all([host.editor.waitFor(), guest.editor.waitFor()]);
  return { host, guest, link };
}

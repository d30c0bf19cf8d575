/**
 * The browser client among others: unmodified clients of the protocol as hosts and guests, several browsers, several sessions
 * in one browser, and hosts that send what no browser can edit.
 */
import type { Browser, Page } from "playwright-core";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { hasChromium, launchChromium } from "../support/browser.ts";
import type { Client } from "../support/clients.ts";
import { ownerOf } from "../support/edge-commands.ts";
import { type EdgeProcess, startEdge } from "../support/edge-process.ts";
import { person } from "../support/people.ts";
import { until } from "../support/until.ts";
import { serveFiles, WebPerson } from "../support/web-client.ts";

const FILE = "src/main.ts";

describe.runIf(hasChromium)("a browser client among other clients", () => {
  let edge: EdgeProcess;
  let browser: Browser;

  beforeAll(async () => {
    [edge, browser] = await Promise.all([startEdge(), launchChromium()]);
  }, 120_000);

  afterEach(async () => {
    await Promise.all(browser.contexts().map((context) => context.close()));
  });

  /** A session of an IDE's client, whose host accepts everybody. */
  async function ideSession(
    files: Readonly<Record<string, string | Uint8Array>>,
    protocol: "0.3.0" | "0.3.3" = "0.3.3",
  ): Promise<{ readonly host: Client; readonly room: string }> {
    const host = person({ baseUrl: edge.httpUrl, name: "Ida", protocol });
    const room = await host.host();
    serveFiles(host, files);
    return { host, room };
  }

  async function guestOf(room: string, name = "Ben"): Promise<WebPerson> {
    const guest = await WebPerson.open(browser, name);
    await guest.knock(`${edge.httpUrl}/join/${room}`);
    await guest.entered();
    return guest;
  }

  test.each(["0.3.0", "0.3.3"] as const)(
    "a session that a client with protocol %s hosts is edited in the browser",
    async (protocol) => {
      const { host, room } = await ideSession({ [FILE]: "let a = 1;\n" }, protocol);
      const guest = await guestOf(room);
      await guest.choose("main.ts");
      await guest.sees("let a = 1;");
      await guest.type("let b = 2;");
      await until("the host has what the guest typed", () => host.text.endsWith("let b = 2;"));
      host.write("// from the host");
      await guest.sees("// from the host");
      expect(await guest.text()).toBe(host.text);
      await host.leave();
      await guest.shows("The session is over");
      expect(guest.complaints).toEqual([]);
    },
    60_000,
  );

  test("clients with protocol 0.3.0 and 0.3.3 join a session that a browser hosts, and edit its files", async () => {
    const host = await WebPerson.open(browser, "Anna");
    const room = new URL(await host.startSession(edge.httpUrl)).hash.slice(1);
    const path = "scratch/README.md";
    for (const protocol of ["0.3.0", "0.3.3"] as const) {
      const guest = person({ baseUrl: edge.httpUrl, name: `Guest ${protocol}`, protocol });
      const joining = guest.join(room);
      await host.allow(guest.name);
      await joining;
      const { fs, editor } = guest.connection;
      const hostId = guest.inits[0]?.host.id ?? "";
      expect(await fs.readdir(hostId, "scratch")).toEqual({ "hello.js": 1, "README.md": 1 });
      await editor.open(hostId, path);
      const text = guest.document.getText(path);
      await until("the host shares the text", () => text.length > 0);
      text.insert(0, `from ${protocol}\n`);
      await host.sees(`from ${protocol}\n`);
      await until("the host has saved it", async () => {
        const { content } = await fs.readFile(hostId, path);
        return new TextDecoder().decode(content) === text.toJSON();
      });
    }
    await host.type("from the browser");
    await host.button("End").click();
    await host.button("End session").click();
    await host.shows("You ended the session");
    expect(host.complaints).toEqual([]);
  }, 90_000);

  test("five browsers edit one file", async () => {
    const { host, room } = await ideSession({ [FILE]: "start\n" });
    const guests = await Promise.all(["A", "B", "C", "D", "E"].map((name) => guestOf(room, name)));
    for (const guest of guests) {
      await guest.choose("main.ts");
      await guest.sees("start");
    }
    await Promise.all(guests.map((guest) => guest.type(`<${guest.name.repeat(20)}>`)));
    const isEqual = async (): Promise<boolean> => {
      const texts = new Set(await Promise.all(guests.map((guest) => guest.text())));
      return (
        texts.size === 1 && texts.has(host.text) && host.text.length === "start\n".length + 110
      );
    };
    await until("all have all of it", isEqual, 30_000);
  }, 120_000);

  test.each(["polling", "websocket"] as const)(
    "two tabs of one browser in two sessions both work by %s alone, with the cookie of the other session",
    async (transport) => {
      const [one, two] = await sessionsOfTwoWorkers();
      const first = await WebPerson.open(browser, "One");
      const { context } = first;
      const tabs = [first, await WebPerson.inContext(context, "Two")] as const;
      for (const [tab, own, foreign] of [
        [tabs[0], one, two] as const,
        [tabs[1], two, one] as const,
      ]) {
        const cookie = { name: "ctstickiness", value: foreign.room, url: edge.httpUrl };
        await context.addCookies([cookie]);
        const used = transportsOf(tab.page);
        await tab.page.goto(`${edge.httpUrl}/?transport=${transport}#${own.room}`);
        const known = tab.button(/Continue as/);
        const form = tab.page.locator(".sign-in-form");
        await known.or(form).first().waitFor();
        if (await known.isVisible()) await known.click();
        else await tab.signIn("Ask to join");
        await tab.entered();
        await tab.choose("main.ts");
        await tab.type(`by ${tab.name}`);
        await until("its host has it", () => own.host.text.includes(`by ${tab.name}`));
        expect(used).toEqual(new Set([transport]));
      }
      one.host.write("one again");
      two.host.write("two again");
      await tabs[0].sees("one again");
      await tabs[1].sees("two again");
    },
    90_000,
  );

  /** Two sessions on different workers. */
  async function sessionsOfTwoWorkers() {
    const first = await ideSession({ [FILE]: "first\n" });
    for (;;) {
      const second = await ideSession({ [FILE]: "second\n" });
      if ((await ownerOf(edge, first.room)) !== (await ownerOf(edge, second.room)))
        return [first, second] as const;
      await second.host.leave();
    }
  }

  test("a guest that is refused, a session that does not exist and a link of another edge are explained", async () => {
    const { host, room } = await ideSession({});
    host.decide = () => "reject";
    const guest = await WebPerson.open(browser, "<b>Ben</b>");
    await guest.knock(`${edge.httpUrl}/#${room}`);
    await guest.shows("The host did not let you in");
    expect(host.joinRequests[0]?.name).toBe("<b>Ben</b>");
    await guest.page.goto(`${edge.httpUrl}/join/${"x".repeat(24)}`);
    await guest.button(/Continue as/).click();
    await guest.shows("There is no such session");
    await guest.page.goto(edge.httpUrl);
    await guest.page.getByLabel("Link or code").fill("https://other.example.com/#aB3dE5fG7hJ9kL1m");
    await guest.button("Join").click();
    await guest.page.getByRole("link", { name: "Open it on other.example.com" }).waitFor();
  }, 60_000);

  test("files that cannot be edited are shown for what they are, and a deleted one keeps its text", async () => {
    const { host, room } = await ideSession({
      "src/a.bin": Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0, 0, 0, 0, 1, 2, 3, 255),
      "src/b.txt": Uint8Array.of(0x63, 0x61, 0x66, 0xe9),
      "src/c.txt": `${"x".repeat(10_000)}\n${"y".repeat(10_000)}\n`,
      "src/d.txt": "kept\n",
      "src/<img src=x onerror=alert(1)>": "markup\n",
      // Clients of a hostile host must not leave the workspace, nor show two files as one.
      "src/../../etc": "no",
    });
    const guest = await guestOf(room);
    await guest.choose("a.bin");
    await guest.page.getByText("Not a text file, 12 bytes").waitFor();
    await guest.choose("b.txt");
    await guest.page.getByText("This text is not UTF-8").waitFor();
    expect(await guest.text()).toBe("café");
    await guest.choose("c.txt");
    await guest.sees(`${"x".repeat(10_000)}\n`);
    await guest.choose("<img src=x onerror=alert(1)>");
    await guest.sees("markup");
    await guest.choose("d.txt");
    await guest.sees("kept");
    await guest.type("mine");
    await host.connection.fs.change({ changes: [{ type: 2, path: "src/d.txt" }] });
    await guest.page.getByText("This file was deleted or renamed").waitFor();
    expect(await guest.text()).toBe("kept\nmine");
    expect(await guest.page.getByRole("treeitem", { name: "etc" }).count()).toBe(0);
    expect(guest.complaints).toEqual([]);
  }, 60_000);
});

/** The transports that a page's connections to a session use, from now on. */
function transportsOf(page: Page): ReadonlySet<string> {
  const used = new Set<string>();
  page.on("request", (request) => {
    if (request.url().includes("transport=polling")) used.add("polling");
  });
  page.on("websocket", () => used.add("websocket"));
  return used;
}

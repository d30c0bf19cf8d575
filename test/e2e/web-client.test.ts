/**
 * The browser client through a balancer and two workers, as people use it: each in a browser of their own, over HTTP on this
 * machine and over TLS.
 */
import type { Browser } from "playwright-core";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { hasChromium, launchChromium } from "../support/browser.ts";
import { askEdgeTo, ownerOf, pidsOf } from "../support/edge-commands.ts";
import { type EdgeProcess, startEdge } from "../support/edge-process.ts";
import { until } from "../support/until.ts";
import { pairOf, WebPerson } from "../support/web-client.ts";

/** Of the self-signed certificate. */
const TRUSTING = { ignoreHTTPSErrors: true };
/** What the browser itself notes when a worker goes. */
const CONNECTION_LOST = /^WebSocket connection to|^Failed to load resource/;
/** Longest pause of a drain that people may see. */
const DRAIN_PAUSE_MS = 2000;

describe.runIf(hasChromium)("in browsers", () => {
  let edge: EdgeProcess;
  let browser: Browser;

  beforeAll(async () => {
    [edge, browser] = await Promise.all([startEdge(), launchChromium()]);
  }, 120_000);

  test("two people type into the same line and see each other's carets, over TLS and below a key", async () => {
    const url = `${edge.httpsUrl}/k/team/`;
    const { host, guest, link } = await pairOf(browser, url, TRUSTING);
    expect(link.startsWith(`${url}#`)).toBe(true);
    await typeTogether(host, guest);
    await Promise.all([host.close(), guest.close()]);
  }, 90_000);

  test("a second tab of the same browser joins as one more person, under another name", async () => {
    const host = await WebPerson.open(browser, "Anna");
    const link = await host.startSession(edge.httpUrl);
    const guest = await WebPerson.inContext(host.context, "Ben");
    await guest.page.goto(link);
    await guest.button("Join as one more person").click();
    await guest.button("Use another name").click();
    await guest.signIn("Ask to join");
    await host.allow("Ben");
    await guest.entered();
    await guest.type("from the second tab");
    await host.sees("from the second tab");
    await host.close();
  }, 90_000);

  /** One after the other, in one session. */
  describe("in one session", () => {
    let host: WebPerson;
    let guest: WebPerson;
    let link: string;

    beforeAll(async () => {
      ({ host, guest, link } = await pairOf(browser, edge.httpUrl));
    }, 120_000);

    afterEach(() => {
      const all = [...host.complaints, ...guest.complaints];
      expect(all.filter((complaint) => !CONNECTION_LOST.test(complaint))).toEqual([]);
    });

    async function twoPeople(): Promise<void> {
      await equal(host, guest);
      expect(await host.page.locator(".people .person").count()).toBe(2);
      expect(await host.page.locator(".join-request").count()).toBe(0);
    }

    test("two people type into the same line and see each other's carets", async () => {
      await typeTogether(host, guest);
    });

    test("guests cannot type while the host has made the session read-only", async () => {
      const before = await guest.text();
      const edits = host.page.getByRole("switch", { name: "Guests can edit" });
      await edits.click();
      await guest.page.getByText("Read-only").first().waitFor();
      await guest.type("not allowed");
      expect(await guest.text()).toBe(before);
      await edits.click();
      await guest.page.locator('.cm-content[aria-readonly="false"]').waitFor();
      await guest.type("allowed");
      await host.sees("allowed");
      expect(await host.text()).not.toContain("not allowed");
    });

    test("a reloaded guest and a reloaded host are the same people, without being asked again", async () => {
      await guest.type("before ");
      await host.sees("before ");
      await guest.page.reload();
      await guest.isLive();
      await guest.type("between ");
      await host.sees("between ");
      await host.page.reload();
      await host.isLive();
      await host.type("after ");
      await guest.sees("after ");
      await twoPeople();
    }, 60_000);

    test("a guest whose tab was closed returns by the same link as the same person, and a second tab asks first", async () => {
      const { context } = guest;
      await guest.page.close();
      guest = await WebPerson.inContext(context, guest.name);
      await guest.page.goto(link);
      await guest.isLive();
      await guest.type("closed and back ");
      await host.sees("closed and back ");
      await twoPeople();
      const second = await WebPerson.inContext(context, guest.name);
      await second.page.goto(link);
      await second.button("Use it here").click();
      await second.isLive();
      await guest.shows("The session is open in another tab");
      await guest.page.close();
      guest = second;
      await guest.type("in the second tab ");
      await host.sees("in the second tab ");
      await twoPeople();
    }, 90_000);

    test("no key is lost or doubled when their worker is drained, and the pause is short", async () => {
      const pause = await watchPauses(host);
      const typing = typeUntilStopped([guest]);
      await typing.reached(10);
      const control = await pause.longest();
      const owner = await ownerOf(edge, roomOf(link));
      expect(await askEdgeTo(edge, "drain", owner)).toMatchObject({ status: 0 });
      await typing.reached(40);
      const words = await typing.stop();
      await everyWordOnce(host, guest, words);
      expect((await pause.longest()) - control).toBeLessThan(DRAIN_PAUSE_MS);
      expect(await ownerOf(edge, roomOf(link))).not.toBe(owner);
      expect(await askEdgeTo(edge, "resume", owner)).toMatchObject({ status: 0 });
    }, 120_000);

    test("both pages go on by themselves when their worker is killed, and nothing typed is lost", async () => {
      const typing = typeUntilStopped([host, guest]);
      await typing.reached(10);
      const owner = await ownerOf(edge, roomOf(link));
      process.kill((await pidsOf(edge))[owner] ?? 0, "SIGKILL");
      await typing.reached(30);
      const words = await typing.stop();
      await everyWordOnce(host, guest, words);
      await twoPeople();
    }, 120_000);
  });
});

function roomOf(link: string): string {
  return new URL(link).hash.slice(1);
}

async function typeTogether(host: WebPerson, guest: WebPerson): Promise<void> {
  // Both carets are at the same place before the first key: then each one's keys stay together, whichever come first.
  await Promise.all([host.goToEnd(), guest.goToEnd()]);
  await Promise.all([host.page.keyboard.type("left "), guest.page.keyboard.type("right ")]);
  await Promise.all([host.sees("right "), guest.sees("left ")]);
  await equal(host, guest);
  await host.page.locator(".remote-caret", { hasText: guest.name }).waitFor();
  await guest.page.locator(".remote-caret", { hasText: host.name }).waitFor();
  expect([...host.complaints, ...guest.complaints]).toEqual([]);
}

// --- what people have ---

async function equal(...people: readonly WebPerson[]): Promise<void> {
  await until(
    "all have the same text",
    async () => new Set(await Promise.all(people.map((person) => person.text()))).size === 1,
  );
}

async function everyWordOnce(
  host: WebPerson,
  guest: WebPerson,
  words: readonly string[],
): Promise<void> {
  await equal(host, guest);
  const text = await host.text();
  expect(words.filter((word) => text.split(word).length !== 2)).toEqual([]);
}

// --- typing ---

interface Typing {
  /** Resolves when each has typed so many words. */
  reached(count: number): Promise<void>;
  /** Resolves with all words. */
  stop(): Promise<readonly string[]>;
}

let runs = 0;

/** Each types numbered words, one key after the other: the first at the end of the text, others at its beginning. */
function typeUntilStopped(people: readonly WebPerson[]): Typing {
  const words: string[] = [];
  const counts = new Map<WebPerson, number>(people.map((person) => [person, 0]));
  const run = ++runs;
  let isStopped = false;

  async function type(person: WebPerson): Promise<void> {
    await person.editor.click();
    await person.page.keyboard.press(person === people[0] ? "Control+End" : "Control+Home");
    for (let count = 1; !isStopped; count++) {
      const word = `[${person.name[0]}${run}.${count}]`;
      words.push(word);
      await person.page.keyboard.type(word);
      counts.set(person, count);
    }
  }

  const all = Promise.all(people.map(type));
  return {
    reached: (count) =>
      until(
        `all have typed ${count} words`,
        () => [...counts.values()].every((typed) => typed >= count),
        60_000,
      ).then(() => {}),
    async stop() {
      isStopped = true;
      await all;
      return words;
    },
  };
}

/** Notes the longest time in which the text of the page did not change. */
const NOTE_PAUSES = `
  var pauses = { lastMs: performance.now(), longestMs: 0 };
  new MutationObserver(() => {
    const nowMs = performance.now();
    pauses.longestMs = Math.max(pauses.longestMs, nowMs - pauses.lastMs);
    pauses.lastMs = nowMs;
  }).observe(document.querySelector(".cm-content"), {
    childList: true, subtree: true, characterData: true,
  });
`;

async function watchPauses({ page }: WebPerson): Promise<{ longest(): Promise<number> }> {
  await page.evaluate(NOTE_PAUSES);
  return { longest: () => page.evaluate<number>("pauses.longestMs") };
}

/** The forty cases of policies in the browser page, in real Chromium: who is refused reads the reason there. */
import type { Browser } from "playwright-core";
import { beforeAll, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { hasChromium, launchChromium } from "../../support/browser.ts";
import { buildOnce } from "../../support/build.ts";
import { CASES, policyOf, type Who } from "../../support/policy-cases.ts";
import { until } from "../../support/until.ts";
import { pairOf, WebPerson } from "../../support/web-client.ts";
import { type PolicyWorker, startPolicyWorker } from "./fixture.ts";

/** Of the page's database. */
declare const indexedDB: {
  open(name: string): { result: unknown; onsuccess: () => void; onerror: () => void };
};

describe.runIf(hasChromium)("in a browser", () => {
  let browser: Browser;
  let { worker, use, tokenOf, openRoom } = {} as PolicyWorker;

  beforeAll(async () => {
    [browser] = await Promise.all([launchChromium(), buildOnce()]);
    return () => browser.close();
  }, 120_000);

  beforeEach(async () => {
    const clientFolder = new URL("../../../dist/worker/web/client/app/", import.meta.url);
    ({ worker, use, tokenOf, openRoom } = await startPolicyWorker({ clientFolder }));
  });

  /** A page that somebody has signed in on before. */
  async function pageOf(who: Who): Promise<WebPerson> {
    const person = await WebPerson.open(browser, who);
    onTestFinished(() => person.close());
    await person.page.goto(worker.url);
    await person.button("New scratch workspace").waitFor();
    await person.page.evaluate(putUser, { key: worker.url, name: who, token: await tokenOf(who) });
    return person;
  }

  test.each(CASES.map((one, index) => ({ ...one, number: index + 1 })))(
    "the browser shows what the policy decides in case $number: $who, of $of, by $rules",
    async ({ who, of, refusal, ...rules }) => {
      const room = of === undefined ? undefined : await openRoom(of);
      const person = await pageOf(who);
      use(policyOf(rules));
      if (room === undefined) await person.button("New scratch workspace").click();
      else await person.page.goto(`${worker.url}/join/${room.roomId}`);
      await person.button(/^(Continue|Join|Ask to join) as/).click();
      if (refusal !== undefined) await person.page.getByText(refusal).waitFor();
      else if (room === undefined) await person.entered();
      // The host of these tests does not send a workspace to guests.
      else await until("the guest is in", () => peopleIn(room.roomId) === 2);
      expect(person.complaints.filter((text) => !text.includes("status of 403"))).toEqual([]);
    },
  );

  test("a guest for whom the policy suggests it reads only, until the policy says otherwise; other clients know nothing of it", async () => {
    const look =
      "{ name: look, who: { apiKeys: [ci] }, readOnly: false }, { name: b, readOnly: true }";
    use(policyOf({ rules: look, otherwise: "allow" }));
    const { host, guest } = await pairOf(browser, worker.url);
    onTestFinished(async () => {
      await Promise.all([host.close(), guest.close()]);
    });
    await guest.page.getByTitle("This server suggests that you only read here").waitFor();
    await until("the editor is read-only", async () => {
      return (await guest.editor.getAttribute("aria-readonly")) === "true";
    });
    // The host's own page is not concerned.
    await host.type("from the host");
    await guest.sees("from the host");

    use(policyOf({ rules: "{ name: a, join: allow }", otherwise: "allow" }));
    await guest.page.reload();
    await guest.entered();
    await guest.editor.waitFor();
    await until("the editor is not read-only", async () => {
      return (await guest.editor.getAttribute("aria-readonly")) === "false";
    });
    await guest.type("from the guest");
    await host.sees("from the guest");
  });

  function peopleIn(roomId: string): number {
    return [...(worker.registry.live(roomId as never)?.peers ?? [])].length;
  }
});

/** Runs in the page. */
function putUser({ key, name, token }: { key: string; name: string; token: string }) {
  return new Promise<void>((resolve, reject) => {
    const opening = indexedDB.open("codetogether-edge");
    opening.onerror = reject;
    opening.onsuccess = () => {
      const database = opening.result as {
        transaction(
          store: string,
          mode: string,
        ): {
          objectStore(store: string): { put(value: object, key: string): unknown };
          oncomplete: () => void;
        };
        close(): void;
      };
      const change = database.transaction("users", "readwrite");
      change.objectStore("users").put({ name, token }, key);
      change.oncomplete = () => {
        database.close();
        resolve();
      };
    };
  });
}

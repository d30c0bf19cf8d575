/** Unmodified clients sign in at a real OpenID Connect provider, over two workers. */
import { beforeEach, describe, expect, test } from "vitest";
import { hasChromium, launchChromium } from "../support/browser.ts";
import {
  account,
  type IdentityCluster,
  startIdentityCluster,
  YES,
} from "../support/identity-cluster.ts";
import { type Account, TestBrowser } from "../support/identity-provider.ts";
import { everybodyHears, person } from "../support/people.ts";
import { PROTOCOL_PACKAGES } from "../support/protocols.ts";
import { until } from "../support/until.ts";
import { WebPerson } from "../support/web-client.ts";

const ADA = account("1", "Ada Lovelace");
const GRACE = account("2", "Grace Hopper");

let { front, cluster, provider, clientOf } = {} as IdentityCluster;

beforeEach(async () => {
  const env = { CT_LOGIN_SIMPLE: "off", CT_OIDC_RECHECK_MS: "1000" };
  ({ front, cluster, provider, clientOf } = await startIdentityCluster(ADA, env));
});

describe.each(PROTOCOL_PACKAGES.map((version) => [version]))("clients of version %s", (version) => {
  test("people of an identity provider host and join under the names of their accounts", async () => {
    const host = clientOf(ADA, { protocol: version });
    const sessionId = await host.host();
    const guest = clientOf(GRACE, { protocol: version });
    await guest.join(sessionId);
    await until("the host sees who has come", () => host.joined.length === 1);
    expect(host.joined[0]).toMatchObject({ name: "Grace Hopper", email: "2@example.com" });
    await everybodyHears(host, [guest], "hello");
  });
});

test.runIf(hasChromium)(
  "in Chromium a person signs in in a second tab, and hosts and joins in the first",
  async () => {
    const browser = await launchChromium();

    async function signedIn(who: Account, link: string, verb: string): Promise<WebPerson> {
      provider.account = who;
      const web = await WebPerson.open(browser, String(who["name"]));
      await web.page.goto(link);
      if (verb === "host") await web.button("New scratch workspace").click();
      const opened = web.page.waitForEvent("popup");
      await web.button("Company account").click();
      const tab = await opened;
      expect(await tab.locator("main").textContent()).toContain("A browser at the address");
      await tab.getByRole("button", { name: "Sign in with Company account" }).click();
      await tab.getByText(`Welcome, ${web.name}.`).waitFor();
      expect(web.complaints).toEqual([]);
      return web;
    }

    const host = await signedIn(ADA, front.url, "host");
    await host.entered();
    const guest = await signedIn(GRACE, host.page.url(), "join");
    await host.allow("Grace Hopper");
    await guest.entered();
    await guest.page.getByText("Ada Lovelace").first().waitFor();

    provider.accounts.delete("2");
    await guest.shows("You are no longer in the session");
    await guest.page.getByText("Company account has ended your sign-in").waitFor();
    await host.page.getByText("Grace Hopper has left").waitFor();
  },
);

test("a sign-in is finished by another worker when the one where it began is killed meanwhile", async () => {
  const browser = new TestBrowser();
  let killed: string | undefined;
  const client = person({
    baseUrl: front.url,
    name: "Ada",
    retryRequestsMs: 10_000,
    signInAt: async (url) => {
      const asked = await browser.open(url);
      const isBack = (next: string): boolean => new URL(next).pathname.endsWith("-callback");
      const answer = await browser.submit(asked, YES, isBack);
      const polled = await until("the client polls", async () => {
        for (const worker of cluster.workers) {
          const { waitingPolls } = (await worker.view()) as { waitingPolls: number };
          if (waitingPolls > 0) return worker;
        }
        return undefined;
      });
      killed = polled.id;
      await polled.kill();
      const page = await until("another worker is asked", async () => {
        const shown = await browser.open(answer.url);
        return shown.status < 500 ? shown : undefined;
      });
      expect(page.text).toContain("Welcome, Ada Lovelace.");
    },
  });
  await client.login();
  expect(killed).toBeDefined();
  expect(await client.provider.validate()).toBe(true);
  await client.host();
});

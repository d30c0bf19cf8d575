/** Operators sign in to the dashboard in Chromium, at a real OpenID Connect provider, over two workers. */
import { expect, test } from "vitest";
import { hasChromium, type Looker, launchChromium, openLooker } from "../support/browser.ts";
import { startIdentityCluster } from "../support/identity-cluster.ts";
import { until } from "../support/until.ts";

const VIEWER = { sub: "1", name: "Ada Lovelace", groups: ["staff"] };
const OWNER = { sub: "2", name: "Grace Hopper", groups: ["owners"] };
const EDITOR = { sub: "3", name: "Alan Turing", groups: ["editors"] };

test.runIf(hasChromium)(
  "an operator sees what its role allows, signs a person out, and is out itself when its groups change",
  async () => {
    const { front, provider, clientOf } = await startIdentityCluster(VIEWER, {
      CT_OIDC_GROUPS: "editors",
      CT_OIDC_RECHECK_MS: "1000",
      CT_DASHBOARD_GROUPS: "view:staff,admin:owners",
    });
    const browser = await launchChromium();

    async function operator(who: typeof VIEWER, view: string): Promise<Looker> {
      provider.account = who;
      const looker = await openLooker(browser);
      const { page } = looker;
      await page.goto(`${front.url}/dashboard/`);
      await page.getByRole("button", { name: "Sign in with Company account" }).click();
      await page.getByText(who.name).waitFor();
      await page.goto(`${front.url}/dashboard/#${view}`);
      return looker;
    }

    const viewer = await operator(VIEWER, "workers");
    await viewer.page.getByRole("cell", { name: "worker-2" }).first().waitFor();
    const drain = (of: Looker) => of.page.getByRole("button", { name: "drain" });
    expect(await drain(viewer).count()).toBe(0);

    const host = clientOf(EDITOR);
    await host.host();
    const owner = await operator(OWNER, "workers");
    await drain(owner).first().waitFor();
    await owner.page.goto(`${front.url}/dashboard/#sessions`);
    owner.page.once("dialog", (dialog) => void dialog.accept());
    await owner.page.getByRole("button", { name: "Sign out Alan Turing" }).click();
    await until("the person is out", () => host.closedCount === 1);
    expect(host.notices).toEqual([expect.stringContaining("An operator of this server")]);

    provider.accounts.set(VIEWER.sub, { ...VIEWER, groups: [] });
    await viewer.page.getByRole("button", { name: "Sign in with Company account" }).waitFor();

    await owner.page.getByRole("button", { name: "Sign out", exact: true }).click();
    await owner.page.getByRole("button", { name: "Sign in with Company account" }).waitFor();
    await owner.page.goto(`${front.url}/dashboard/`);
    expect(new URL(owner.page.url()).pathname).toBe("/dashboard/sign-in");
    expect(owner.complaints).toEqual([]);
  },
);

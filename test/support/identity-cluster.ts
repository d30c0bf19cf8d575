/** Two workers and a balancer behind a front, whose people sign in at a real identity provider. */
import { expect } from "vitest";
import type { Client } from "./clients.ts";
import { type Cluster, type Member, startCluster } from "./cluster.ts";
import { type Front, startFront } from "./front.ts";
import {
  type Account,
  CLIENT,
  startIdentityProvider,
  TestBrowser,
  type TestProvider,
} from "./identity-provider.ts";
import { person } from "./people.ts";
import type { ProtocolPackageName } from "./protocols.ts";

export interface IdentityCluster {
  /** Leads to the balancer; the provider knows its address only. */
  readonly front: Front;
  readonly provider: TestProvider;
  readonly cluster: Cluster;
  readonly balancer: Member;
  /** A client whose user signs in as `who`, in `browser`, when it opens one. */
  readonly clientOf: (
    who: Account,
    how?: { readonly browser?: TestBrowser; readonly protocol?: ProtocolPackageName },
  ) => Client;
}

/** `first`: who signs in at the provider until the test says otherwise. All of it ends with the test. */
export async function startIdentityCluster(
  first: Account,
  env: Readonly<Record<string, string>> = {},
): Promise<IdentityCluster> {
  const front = await startFront(1);
  const { url } = front;
  const provider = await startIdentityProvider(
    [`${url}/api/login/oidc-callback`],
    first,
    `${url}/api/login/oidc-logout`,
  );
  const cluster = await startCluster({
    workers: 2,
    balancers: 1,
    env: {
      CT_OIDC_ISSUER: provider.issuer,
      CT_OIDC_CLIENT_ID: CLIENT.id,
      CT_OIDC_CLIENT_SECRET: CLIENT.secret,
      CT_OIDC_SCOPES: "openid,profile,email,groups",
      ...env,
    },
  });
  const [balancer] = cluster.balancers as [Member];
  front.leadTo(balancer.port);
  return {
    ...{ front, provider, cluster, balancer },
    clientOf(who, { browser = new TestBrowser(), protocol } = {}) {
      const name = String(who["name"]);
      return person({
        baseUrl: url,
        name,
        ...(protocol !== undefined && { protocol }),
        async signInAt(address) {
          provider.account = who;
          const page = await browser.submit(await browser.open(address), YES);
          expect(page.text).toContain(`Welcome, ${name}.`);
        },
      });
    },
  };
}

/** The button with which a person confirms that the sign-in is its own. */
export const YES = { name: "answer", value: "yes" };

export function account(sub: string, name: string): Account {
  return { sub, name, email: `${sub}@example.com`, email_verified: true, groups: ["staff"] };
}

/**
 * A real OpenID Connect provider on loopback (the npm package oidc-provider), and a browser that signs in there. Each person who comes
 * is signed in as the account that the test has chosen, without a form.
 */
import { generateKeyPairSync } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import Provider, { type Configuration, type InteractionResults } from "oidc-provider";
import { Agent, request } from "undici";
import { listen } from "./servers.ts";

export const CLIENT = { id: "edge", secret: "the secret of the edge at its provider" };

export interface Account {
  readonly sub: string;
  readonly [claim: string]: unknown;
}

export interface TestProvider {
  readonly issuer: string;
  /** Who is signed in next; undefined: the person says no. */
  account: Account | undefined;
  /** Those who have signed in, by `sub`: a change shows in the next check, and one who is removed is refused. */
  readonly accounts: Map<string, Account>;
  /** Refresh tokens that were used; each is good once. */
  readonly refreshed: string[];
  /** Whether it closes each connection without a response. */
  isDown: boolean;
}

/** `redirectUris`: where the edge is. `logoutUri`: where it hears who has signed out. */
export async function startIdentityProvider(
  redirectUris: readonly string[],
  account: Account,
  logoutUri?: string,
): Promise<TestProvider> {
  const server = createServer();
  const issuer = `http://127.0.0.1:${await listen(server)}`;
  const accounts = new Map<string, Account>();
  const running: TestProvider = { issuer, account, accounts, refreshed: [], isDown: false };
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const configuration: Configuration = {
    clients: [
      {
        client_id: CLIENT.id,
        client_secret: CLIENT.secret,
        redirect_uris: [...redirectUris],
        grant_types: ["authorization_code", "refresh_token"],
        response_types: ["code"],
        ...(logoutUri !== undefined && {
          backchannel_logout_uri: logoutUri,
          backchannel_logout_session_required: true,
        }),
      },
    ],
    jwks: {
      keys: [{ ...privateKey.export({ format: "jwk" }), use: "sig", alg: "RS256", kid: "1" }],
    },
    cookies: { keys: ["a key for the cookies of a test"] },
    claims: {
      openid: ["sub"],
      profile: ["name", "preferred_username"],
      email: ["email", "email_verified"],
      groups: ["groups"],
    },
    features: {
      devInteractions: { enabled: false },
      backchannelLogout: { enabled: logoutUri !== undefined },
    },
    // With its own dispatcher it does not connect to loopback.
    fetch(url, options) {
      const own: RequestInit & { dispatcher?: unknown } = { ...options };
      delete own.dispatcher;
      return globalThis.fetch(url, own);
    },
    issueRefreshToken: async () => true,
    rotateRefreshToken: true,
    interactions: { url: (_context, { uid }) => `/interaction/${uid}` },
    findAccount: (_context, id) => {
      const found = accounts.get(id);
      return found && { accountId: id, claims: async () => found };
    },
  };
  const provider = new Provider(issuer, configuration);
  const handle = provider.callback();
  provider.on("refresh_token.consumed", ({ jti }) => running.refreshed.push(jti));
  server.on("request", (req, res) => {
    if (running.isDown) {
      req.socket.destroy();
    } else if (req.url?.startsWith("/interaction/") === true) {
      void interact(provider, running.account, accounts, [req, res]);
    } else {
      void handle(req, res);
    }
  });
  return running;
}

async function interact(
  provider: Provider,
  account: Account | undefined,
  accounts: Map<string, Account>,
  [req, res]: readonly [IncomingMessage, ServerResponse],
): Promise<void> {
  const finish = (result: InteractionResults): Promise<void> =>
    provider.interactionFinished(req, res, result, { mergeWithLastSubmission: false });
  if (account === undefined) {
    await finish({ error: "access_denied", error_description: "the person said no" });
    return;
  }
  accounts.set(account.sub, account);
  const { params } = await provider.interactionDetails(req, res);
  const grant = new provider.Grant({ accountId: account.sub, clientId: CLIENT.id });
  grant.addOIDCScope(String(params["scope"]));
  const grantId = await grant.save();
  await finish({ login: { accountId: account.sub }, consent: { grantId } });
}

/** What a browser shows. */
export interface Page {
  readonly url: string;
  readonly status: number;
  readonly text: string;
}

/** Follows redirects, keeps cookies by host and port, and submits forms. */
export class TestBrowser {
  /** A connection for each request, so that a front in between may lead elsewhere. */
  readonly #agent = new Agent({ pipelining: 0 });
  readonly #cookies = new Map<string, Map<string, string>>();

  /** As in the header of a request to `url`. */
  cookiesOf(url: string): string {
    const jar = this.#cookies.get(new URL(url).host) ?? new Map<string, string>();
    return [...jar].map(([name, value]) => `${name}=${value}`).join("; ");
  }

  /** `isEnd`: stops before that URL. */
  async open(
    url: string,
    first: { method?: "POST"; body?: string } = {},
    isEnd: (url: string) => boolean = () => false,
  ): Promise<Page> {
    let next = url;
    let init = first;
    for (let hops = 0; hops < 20; hops++) {
      const { host } = new URL(next);
      const jar = this.#cookies.get(host) ?? new Map<string, string>();
      this.#cookies.set(host, jar);
      // Not `fetch`, which would say that it is no navigation.
      const response = await request(next, {
        ...init,
        dispatcher: this.#agent,
        headers: {
          cookie: this.cookiesOf(next),
          "user-agent": "Mozilla/5.0",
          "sec-fetch-mode": "navigate",
          ...(init.body !== undefined && {
            "content-type": "application/x-www-form-urlencoded",
            origin: new URL(next).origin,
          }),
        },
      });
      for (const line of [response.headers["set-cookie"] ?? []].flat()) {
        const [pair = ""] = line.split(";");
        const at = pair.indexOf("=");
        if (/expires=Thu, 01 Jan 1970/i.test(line)) jar.delete(pair.slice(0, at));
        else jar.set(pair.slice(0, at), pair.slice(at + 1));
      }
      const text = await response.body.text();
      const status = response.statusCode;
      const { location } = response.headers;
      const refresh = /http-equiv="refresh" content="0;url=([^"]+)"/.exec(text)?.[1];
      const target = String(location ?? (refresh && unescaped(refresh)) ?? "");
      if (target === "") return { url: next, status, text };
      next = new URL(target, next).href;
      if (isEnd(next)) return { url: next, status, text };
      init = {};
    }
    throw new Error(`too many redirects, the last to ${next}`);
  }

  /** Presses a button of the only form of `page`. */
  submit(
    page: Page,
    button: { readonly name: string; readonly value: string },
    isEnd?: (url: string) => boolean,
  ): Promise<Page> {
    const fields = new URLSearchParams([[button.name, button.value]]);
    for (const [input] of page.text.matchAll(/<input type="hidden"[^>]*>/g)) {
      const name = /name="([^"]*)"/.exec(input)?.[1] ?? "";
      fields.append(name, unescaped(/value="([^"]*)"/.exec(input)?.[1] ?? ""));
    }
    const action = /<form [^>]*method="post" action="([^"]*)"/.exec(page.text)?.[1] ?? "";
    const url = new URL(unescaped(action), page.url).href;
    return this.open(url, { method: "POST", body: fields.toString() }, isEnd);
  }
}

function unescaped(text: string): string {
  return text.replace(/&#(\d+);/g, (_, code: string) => String.fromCharCode(Number(code)));
}

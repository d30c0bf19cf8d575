/** An identity provider that is wrong, lies, or is slow: nobody is signed in by it. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { systemClock } from "../../../shared/base/clock.ts";
import type { IdentityProvider } from "../../../shared/settings/identity-providers.ts";
import { createOutboundFetch } from "../../../worker/http/outbound-fetch.ts";
import {
  createProviderClient,
  type ProviderClient,
} from "../../../worker/login/identity/provider-client.ts";
import { freePort } from "../../support/ports.ts";
import { serveHttp } from "../../support/servers.ts";

const VERIFIER = "v".repeat(43);
const NONCE = "nonce-1";
const STATE = "state-1";
const METADATA_PATH = "/.well-known/openid-configuration";
const CLIENT = { id: "edge", secret: "the secret of the edge at its provider" };

type Key = Awaited<ReturnType<typeof generateKeyPair>>;
let key: Key;
let other: Key;

beforeAll(async () => {
  key = await generateKeyPair("RS256");
  other = await generateKeyPair("RS256");
});

afterEach(() => {
  vi.useRealTimers();
});

/** What the provider does otherwise than it should. */
interface Lies {
  readonly claims?: Readonly<Record<string, unknown>>;
  /** Of the ID token, from now. */
  readonly issuedS?: number;
  readonly signer?: Parameters<SignJWT["sign"]>[0];
  readonly alg?: string;
  readonly kid?: string;
  readonly userInfo?: unknown;
  readonly hasNoIdToken?: boolean;
  /** Answers these paths itself. */
  readonly answer?: (req: IncomingMessage, res: ServerResponse) => boolean;
  /** Of the metadata. */
  readonly metadata?: Readonly<Record<string, unknown>>;
}

interface FakeProvider {
  readonly client: ProviderClient;
  readonly lies: { current: Lies };
  readonly published: { key: Key; kid: string };
}

async function start(first: Lies = {}): Promise<FakeProvider> {
  const lies = { current: first };
  const published = { key, kid: "1" };
  let issuer = "";

  async function idToken(): Promise<string> {
    const { claims, issuedS = 0, signer, alg = "RS256", kid = published.kid } = lies.current;
    const nowS = Math.floor(Date.now() / 1000) + issuedS;
    const usual = { iss: issuer, aud: CLIENT.id, sub: "4711", nonce: NONCE, name: "Ada" };
    return new SignJWT({ ...usual, iat: nowS, exp: nowS + 300, ...claims })
      .setProtectedHeader({ alg, kid })
      .sign(signer ?? published.key.privateKey);
  }

  async function respond(req: IncomingMessage, res: ServerResponse): Promise<void> {
    if (lies.current.answer?.(req, res) === true) return;
    const send = (value: unknown): void => {
      res.setHeader("content-type", "application/json").end(JSON.stringify(value));
    };
    switch (req.url ?? "") {
      case METADATA_PATH:
        return send({
          issuer,
          authorization_endpoint: `${issuer}/auth`,
          token_endpoint: `${issuer}/token`,
          jwks_uri: `${issuer}/jwks`,
          userinfo_endpoint: `${issuer}/me`,
          response_types_supported: ["code"],
          subject_types_supported: ["public"],
          id_token_signing_alg_values_supported: ["RS256"],
          ...lies.current.metadata,
        });
      case "/token":
        return send({
          access_token: "access",
          token_type: "bearer",
          expires_in: 300,
          refresh_token: "refresh",
          ...(lies.current.hasNoIdToken !== true && { id_token: await idToken() }),
        });
      case "/jwks": {
        const { publicKey } = published.key;
        const jwk = { ...(await exportJWK(publicKey)), kid: published.kid, alg: "RS256" };
        return send({ keys: [{ ...jwk, use: "sig" }] });
      }
      default:
        return send(lies.current.userInfo ?? { sub: "4711", groups: ["staff"] });
    }
  }

  issuer = await serveHttp((req, res) => void respond(req, res));
  const provider: IdentityProvider = {
    ...{ type: "oidc", id: "oidc", label: "Example ID", issuer },
    ...{ clientId: CLIENT.id, clientSecret: CLIENT.secret },
    ...{ scopes: ["openid"], asksOffline: true, parameters: {}, groups: [], email: "claim" },
    claims: { name: ["name"], email: "email", groups: "groups", subject: "sub" },
  };
  const fetch = createOutboundFetch({ proxy: undefined, authority: undefined });
  const client = createProviderClient(provider, { fetch, clock: systemClock, timeoutS: 1 });
  return { client, lies, published };
}

function finish(client: ProviderClient, query: Readonly<Record<string, string>> = {}) {
  return client.finish({
    ...{ verifier: VERIFIER, nonce: NONCE, state: STATE },
    redirectUri: "https://edge.example.com/api/login/oidc-callback",
    query: new URLSearchParams({ code: "c", state: STATE, ...query }),
  });
}

test("the truth is believed: the ID token's claims, and those of the profile", async () => {
  const { client } = await start();
  const signedIn = await finish(client);
  expect(signedIn.claims).toMatchObject({ sub: "4711", name: "Ada", groups: ["staff"] });
  expect(signedIn.access).toEqual({ refreshToken: "refresh" });
});

describe("nobody is signed in by an ID token", () => {
  test.each<[what: string, lies: () => Lies]>([
    ["of another issuer", () => ({ claims: { iss: "https://evil.example" } })],
    ["for another client", () => ({ claims: { aud: "another" } })],
    ["of another sign-in", () => ({ claims: { nonce: "nonce-2" } })],
    ["without a nonce", () => ({ claims: { nonce: undefined } })],
    ["without a subject", () => ({ claims: { sub: undefined } })],
    ["that has expired", () => ({ issuedS: -3600 })],
    ["with another key under the same name", () => ({ signer: other.privateKey })],
    ["with an unknown key", () => ({ kid: "2" })],
    [
      "signed with the client's own secret",
      () => ({ alg: "HS256", signer: Buffer.from(CLIENT.secret) }),
    ],
    ["whose profile is of somebody else", () => ({ userInfo: { sub: "4712" } })],
  ])("nobody is signed in by an ID token %s", async (_what, lies) => {
    const { client } = await start(lies());
    await expect(finish(client)).rejects.toMatchObject({ problem: "invalid" });
  });
});

test("a clock that is wrong by up to a minute does no harm, one that is wrong by more does", async () => {
  const { client, lies } = await start();
  for (const issuedS of [-350, 50]) {
    lies.current = { issuedS };
    expect((await finish(client)).claims).toMatchObject({ sub: "4711" });
  }
  lies.current = { issuedS: -380 };
  await expect(finish(client)).rejects.toMatchObject({ problem: "invalid" });
});

test("a key that the provider has changed is read again after a minute", async () => {
  const { client, published } = await start();
  await finish(client);
  published.key = other;
  published.kid = "2";
  await expect(finish(client)).rejects.toMatchObject({ problem: "invalid" });
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 61_000 });
  expect((await finish(client)).claims).toMatchObject({ sub: "4711" });
});

function at(path: string, respond: (res: ServerResponse) => void): Lies {
  return {
    answer(req, res) {
      if (req.url !== path) return false;
      respond(res);
      return true;
    },
  };
}

function refuse(res: ServerResponse, error: string): void {
  res.writeHead(400, { "content-type": "application/json" }).end(JSON.stringify({ error }));
}

describe("a provider", () => {
  test.each<[what: string, lies: Lies, problem: string]>([
    [
      "whose metadata names another issuer",
      { metadata: { issuer: "https://evil.example" } },
      "invalid",
    ],
    [
      "whose tokens come from another scheme",
      { metadata: { token_endpoint: "file:///etc/passwd" } },
      "invalid",
    ],
    [
      "that redirects to somebody else",
      at("/token", (res) => res.writeHead(307, { location: "http://127.0.0.1:9/" }).end()),
      "unreachable",
    ],
    ["whose tokens are not JSON", at("/token", (res) => res.end("<html>")), "invalid"],
    ["whose server fails", at("/token", (res) => res.writeHead(500).end()), "unreachable"],
    ["that closes the connection", at("/me", (res) => res.destroy()), "unreachable"],
    [
      "that sends two megabytes",
      at("/me", (res) =>
        res.setHeader("content-type", "application/json").end(`{"sub":"${"x".repeat(2 ** 21)}"}`),
      ),
      "invalid",
    ],
  ])("a provider %s signs nobody in", async (_what, lies, problem) => {
    const { client } = await start(lies);
    const failure = await finish(client).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: "EDGE_IDENTITY_PROVIDER", problem });
    // Nothing that it or the browser sent is in the message.
    expect((failure as Error).message).not.toMatch(/access|refresh|eyJ|xxxx/);
  });

  test("a provider that does not respond is given up", async () => {
    const { client } = await start(at("/token", () => {}));
    await expect(finish(client)).rejects.toMatchObject({ problem: "unreachable" });
  });

  test.each([
    ["access_denied", "denied"],
    ["server_error", "denied"],
    ["<script>", "denied"],
  ])(
    "a provider that returns the error %s is believed that it refuses, without repeating it",
    async (error, problem) => {
      const { client } = await start();
      const query = { error, error_description: "the secret reason" };
      const failure = await finish(client, query).catch((thrown: unknown) => thrown);
      expect(failure).toMatchObject({ problem });
      expect((failure as Error).message).not.toMatch(/script|secret reason/);
    },
  );
});

describe("a check", () => {
  test.each<[what: string, error: string, problem: string]>([
    ["whose refresh token is refused", "invalid_grant", "denied"],
    ["for which the person would have to come", "interaction_required", "denied"],
    ["of a client whose own secret is refused", "invalid_client", "unreachable"],
    ["that comes too often", "slow_down", "unreachable"],
  ])("a check %s gets the error %s and is %s", async (_what, error, problem) => {
    const { client } = await start(at("/token", (res) => refuse(res, error)));
    const kept: unknown[] = [];
    const keep = async (access: unknown) => void kept.push(access);
    const check = client.check({ refreshToken: "refresh" }, "4711", keep);
    await expect(check).rejects.toMatchObject({ problem });
    expect(kept).toEqual([]);
  });

  test.each<[what: string, isLost: boolean, lies: Lies]>([
    ["whose server fails", true, at("/token", (res) => res.writeHead(500).end())],
    ["that closes the connection", true, at("/token", (res) => res.destroy())],
    ["that does not respond", true, at("/token", () => {})],
    ["whose tokens are not JSON", true, at("/token", (res) => res.end("<html>"))],
    ["whose ID token is not valid", true, { claims: { iss: "https://evil.example" } }],
    ["without metadata", false, at(METADATA_PATH, (res) => res.writeHead(500).end())],
    ["that refuses", false, at("/token", (res) => refuse(res, "slow_down"))],
  ])(
    "a check of a provider %s may have taken the refresh token: %s",
    async (_what, isLost, lies) => {
      const { client } = await start(lies);
      const check = client.check({ refreshToken: "refresh" }, "4711", async () => {});
      await expect(check).rejects.toMatchObject({ isLost });
    },
  );

  test("a check of a provider that refuses connections has not lost a refresh token", async () => {
    const url = `http://127.0.0.1:${await freePort()}/token`;
    const { client } = await start({ metadata: { token_endpoint: url } });
    const check = client.check({ refreshToken: "refresh" }, "4711", async () => {});
    await expect(check).rejects.toMatchObject({ problem: "unreachable", isLost: false });
  });

  test("a check whose profile fails has not lost a refresh token", async () => {
    const { client } = await start(at("/me", (res) => res.writeHead(500).end()));
    const checked = await client.check({ refreshToken: "refresh" }, "4711", async () => {});
    expect(checked.claims).toMatchObject({ problem: "unreachable", isLost: false });
    const check = client.check({ accessToken: "access" }, "4711", async () => {});
    await expect(check).rejects.toMatchObject({ isLost: false });
  });

  test("a check gives the new refresh token before it asks for the profile, which may fail or be of somebody else", async () => {
    const { client, lies } = await start();
    for (const wrong of [{ userInfo: { sub: "4712" } }, { claims: { sub: "4712" } }]) {
      lies.current = wrong;
      const kept: unknown[] = [];
      const keep = async (access: unknown) => void kept.push(access);
      const checked = await client.check({ refreshToken: "old" }, "4711", keep);
      expect(kept).toEqual([{ refreshToken: "refresh" }]);
      expect(checked.claims).toMatchObject({ problem: "invalid" });
    }
  });

  test("a check of a provider that sends no ID token says that it does not say all", async () => {
    const { client, lies } = await start();
    const whole = await client.check({ refreshToken: "old" }, "4711", async () => {});
    expect(whole).toMatchObject({ isWhole: true, claims: { name: "Ada", groups: ["staff"] } });
    lies.current = { hasNoIdToken: true };
    const part = await client.check({ refreshToken: "old" }, "4711", async () => {});
    expect(part).toMatchObject({ isWhole: false, claims: { groups: ["staff"] } });
    expect(part.claims).not.toHaveProperty("name");
  });
});

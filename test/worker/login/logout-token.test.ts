/** Logout tokens of an identity provider, and what is not one. */
import { exportJWK, generateKeyPair, type JWTPayload, SignJWT } from "jose";
import { beforeAll, describe, expect, test } from "vitest";
import { createLogoutVerifier } from "../../../worker/login/identity/logout-token.ts";
import { ProviderError } from "../../../worker/login/identity/provider-error.ts";
import { serveHttp } from "../../support/servers.ts";

const ISSUER = "https://id.example.com";
const CLIENT_ID = "edge";
const EVENT = "http://schemas.openid.net/event/backchannel-logout";
const CLAIMS = { sub: "4711", sid: "session-1", events: { [EVENT]: {} } };

type Key = Awaited<ReturnType<typeof generateKeyPair>>;
let key: Key;
let foreign: Key;

beforeAll(async () => {
  key = await generateKeyPair("RS256");
  foreign = await generateKeyPair("RS256");
});

/** The provider's metadata, whose keys are served. */
async function startKeys(): Promise<{ issuer: string; jwks_uri: string; requests: () => number }> {
  let requests = 0;
  const body = JSON.stringify({
    keys: [{ ...(await exportJWK(key.publicKey)), kid: "1", alg: "RS256", use: "sig" }],
  });
  const url = await serveHttp((_req, res) => {
    requests++;
    res.setHeader("content-type", "application/json").end(body);
  });
  return { issuer: ISSUER, jwks_uri: `${url}/`, requests: () => requests };
}

interface Signing {
  readonly claims?: JWTPayload;
  readonly issuer?: string;
  readonly audience?: string;
  readonly issuedS?: number;
  readonly signer?: Parameters<SignJWT["sign"]>[0];
  readonly alg?: string;
}

function signed(options: Signing = {}): Promise<string> {
  const { claims = CLAIMS, issuer = ISSUER, audience = CLIENT_ID, alg = "RS256" } = options;
  return new SignJWT(claims)
    .setProtectedHeader({ alg, kid: "1", typ: "logout+jwt" })
    .setIssuer(issuer)
    .setAudience(audience)
    .setIssuedAt(options.issuedS ?? Math.floor(Date.now() / 1000))
    .setJti("1")
    .sign(options.signer ?? key.privateKey);
}

const verify = createLogoutVerifier(CLIENT_ID, (url, { headers, signal }) =>
  fetch(url, { headers, signal: signal ?? null }),
);

test("a logout token names the person and the session", async () => {
  const metadata = await startKeys();
  const issuedS = Math.floor(Date.now() / 1000) - 5;
  expect(await verify(metadata, await signed({ issuedS }))).toEqual({
    issuer: ISSUER,
    subject: "4711",
    providerSession: "session-1",
    atMs: issuedS * 1000,
  });
  const { sid: _, ...person } = CLAIMS;
  expect(await verify(metadata, await signed({ claims: person }))).toMatchObject({
    subject: "4711",
    providerSession: undefined,
  });
});

describe("is refused", () => {
  test.each<[what: string, options: () => Signing]>([
    ["of another issuer", () => ({ issuer: "https://evil.example" })],
    ["for another client", () => ({ audience: "another" })],
    ["with another key", () => ({ signer: foreign.privateKey })],
    ["signed with a secret", () => ({ alg: "HS256", signer: Buffer.alloc(32, "s") })],
    ["that is old", () => ({ issuedS: Math.floor(Date.now() / 1000) - 3600 })],
    ["of the future", () => ({ issuedS: Math.floor(Date.now() / 1000) + 3600 })],
    ["that is an ID token", () => ({ claims: { sub: "4711", nonce: "n" } })],
    ["with a nonce", () => ({ claims: { ...CLAIMS, nonce: "n" } })],
    ["for another event", () => ({ claims: { ...CLAIMS, events: { "http://other": {} } } })],
    ["of nobody", () => ({ claims: { events: CLAIMS.events } })],
    ["with claims of other types", () => ({ claims: { ...CLAIMS, sid: 7 } as never })],
  ])("a logout token %s is refused", async (_what, options) => {
    const token = await signed(options());
    await expect(verify(await startKeys(), token)).rejects.toMatchObject({ problem: "invalid" });
  });

  test.each([
    ["empty", ""],
    ["garbage", "\u0000\u0001.a.b"],
    ["unsigned", `${btoa('{"alg":"none"}')}.${btoa("{}")}.`],
    ["100 KB", "a".repeat(100_000)],
  ])(
    "a logout token that is %s is refused without a question to the provider",
    async (_what, token) => {
      const metadata = await startKeys();
      const refusal = await verify(metadata, token).catch((error: unknown) => error);
      expect(refusal).toBeInstanceOf(ProviderError);
      expect(metadata.requests()).toBe(0);
      if (token !== "") expect((refusal as Error).message).not.toContain(token);
    },
  );
});

test("many logout tokens cost one reading of the keys", async () => {
  const metadata = await startKeys();
  for (let i = 0; i < 5; i++) await verify(metadata, await signed());
  for (let i = 0; i < 5; i++) {
    await verify(metadata, await signed({ signer: foreign.privateKey })).catch(() => {});
  }
  expect(metadata.requests()).toBe(1);
});

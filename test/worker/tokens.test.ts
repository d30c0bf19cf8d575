import { SignJWT } from "jose";
import { describe, expect, it } from "vitest";
import type { PeerId, SessionId } from "../../shared/base/ids.ts";
import { onlyKey } from "../../shared/settings/keyring.ts";
import { type NewValue, StoreAwayError, type UserRecord } from "../../shared/store/store.ts";
import { createTokens } from "../../worker/login/tokens.ts";
import { createStepClock } from "../support/step-clock.ts";

const KEY = Buffer.alloc(32, 7);
const USER: UserRecord = {
  id: "u1",
  name: "Ada",
  email: "ada@example.com",
  authProvider: "Simple",
};
const ROOM = {
  sessionId: "abcdefghijklmnopqrstuvwx" as SessionId,
  clock: 3,
  peerId: "ABCDEFGHIJKLMNOPQRSTUVWX" as PeerId,
  user: USER,
  host: false,
};
const OTHER_KEY = Buffer.alloc(32, 9);
const DAY_MS = 24 * 3600 * 1000;

function setUp(key = KEY) {
  const clock = createStepClock();
  const revoked = new Map<string, number>();
  let away = false;
  const store = {
    async get(_kind: string, tokenId: string) {
      if (away) throw new StoreAwayError("get");
      return revoked.has(tokenId) ? "" : undefined;
    },
    async put(value: NewValue) {
      if (value.kind === "revoked") revoked.set(value.key, value.untilMs);
      return "";
    },
  };
  const tokens = createTokens({ keys: onlyKey(key), clock, store });
  return {
    clock,
    revoked,
    tokens,
    /** Of another worker. */
    otherTokens: createTokens({ keys: onlyKey(key), clock, store }),
    setAway: () => {
      away = true;
    },
  };
}

function claimsOf(token: string): Record<string, unknown> {
  return JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString());
}

describe("a user token", () => {
  it("a user token identifies a user for 30 days", async () => {
    const { clock, tokens } = setUp();
    const token = await tokens.signUser(USER);
    expect(await tokens.verifyUser(token)).toEqual({
      user: USER,
      tokenId: expect.stringMatching(/^\w{24}$/),
      expMs: Math.floor(clock.wallMs() / 1000) * 1000 + 30 * DAY_MS,
    });
    clock.advance(30 * DAY_MS);
    expect(await tokens.verifyUser(token)).toBeDefined();
    clock.advance(61_000);
    expect(await tokens.verifyUser(token)).toBeUndefined();
  });

  it("a user token that was signed with the previous secret is valid while that is known, and a revoked one stays revoked", async () => {
    const { clock, tokens: former } = setUp();
    const { tokens: next, revoked } = setUp(OTHER_KEY);
    const both = createTokens({
      keys: { signing: OTHER_KEY, accepted: [OTHER_KEY, KEY] },
      clock,
      store: {
        get: async (_kind, tokenId) => (revoked.has(tokenId) ? "" : undefined),
        async put(value) {
          if (value.kind === "revoked") revoked.set(value.key, value.untilMs);
          return "";
        },
      },
    });
    const token = await former.signUser(USER);
    const verified = await both.verifyUser(token);
    expect(verified?.user).toEqual(USER);
    expect(await next.verifyUser(token)).toBeUndefined();
    expect((await next.verifyUser(await both.signUser(USER)))?.user).toEqual(USER);
    if (verified !== undefined) await both.revokeUser(verified);
    expect(await both.verifyUser(token)).toBeUndefined();
  });

  it("a user token is different each time, even for the same user in the same second", async () => {
    const { tokens } = setUp();
    expect(await tokens.signUser(USER)).not.toBe(await tokens.signUser(USER));
  });

  it("a user token is refused after it was revoked, except by other workers while the store is away", async () => {
    const { revoked, tokens, otherTokens, setAway } = setUp();
    const token = await tokens.signUser(USER);
    const verified = await tokens.verifyUser(token);
    if (verified === undefined) throw new Error("not verified");
    await tokens.revokeUser(verified);
    expect(await tokens.verifyUser(token)).toBeUndefined();
    expect(revoked.get(verified.tokenId)).toBeGreaterThanOrEqual(verified.expMs);
    setAway();
    expect(await tokens.verifyUser(token)).toBeUndefined();
    expect(await otherTokens.verifyUser(token)).toBeDefined();
  });
});

describe("a room token", () => {
  it("a room token identifies a peer of a session", async () => {
    const { tokens } = setUp();
    const token = await tokens.signRoom(ROOM);
    expect(await tokens.verifyRoom(token)).toEqual({
      ...ROOM,
      tokenId: expect.stringMatching(/^\w{24}$/),
      expMs: expect.any(Number),
      expired: false,
    });
    expect(claimsOf(token)).toMatchObject({
      room: ROOM.sessionId,
      roomClock: 3,
      peer: ROOM.peerId,
      user: USER,
    });
    expect(claimsOf(token)).not.toHaveProperty("host");
    expect(claimsOf(await tokens.signRoom({ ...ROOM, host: true }))).toMatchObject({ host: true });
  });

  it("a room token is reported as expired after 24 hours, not refused", async () => {
    const { clock, tokens } = setUp();
    const token = await tokens.signRoom(ROOM);
    clock.advance(DAY_MS + 61_000);
    expect(await tokens.verifyRoom(token)).toMatchObject({ peerId: ROOM.peerId, expired: true });
  });

  it("a room token is refused when it was revoked", async () => {
    const { revoked, tokens } = setUp();
    const token = await tokens.signRoom(ROOM);
    revoked.set(String(claimsOf(token)["jti"]), 0);
    expect(await tokens.verifyRoom(token)).toBeUndefined();
  });
});

it("neither kind of token is accepted as the other", async () => {
  const { tokens } = setUp();
  expect(await tokens.verifyUser(await tokens.signRoom(ROOM))).toBeUndefined();
  expect(await tokens.verifyRoom(await tokens.signUser(USER))).toBeUndefined();
});

it("a token that the edge did not sign is refused", async () => {
  const { tokens } = setUp();
  const good = await tokens.signUser(USER);
  const [header, claims, signature] = good.split(".");
  const forged = Buffer.from(JSON.stringify({ ...claimsOf(good), name: "Eve" })).toString(
    "base64url",
  );
  const none = Buffer.from(JSON.stringify({ alg: "none" })).toString("base64url");
  const other = setUp(Buffer.alloc(32, 8)).tokens;
  const sign = (alg: string, payload: Record<string, unknown>) =>
    new SignJWT({ ...claimsOf(good), ...payload }).setProtectedHeader({ alg }).sign(KEY_64);
  const bad = [
    "",
    "garbage",
    "a.b.c",
    `${header}.${forged}.${signature}`,
    `${none}.${claims}.`,
    `${header}.${claims}`,
    `${good}x`,
    "x".repeat(1_000_000),
    await other.signUser(USER),
    await sign("HS512", {}),
  ];
  for (const token of bad)
    expect(await tokens.verifyUser(token), token.slice(0, 40)).toBeUndefined();
});

it("malformed claims are refused even when the signature is right", async () => {
  const { tokens } = setUp();
  const good = claimsOf(await tokens.signRoom(ROOM));
  const sign = (claims: Record<string, unknown>) =>
    new SignJWT(claims).setProtectedHeader({ alg: "HS256" }).sign(KEY);
  expect(await tokens.verifyRoom(await sign(good))).toBeDefined();
  for (const wrong of [
    { room: "../../etc" },
    { peer: "short" },
    { roomClock: -1 },
    { user: { id: "u" } },
    { host: "yes" },
    { exp: undefined },
    { jti: "" },
    { aud: "user" },
    { iss: "somebody" },
  ]) {
    expect(
      await tokens.verifyRoom(await sign({ ...good, ...wrong })),
      JSON.stringify(wrong),
    ).toBeUndefined();
  }
});

const KEY_64 = Buffer.alloc(64, 7);

/** Ids, tags, derived keys and proofs. */
import { expect, test } from "vitest";
import {
  type Incarnation,
  isSessionId,
  newSessionId,
  randomAlphanumerics,
  sessionOfPollToken,
  toSessionKey,
  type WorkerId,
} from "../../shared/base/ids.ts";
import { readTag, taggedId, workerTag } from "../../shared/base/worker-tag.ts";
import { edgeProof, isSameProof } from "../../shared/net/edge-headers.ts";
import { deriveKeys, PUBLIC_RING_KEY } from "../../shared/settings/secret.ts";

const id = "worker-1" as WorkerId;
const incarnation = "AAAABBBBCCCCDDDD" as Incarnation;

test("random ids are alphanumeric, have the requested length and use the whole alphabet", () => {
  expect(isSessionId(newSessionId())).toBe(true);
  const sample = randomAlphanumerics(10_000);
  expect(sample).toMatch(/^[A-Za-z0-9]{10000}$/);
  expect(new Set(sample).size).toBe(62);
});

test("a session key is any text of 1 to 8192 characters", () => {
  expect(toSessionKey("")).toBeUndefined();
  expect(toSessionKey("ü/?&")).toBe("ü/?&");
  expect(toSessionKey("x".repeat(8192))).toBeDefined();
  expect(toSessionKey("x".repeat(8193))).toBeUndefined();
});

test("a poll token begins with the id of its session, and has more than that", () => {
  const session = newSessionId();
  expect(sessionOfPollToken(`${session}x`)).toBe(session);
  expect(sessionOfPollToken(session + "x".repeat(232))).toBe(session);
  for (const malformed of [session, `${session}-`, `-${session}`, session + "x".repeat(233), ""]) {
    expect(sessionOfPollToken(malformed)).toBe(undefined);
  }
});

test("a tag identifies one incarnation of one worker and is found at the start of its ids", () => {
  const tag = workerTag(id, incarnation);
  expect(readTag(taggedId(tag))).toBe(tag);
  expect(workerTag(id, "AAAABBBBCCCCDDDE" as Incarnation)).not.toBe(tag);
  expect(workerTag("worker-2" as WorkerId, incarnation)).not.toBe(tag);
});

test("an id without a tag has none", () => {
  expect(readTag("")).toBeUndefined();
  expect(readTag("0123456789abcde")).toBeUndefined();
  expect(readTag("ABCDEFabcdef012345678901")).toBeUndefined();
});

test("one secret gives four different keys, the same in every process", () => {
  const keys = deriveKeys("a secret that is long enough for a test");
  const all = [keys.token, keys.edge, keys.ring, keys.relay].map((key) => key.toString("hex"));
  expect(new Set(all).size).toBe(4);
  expect(keys.token.toString("hex")).toBe(
    deriveKeys("a secret that is long enough for a test").token.toString("hex"),
  );
  expect(PUBLIC_RING_KEY).toHaveLength(32);
});

test("a proof is valid only for its worker and incarnation", () => {
  const { edge } = deriveKeys("a secret that is long enough for a test");
  const proof = edgeProof(edge, id, incarnation);
  expect(isSameProof(proof, edgeProof(edge, id, incarnation))).toBe(true);
  expect(isSameProof(edgeProof(edge, "worker-2" as WorkerId, incarnation), proof)).toBe(false);
  expect(isSameProof("", proof)).toBe(false);
});

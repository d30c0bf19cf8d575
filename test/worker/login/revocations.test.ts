/** Revoked tokens, over a store that can be flushed or be away. */
import { expect, test } from "vitest";
import { type NewValue, StoreAwayError } from "../../../shared/store/store.ts";
import { createRevocations } from "../../../worker/login/revocations.ts";
import { createStepClock } from "../../support/step-clock.ts";

const UNTIL_MS = 60_000;

/** A store that several workers share. */
function sharedStore() {
  const untilById = new Map<string, number>();
  let isAway = false;
  const answer = <T>(value: T): Promise<T> =>
    isAway ? Promise.reject(new StoreAwayError("test")) : Promise.resolve(value);
  return {
    untilById,
    setAway: (away: boolean): void => {
      isAway = away;
    },
    store: {
      async put(value: NewValue) {
        await answer(undefined);
        if (value.kind === "revoked") untilById.set(value.key, value.untilMs);
        return "";
      },
      get: (_kind: string, tokenId: string) => answer(untilById.has(tokenId) ? "" : undefined),
    },
  };
}

test("a worker writes the tokens that it revoked to a flushed store again, until they would have expired", async () => {
  const clock = createStepClock();
  const { store, untilById } = sharedStore();
  const revocations = createRevocations({ store, clock });
  await revocations.revoke("a", clock.wallMs() + UNTIL_MS);
  await revocations.revoke("b", clock.wallMs() + 2 * UNTIL_MS);
  untilById.clear();
  await revocations.reassert();
  expect([...untilById.keys()].sort()).toEqual(["a", "b"]);

  clock.advance(UNTIL_MS);
  untilById.clear();
  await revocations.reassert();
  expect([...untilById.keys()]).toEqual(["b"]);
});

test("a worker also writes revoked tokens that it has seen to a flushed store again", async () => {
  const clock = createStepClock();
  const { store, untilById } = sharedStore();
  await createRevocations({ store, clock }).revoke("a", clock.wallMs() + UNTIL_MS);
  const other = createRevocations({ store, clock });
  expect(await other.isRevoked("a", clock.wallMs() + UNTIL_MS)).toBe(true);
  untilById.clear();
  await other.reassert();
  expect([...untilById]).toEqual([["a", clock.wallMs() + UNTIL_MS]]);
});

test("a token stays revoked at the worker that revoked it while the store is flushed or away", async () => {
  const clock = createStepClock();
  const { store, untilById, setAway } = sharedStore();
  const revocations = createRevocations({ store, clock });
  await revocations.revoke("a", clock.wallMs() + UNTIL_MS);
  untilById.clear();
  expect(await revocations.isRevoked("a", clock.wallMs() + UNTIL_MS)).toBe(true);
  setAway(true);
  expect(await revocations.isRevoked("a", clock.wallMs() + UNTIL_MS)).toBe(true);
  expect(await revocations.isRevoked("b", clock.wallMs() + UNTIL_MS)).toBe(false);
});

test("a token whose revocation could not be written to the store is not revoked", async () => {
  const clock = createStepClock();
  const { store, setAway } = sharedStore();
  const revocations = createRevocations({ store, clock });
  setAway(true);
  await expect(revocations.revoke("a", clock.wallMs() + UNTIL_MS)).rejects.toThrow(StoreAwayError);
  setAway(false);
  expect(await revocations.isRevoked("a", clock.wallMs() + UNTIL_MS)).toBe(false);
});

test("the number of remembered tokens is bounded, and the oldest are forgotten first", async () => {
  const clock = createStepClock();
  const { store, untilById } = sharedStore();
  const revocations = createRevocations({ store, clock, maxKnown: 2 });
  for (const id of ["a", "b", "c"]) await revocations.revoke(id, clock.wallMs() + UNTIL_MS);
  untilById.clear();
  await revocations.reassert();
  expect([...untilById.keys()].sort()).toEqual(["b", "c"]);
});

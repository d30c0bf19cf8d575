import { expect, test, vi } from "vitest";
import { atTurnEnd } from "../../shared/base/turn.ts";

/** Ends of turns come when the test wants them: the returned function runs the next one, if it is scheduled. */
function holdTurns(): { readonly scheduled: number; end(this: void): void } {
  const ends: (() => void)[] = [];
  vi.spyOn(globalThis, "setImmediate").mockImplementation(((end: () => void) => {
    ends.push(end);
  }) as never);
  return {
    get scheduled() {
      return ends.length;
    },
    end: () => ends.shift()?.(),
  };
}

/** Notes the names of works in the order of their calls. */
function createWorks() {
  const called: string[] = [];
  const work = (name: string, then: () => void = () => {}) => ({
    onTurnEnd() {
      called.push(name);
      then();
    },
  });
  return { called, work };
}

test("all works that fill are called before all that flush, each in the order of their calls", () => {
  const turns = holdTurns();
  const { called, work } = createWorks();
  atTurnEnd("flush", work("flush 1"));
  atTurnEnd("fill", work("fill 1"));
  atTurnEnd("flush", work("flush 2"));
  atTurnEnd("fill", work("fill 2"));
  expect(called).toEqual([]);
  turns.end();
  expect(called).toEqual(["fill 1", "fill 2", "flush 1", "flush 2"]);
});

test("what a work that fills wants to flush leaves in the same turn, which takes one setImmediate", () => {
  const turns = holdTurns();
  const { called, work } = createWorks();
  atTurnEnd(
    "fill",
    work("fill", () => atTurnEnd("flush", work("flush"))),
  );
  atTurnEnd("fill", work("another"));
  expect(turns.scheduled).toBe(1);
  turns.end();
  expect(called).toEqual(["fill", "another", "flush"]);
  expect(turns.scheduled).toBe(0);
});

test("what comes for a phase that is being called waits for the next turn", () => {
  const turns = holdTurns();
  const { called, work } = createWorks();
  atTurnEnd(
    "flush",
    work("flush", () => {
      atTurnEnd("fill", work("next fill"));
      atTurnEnd("flush", work("next flush"));
    }),
  );
  turns.end();
  expect(called).toEqual(["flush"]);
  expect(turns.scheduled).toBe(1);
  turns.end();
  expect(called).toEqual(["flush", "next fill", "next flush"]);
  expect(turns.scheduled).toBe(0);
});

test.each(["fill", "flush"] as const)(
  "an exception of one work concerns none of the others of %s, which are called in the next turn in their order",
  (phase) => {
    const turns = holdTurns();
    const { called, work } = createWorks();
    const fail = (): never => {
      atTurnEnd(phase, work("later"));
      throw new Error("broken");
    };
    atTurnEnd(phase, work("first"));
    atTurnEnd(phase, work("broken", fail));
    atTurnEnd(phase, work("second"));
    atTurnEnd(phase, work("third"));
    expect(turns.end).toThrow("broken");
    expect(called).toEqual(["first", "broken"]);
    expect(turns.scheduled).toBe(1);
    turns.end();
    expect(called).toEqual(["first", "broken", "second", "third", "later"]);
    expect(turns.scheduled).toBe(0);
  },
);

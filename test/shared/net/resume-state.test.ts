/** Where a WebSocket stands, as a balancer says it in a request's header. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { readResumeState, resumeState } from "../../../shared/net/edge-headers.ts";

test("a worker reads the resume state that a balancer has written", () => {
  fc.assert(
    fc.property(
      fc.record({
        cause: fc.constantFrom("crash" as const, "move" as const),
        confirmed: fc.nat(0xffff_ffff),
        repeated: fc.nat(65_536),
        forMs: fc.nat(60_000),
      }),
      (state) => {
        expect(readResumeState(resumeState(state))).toEqual(state);
      },
    ),
  );
});

test.each([
  ["nothing", undefined],
  ["several values", ["crash 1 0 0"]],
  ["an empty value", ""],
  ["another cause", "drain 1 0 0"],
  ["a number too few", "crash 1 0"],
  ["a number too many", "crash 1 0 0 0"],
  ["a negative number", "crash -1 0 0"],
  ["a fraction", "crash 1.5 0 0"],
  ["an exponent", "crash 1e3 0 0"],
  ["a hexadecimal number", "crash 0x1 0 0"],
  ["a sign", "crash +1 0 0"],
  ["two spaces", "crash  1 0 0"],
  ["a space in front", " crash 1 0 0"],
  ["a line behind", "crash 1 0 0\n"],
  ["digits of another script", "crash ١ 0 0"],
  ["a count of messages of 33 bits", "crash 4294967296 0 0"],
  ["a count of ten nines", "crash 9999999999 0 0"],
  ["a count of messages that no number holds", `crash ${"9".repeat(11)} 0 0`],
  ["more repeated messages than are kept", "crash 1 1000000 0"],
  ["a time of years", "crash 1 0 9999999999"],
])("%s is no resume state of a WebSocket", (_what, value) => {
  expect(readResumeState(value)).toBeUndefined();
});

test("a count of messages has 32 bits", () => {
  expect(readResumeState("move 4294967295 65536 20000")).toEqual({
    cause: "move",
    confirmed: 0xffff_ffff,
    repeated: 65_536,
    forMs: 20_000,
  });
});

import { expect, test } from "vitest";
import { type RandomHead, requestHead, responseHead } from "./heads.ts";
import { createRandom, type Random } from "./random.ts";
import { readFormerRequest, readFormerResponse, readRequest, readResponse } from "./read-heads.ts";

/** Fixed, so that every run reads the same heads. */
const SEED = Number(process.env["FUZZ_SEED"] ?? 20_261_128);
/** `FUZZ_HEADS=1000000 npx vitest run test/fuzz/heads.test.ts` reads more. */
const HEADS = Number(process.env["FUZZ_HEADS"] ?? 20_000) / 2;
const LIMIT_MS = 60_000 + HEADS;

test.each<
  [
    kind: string,
    make: (random: Random) => RandomHead,
    read: (head: RandomHead) => unknown,
    readFormer: (head: RandomHead) => unknown,
  ]
>([
  ["request", requestHead, readRequest, readFormerRequest],
  ["response", responseHead, readResponse, readFormerResponse],
])(
  "the head of a random %s is accepted or refused, routed, forwarded and logged as by the former reader",
  (_kind, make, read, readFormer) => {
    let accepted = 0;
    for (let index = 0; index < HEADS; index++) {
      const head = make(createRandom(SEED, index));
      const expected = JSON.stringify(readFormer(head));
      if (expected.startsWith('{"end"')) accepted++;
      const got = JSON.stringify(read(head));
      // A call of expect for each head would take longer than reading it.
      if (got !== expected)
        expect({ index, head, read: got }).toEqual({ index, head, read: expected });
    }
    // Enough of both to mean something.

    expect(accepted / HEADS).toBeGreaterThan(0.2);
    expect(accepted / HEADS).toBeLessThan(0.8);
  },
  LIMIT_MS,
);
